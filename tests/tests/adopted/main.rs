//! A tenant whose events are in the tables of another library, eventsource-py from PyPI, moves between two
//! databases while that library, unmodified, writes, routes and reads. The programs are in
//! `tests/adopted`; what is right is what the writers were told and what their own SQL finds.

mod feeds;
mod house;
mod kills;
mod moves;
mod odd;
mod site;
