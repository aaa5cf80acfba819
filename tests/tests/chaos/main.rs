//! Processes and servers that are killed, stopped and cut off, on PostgreSQL.
//!
//! | file | what happens |
//! |---|---|
//! | `scripted` | a tenant there and back under a script from a printed seed; `cargo xtask chaos` plays for longer |
//! | `killed` | kill -9 at each failpoint; another process goes on |
//! | `named` | schedules that are worth a name |
//! | `restored` | databases that are again what they were when they were backed up |
//! | `outages` | servers and connections that go and come back |
//! | `planted` | the checker finds what is planted |
//!
//! All tests share three servers, one after the other. What is true in the end is decided by
//! `rehome_tests::checker`. A run that fails keeps what its processes said.

#![cfg(target_os = "linux")]

mod killed;
mod named;
mod outages;
mod planted;
mod restored;
mod scripted;

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;
use rehome_tests::chaos::{Servers, Stage};

/// Plays on a stage of its own, on servers that nobody else uses meanwhile.
fn on_a_stage<T>(migration: &str, play: impl FnOnce(&Stage<'_>) -> Result<T>) -> Result<T> {
    with_servers(|servers| Stage::with(servers, migration, play))
}

/// The same where the tenant does not exist yet.
fn on_a_bare_stage<T>(play: impl FnOnce(&Stage<'_>) -> Result<T>) -> Result<T> {
    with_servers(|servers| Stage::bare(servers, play))
}

fn with_servers<T>(play: impl FnOnce(&Servers) -> Result<T>) -> Result<T> {
    static SERVERS: OnceLock<Result<Mutex<Servers>, String>> = OnceLock::new();
    let servers = SERVERS
        .get_or_init(|| Servers::start().map(Mutex::new).map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!(error.clone()))?;
    // A test that failed may have left one stopped.
    let servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
    servers.mend()?;
    play(&servers)
}
