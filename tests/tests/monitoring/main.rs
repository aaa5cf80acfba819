//! The real Prometheus and Alertmanager watch the real command.
//!
//! | file | what happens |
//! |---|---|
//! | `site` | a deployment in a folder, `rehome serve`, and the tools that watch it |
//! | `scene` | migrations through all that can happen to them, one thing after the other; which alerts fire |
//! | `acts` | what happens, and what every metric is at each step |
//! | `troubles` | what else happens, so that every alert that is shipped fires and ends |
//! | `panels` | what the dashboards show of it |
//! | `afterwards` | no series is left; the alerts that fired and those that did not; log lines |
//! | `formats` | both expositions, read by the official Python client and by promtool |
//!
//! What is true is known to the test, which is the operator, the writer and the fault, and is never
//! taken from what the process says of itself.

#![cfg(target_os = "linux")]

mod acts;
mod afterwards;
mod formats;
mod panels;
mod scene;
mod site;
mod troubles;
