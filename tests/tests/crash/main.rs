//! Processes that are killed and stopped, and a checker that looks at the files afterwards.
//!
//! Every test plays with real processes on files of its own: `rehome-failpoints` is the command in
//! a build with failpoints, `rehome-load` writes and keeps a record. What is true in the end is
//! decided by [`rehome_tests::checker`], which knows the records and the files and nothing else.
//!
//! | file | what happens |
//! |---|---|
//! | `points` | the list of failpoints, and that it is whole |
//! | `killed` | kill -9 at each of them; another process goes on |
//! | `asleep` | stopped there, overtaken, woken: what comes late is refused |
//! | `full` | a disk without room under the target, and under the source |
//! | `random` | kill -9 of drivers and writers at times drawn from a printed seed |
//! | `together` | several processes steer and write at once |
//! | `planted` | the checker finds each kind of violation that is planted |
//!
//! A run that fails keeps its folder and says where it is: the files, the records, and what every
//! process said. kill -9 loses nothing that the operating system has, so none of this tests fsync.

#![cfg(target_os = "linux")]

mod asleep;
mod full;
mod killed;
mod planted;
mod points;
mod random;
mod site;
mod together;
