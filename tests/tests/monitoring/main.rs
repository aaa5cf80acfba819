//! The real Prometheus and Alertmanager watch the real command.
//!
//! | file | what happens |
//! |---|---|
//! | `harness` | a deployment in a folder, `rehome serve`, and the tools that watch it |
//! | `scene` | migrations through all that can happen to them, one thing after the other; which alerts fire |
//! | `acts` | what happens, and what every metric is at each step |
//! | `drains` | what happens to a drain, and its metrics at each step |
//! | `troubles` | what else happens, so that every alert that is shipped fires and ends |
//! | `panels` | what the dashboards show of it |
//! | `afterwards` | no series is left; the alerts that fired and those that did not; log lines |
//! | `formats` | both expositions, read by the official Python client and by promtool |
//!
//! The test knows the truth, because it is the operator, the writer and the fault; it never
//! takes it from the process under test.

#![cfg(target_os = "linux")]

mod acts;
mod afterwards;
mod drains;
mod formats;
mod harness;
mod panels;
mod scene;
mod troubles;
