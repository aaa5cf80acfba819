//! Stores over tables of other programs: the guard on real files, with writers that know nothing of it.

#![allow(clippy::unwrap_used)] // A test that fails is a panic.

mod kit;
mod moves;
mod refusals;
mod rules;
mod writers;
