//! Stores over tables that are not ours: the guard on the real server, each rule as a forced interleaving.

mod kit;
mod moves;
mod rules;
