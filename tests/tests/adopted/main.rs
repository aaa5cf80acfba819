//! A tenant whose events are in the tables of another library, eventsource-py from PyPI, moves between two
//! databases while that library, unmodified, writes, routes and reads. The programs are in
//! `tests/adopted`; the expected result is what was acknowledged to the writers and what their own SQL finds.

mod engines;
mod feeds;
mod harness;
mod house;
mod kills;
mod layouts;
mod leaving;
mod libraries;
mod moves;
mod odd;
