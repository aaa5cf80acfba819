//! The real command, run as people and programs run it: arguments in, files, exit codes and
//! documents out. The contents of a store are read from its file, not from the command.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

mod adopted;
mod anchors;
mod asked;
mod audit;
mod checklists;
mod configuration;
mod drains;
mod engines;
mod files;
mod health;
mod hooks;
mod importing;
#[allow(unreachable_pub, reason = "shared by the files of this test")]
mod kit;
mod layouts;
mod manual;
mod migrations;
mod monitoring;
mod processes;
mod quickstart;
mod real_input;
mod recovery;
mod refusals;
mod remote;
mod remote_failures;
mod removal;
mod screens;
mod serve;
#[allow(unreachable_pub, reason = "shared by the files of this test")]
mod serving;
mod store_verify;
mod terminals;
mod tokens;
mod transfer;
mod usage;
mod violations;
mod widths;
mod writers;
