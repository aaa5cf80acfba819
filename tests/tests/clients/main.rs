//! The clients that we ship, each with its own tests, against servers of the real command: a tenant moves while
//! they write and follow.

mod harness;
mod python;
mod typescript;
