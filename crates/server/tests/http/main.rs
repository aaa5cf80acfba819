//! The server as its clients see it: bytes on a connection, over stores in a folder.

// The future of a request contains those of all layers.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

mod access;
mod beyond;
mod bounds;
mod console;
mod documents;
mod events;
mod follow;
mod fuzz;
mod hostile;
#[allow(unreachable_pub, reason = "shared by the files of this test")]
mod kit;
mod migrations;
mod people;
mod recorded;
mod refusals;
mod rooms;
mod tokens;
