//! Processes and servers that are killed, stopped and cut off, on PostgreSQL.
//!
//! | file | what happens |
//! |---|---|
//! | `scripted` | a tenant there and back during a script from a printed seed; `cargo xtask chaos` runs longer |
//! | `failover` | a Patroni cluster loses its primary; `cargo xtask chaos --patroni` plays all phases |
//! | `killed` | kill -9 at each failpoint; another process continues |
//! | `named` | specific schedules |
//! | `restored` | databases restored from a backup |
//! | `outages` | servers and connections that fail and recover |
//! | `planted` | the checker finds planted damage |
//!
//! All tests share three servers, one after the other. `rehome_tests::checker` decides whether the result is right.
//! A run that fails keeps the output of its processes.

#![cfg(target_os = "linux")]

mod failover;
mod killed;
mod named;
mod outages;
mod planted;
mod restored;
mod scripted;

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;
use rehome_tests::chaos::{Servers, Stage};

/// Runs on a separate stage, on servers that no other test uses meanwhile.
fn on_a_stage<T>(migration: &str, play: impl FnOnce(&Stage<'_>) -> Result<T>) -> Result<T> {
    with_servers(|servers| Stage::with(servers, migration, play))
}

/// The same where the tenant does not exist yet.
fn on_a_bare_stage<T>(play: impl FnOnce(&Stage<'_>) -> Result<T>) -> Result<T> {
    with_servers(|servers| Stage::bare(servers, "", play))
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
