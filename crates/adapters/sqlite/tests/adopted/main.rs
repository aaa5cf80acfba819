//! Stores over foreign tables: the guard on real files, with writers that do not use rehome.

#![allow(clippy::unwrap_used)] // A test that fails is a panic.

mod anchors;
mod forms;
mod kit;
mod layouts;
mod leaving;
mod moves;
mod own;
mod refusals;
mod rules;
mod writers;
