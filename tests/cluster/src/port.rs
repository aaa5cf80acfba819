//! Free ports of the loopback interface.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context as _, Result, bail};

/// Ports that the operating system gives to no outgoing connection, so that a server that was stopped
/// finds its own free again.
const PORTS: Range<u64> = 20_000..32_000;
const TRIES: usize = 200;

/// A port, and a socket that listens on it.
pub(crate) fn listen() -> Result<(u16, TcpListener)> {
    for _ in 0..TRIES {
        let port = PORTS.start + random() % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).context("a port")?;
        if let Ok(socket) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok((port, socket));
        }
    }
    bail!("no free port on 127.0.0.1")
}

/// Not repeatable on purpose: several processes choose names and ports at once.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
