//! The real Prometheus and Alertmanager watch the real command.
//!
//! | file | what happens |
//! |---|---|
//! | `site` | a deployment in a folder, `rehome serve`, and the tools that watch it |
//! | `scene` | three migrations through all that can happen to them, one thing after the other |
//! | `acts` | what happens, and what every metric is at each step |
//! | `afterwards` | no series is left; the alerts that fired and those that did not; log lines |
//! | `formats` | both expositions, read by the official Python client and by promtool |
//!
//! What is true is known to the test, which is the operator, the writer and the fault, and is never
//! taken from what the process says of itself.

#![cfg(target_os = "linux")]

mod acts;
mod afterwards;
mod formats;
mod scene;
mod site;
