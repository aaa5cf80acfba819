//! Stores over foreign tables: the guard on the real server, each rule as a forced interleaving.

mod anchors;
mod beside;
mod heads;
mod judged;
mod kit;
mod layouts;
mod leaving;
mod locks;
mod moves;
mod own;
mod rules;
