//! The real Prometheus and Alertmanager for tests: each in a temporary folder, on a free port of the
//! loopback interface, and removed with the process that started it, however it ends.
//!
//! ```text
//!  what is watched ◀──scrapes── Prometheus ──alerts──▶ Alertmanager ──webhook──▶ Receiver
//!     a history of a test ──────────▶ ▲                                              ▲
//!                                     └──────────────── the test asks ───────────────┘
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `programs` | the location of the tools |
//! | `prometheus` | a server, and its answers to queries |
//! | `alertmanager` | a server, and the receiver of its notifications |
//! | `python` | the official Python client, as another reader of our series |
//! | `http`, `listen` | the necessary parts of HTTP |
//!
//! This crate may use no other crate of the workspace than `rehome-cluster`, which keeps the processes, and
//! no released crate may use it.

mod alertmanager;
pub mod http;
mod listen;
pub mod programs;
mod prometheus;
pub mod python;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

pub use alertmanager::{Alertmanager, Notice, Receiver};
pub use prometheus::{Prometheus, Sample, Setup, Target};

/// Longest wait for anything; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Repeats `look` until it returns a value.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "it took too long: {what}");
        thread::sleep(LOOK_EVERY);
    }
}
