//! `rehome-load`: writers in a process of their own.

fn main() {}
