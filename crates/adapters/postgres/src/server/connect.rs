//! Connecting: which of the servers, over which address, with or without TLS.
//!
//! As libpq does, but the server that was the primary before is the first: the servers one after the other, of each all its addresses, of each address first as
//! `sslmode` prefers it and then as it allows. A server that refuses the login ends the
//! search; one that is unreachable, is starting, or accepts no writes does not.

use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::config::{SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Connection, Socket};
use uuid::Uuid;

use super::tls::{Connector, Mode, TlsError};
use super::url::Place;
use super::{PostgresUrl, password};
use crate::error::ServerError;

/// A connection, and what drives it.
pub(crate) type Connected =
    (tokio_postgres::Client, Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>);

/// The order in which servers are tried.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// As the URL has them.
    AsGiven,
    /// This one first, which was the primary before.
    First(Place),
    /// This one alone.
    Only(Place),
}

/// Connects to the first server of the URL that accepts the login and writes: a standby would answer as well,
/// with outdated data that would be trusted. `options` are for the session.
/// Without a `connect_timeout`, each address has the time `within`.
pub(super) async fn connect(
    url: &PostgresUrl,
    options: Option<&str>,
    within: Duration,
    order: &Order,
) -> Result<(Connected, Place), ServerError> {
    let within = url.connect_timeout.unwrap_or(within);
    let mut failed: Vec<(String, ServerError)> = Vec::new();
    let mut places = shuffled(url.shuffled, url.places.clone());
    match order {
        Order::AsGiven => {}
        Order::First(first) => places.sort_by_key(|place| place != first),
        Order::Only(one) => places.retain(|place| place == one),
    }
    for place in places {
        let addresses = match addresses(&place, within).await {
            Ok(addresses) => addresses,
            Err(error) => {
                failed.push((place.to_string(), error));
                continue;
            }
        };
        for address in shuffled(url.shuffled, addresses) {
            match at(url, &place, address, options, within).await {
                Ok(connected) => return Ok((connected, place)),
                Err(Failed { error, last: true }) => return Err(error),
                Err(Failed { error, last: false }) => failed.push((place.to_string(), error)),
            }
        }
    }
    let several = failed.len() > 1;
    match failed.pop() {
        Some((_, error)) if !several => Err(error),
        Some(last) => {
            failed.push(last);
            let all: Vec<String> =
                failed.iter().map(|(at, error)| format!("{at}: {error}")).collect();
            Err(ServerError::unreachable(all.join("; ")))
        }
        None => Err(ServerError::unreachable("its name has no address")),
    }
}

/// In another order each time, if that is wanted.
fn shuffled<T>(wanted: bool, mut some: Vec<T>) -> Vec<T> {
    if wanted {
        some.sort_by_cached_key(|_| Uuid::new_v4());
    }
    some
}

/// Where the place is; `None`: a socket of this machine.
async fn addresses(place: &Place, within: Duration) -> Result<Vec<Option<IpAddr>>, ServerError> {
    if place.is_socket() {
        return Ok(vec![None]);
    }
    if let Some(address) = place.address {
        return Ok(vec![Some(address)]);
    }
    let asked = tokio::net::lookup_host((place.host.as_str(), place.port));
    match tokio::time::timeout(within, asked).await {
        Err(_) => Err(ServerError::unreachable("the lookup of its name timed out")),
        Ok(Err(error)) => {
            Err(ServerError::unreachable(format!("its name cannot be resolved: {error}")))
        }
        Ok(Ok(found)) => {
            let mut addresses: Vec<_> = found.map(|found| Some(found.ip())).collect();
            addresses.dedup();
            Ok(addresses)
        }
    }
}

/// Why it did not come about, and whether that is the last word.
struct Failed {
    error: ServerError,
    last: bool,
}

/// One address, as often as `sslmode` allows.
async fn at(
    url: &PostgresUrl,
    place: &Place,
    address: Option<IpAddr>,
    options: Option<&str>,
    within: Duration,
) -> Result<Connected, Failed> {
    let config = configured(url, place, address, options, within)
        .map_err(|error| Failed { error, last: true })?;
    let modes: &[SslMode] = match url.tls.mode {
        // There is no network in between.
        _ if place.is_socket() => &[SslMode::Disable],
        Mode::Disable => &[SslMode::Disable],
        Mode::Allow => &[SslMode::Disable, SslMode::Require],
        Mode::Prefer => &[SslMode::Prefer, SslMode::Disable],
        Mode::Require | Mode::VerifyCa | Mode::VerifyFull => &[SslMode::Require],
    };
    let (last, before) = modes.split_last().unwrap_or((&SslMode::Require, &[]));
    let mut first_refusal = None;
    for mode in before {
        match once(&config, *mode, url, place, within).await {
            Ok(connected) => return Ok(connected),
            Err(Tried { refused: true, failed }) => first_refusal = Some(failed),
            Err(Tried { refused: false, failed }) => return Err(failed),
        }
    }
    match (once(&config, *last, url, place, within).await, first_refusal) {
        (Ok(connected), _) => Ok(connected),
        // Of the two, the first is what the mode prefers.
        (Err(_), Some(failed)) => Err(failed),
        (Err(tried), None) => Err(tried.failed),
    }
}

fn configured(
    url: &PostgresUrl,
    place: &Place,
    address: Option<IpAddr>,
    options: Option<&str>,
    within: Duration,
) -> Result<Config, ServerError> {
    let mut config = url.config.clone();
    if place.is_socket() {
        config.host_path(&place.host);
    } else {
        // The name is not resolved again: the address beside it is used.
        let name = place.name();
        config.host(name);
        if let Some(address) = address {
            config.hostaddr(address);
        }
    }
    config.port(place.port).connect_timeout(within);
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if url.tls.direct {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    if let Some(options) = options {
        let given = config.get_options().map(|given| format!("{given} ")).unwrap_or_default();
        config.options(format!("{given}{options}"));
    }
    if let Some(password) = password::find(url, place)? {
        config.password(password);
    }
    Ok(config)
}

/// What became of one try, and whether it may be tried otherwise.
struct Tried {
    refused: bool,
    failed: Failed,
}

async fn once(
    config: &Config,
    mode: SslMode,
    url: &PostgresUrl,
    place: &Place,
    within: Duration,
) -> Result<Connected, Tried> {
    let mut config = config.clone();
    config.ssl_mode(mode);
    let connector = url.tls.connector(&place.host);
    let error = match tokio::time::timeout(within, config.connect(connector)).await {
        Ok(Ok(connected)) => return Ok(connected),
        Ok(Err(error)) => error,
        Err(_) => {
            let error = ServerError::unreachable("connecting timed out");
            return Err(Tried { refused: false, failed: Failed { error, last: false } });
        }
    };
    let below = std::error::Error::source(&error);
    let is_tls = below.is_some_and(<dyn std::error::Error>::is::<TlsError>);
    let code = error.code();
    let refused = is_tls || code.is_some_and(|code| code.code().starts_with("28"));
    let last = code.is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW);
    let error = ServerError::connecting(error, place, url.database());
    Err(Tried { refused, failed: Failed { error, last } })
}
