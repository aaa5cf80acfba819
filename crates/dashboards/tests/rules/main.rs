//! The rules, evaluated by the real promtool over series that are written down here. Each alert is shown
//! both ways: when it fires, and when it stays silent.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

mod drain;
mod guide;
mod migration;
mod process;
mod scene;
