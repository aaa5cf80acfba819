//! Behaviour specific to SQLite: opening, sharing a file, recovery, limits, and the public views.

// The helpers of tests are tests, too: a failed expectation is a panic.
#![allow(clippy::unwrap_used)]

mod child;
mod damage;
mod formats;
mod ids;
mod kit;
mod limits;
mod opening;
mod recovery;
mod sharing;
mod views;
