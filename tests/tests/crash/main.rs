//! Processes that are killed and stopped, and a checker that reads the files afterwards.
//!
//! Every test runs real processes on separate files: `rehome-failpoints` is the command, built
//! with failpoints; `rehome-load` writes and keeps a record. [`rehome_tests::checker`] decides whether the result is
//! right, from the records and the files only.
//!
//! | file | what happens |
//! |---|---|
//! | `points` | the list of failpoints, and that it is complete |
//! | `killed` | kill -9 at each of them; another process continues |
//! | `asleep` | stopped there, overtaken, woken: late steps are refused |
//! | `hooks` | kill -9 of the process that notifies hooks |
//! | `full` | a full disk under the target, and under the source |
//! | `removals` | kill -9 in each step of a tenant's removal |
//! | `random` | kill -9 of drivers and writers at times drawn from a printed seed |
//! | `together` | several processes operate and write at once |
//! | `planted` | the checker finds each kind of violation that is planted |
//!
//! A run that fails keeps its folder and prints its path: the files, the records, and the output of every
//! process. kill -9 loses no data that the operating system has, so these tests do not test fsync.

#![cfg(target_os = "linux")]

mod asleep;
mod drains;
mod full;
mod harness;
mod hooks;
mod killed;
mod planted;
mod points;
mod random;
mod removals;
mod together;
