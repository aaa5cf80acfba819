//! What is SQLite's alone: opening, sharing a file, recovery, limits, and what others may read.

// The helpers of tests are tests, too: a failed expectation is a panic.
#![allow(clippy::unwrap_used)]

mod child;
mod damage;
mod kit;
mod limits;
mod opening;
mod recovery;
mod sharing;
mod views;
