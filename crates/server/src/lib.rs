//! The server: HTTP on top of the use cases of `rehome_app`.
//!
//! ```text
//!  connection ─▶ listen ─▶ answer (request id, time limit, problems) ─▶ rooms (who, a place)
//!                                                                          │
//!                                                                auth (origin, token, role)
//!                                                                          │
//!              ┌──────────────┬─────────────┬─────────────┬────────────────┘
//!              ▼              ▼             ▼             ▼
//!           gateway/        admin/        health/      openapi
//!         (the router)   (use cases)
//! ```
//!
//! Besides, the process drives every migration without a driver.
//!
//! This crate has no protocol and no rule about histories: a handler reads a request, calls the
//! router or a use case, and writes the result. It never names an adapter.

mod accept;
mod admin;
mod auth;
mod console;
mod extract;
mod gateway;
mod health;
mod listen;
mod looks;
mod query;
mod response;
mod rooms;
mod routes;
mod sse;
mod state;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rehome_app::config::{Config, ServerConfig};
use rehome_app::{AppError, CancellationToken, Kind, driving, token_registry};
use rehome_observe::Observed;
use tokio::net::TcpListener;
use tokio::sync::watch;

use auth::Roll;
use state::State;

/// A server that is bound to its address and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<State>,
    tls: watch::Sender<Option<tls::Acceptor>>,
    config: ServerConfig,
}

/// What can be changed while the server runs. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    state: Arc<State>,
    tls: watch::Sender<Option<tls::Acceptor>>,
}

impl Server {
    /// Binds the configured address. Refuses a non-loopback address, unless tokens and TLS
    /// are configured or explicitly disabled.
    pub async fn bind(deployment: Observed) -> Result<Self, AppError> {
        let config = deployment.config().server.clone();
        let closed = token_registry::close_gate_if_configured(&deployment).await?;
        admit(&config, closed)?;
        let listener = TcpListener::bind(config.bind).await.map_err(|error| {
            let message = format!("cannot listen on {}: {error}", config.bind);
            AppError::failed("cannot_listen", message)
        })?;
        Self::on(deployment, listener).await
    }

    /// Uses a bound listener instead of the configured address. Refuses
    /// an address as [`Server::bind`] does.
    pub async fn on(deployment: Observed, listener: TcpListener) -> Result<Self, AppError> {
        let address = listener.local_addr().map_err(|error| {
            AppError::failed("cannot_listen", format!("the listener has no address: {error}"))
        })?;
        let config = ServerConfig { bind: address, ..deployment.config().server.clone() };
        let closed = token_registry::close_gate_if_configured(&deployment).await?;
        admit(&config, closed)?;
        if closed && deployment.config().tokens.is_empty() {
            tracing::info!("every client needs a token that the control plane stores");
        }
        let acceptor = tls::acceptor(&config)?;
        let registry = Arc::clone(deployment.access_registry());
        let may_open = is_loopback(config.bind.ip()) || config.without_tokens;
        let roll = Roll::open(registry, &deployment.config().tokens, may_open).await?;
        roll.configure_others(&deployment.config().issuers, &deployment.config().certificates);
        let state = Arc::new(State::new(deployment.serving(), roll));
        Ok(Self { listener, address, state, tls: watch::Sender::new(acceptor), config })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as clients write it.
    pub fn url(&self) -> String {
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// For changes while it runs.
    pub fn handle(&self) -> Handle {
        Handle { state: Arc::clone(&self.state), tls: self.tls.clone() }
    }

    /// Answers, and works on migrations, until `stop` is cancelled; then finishes what it accepted.
    pub async fn run(self, stop: &CancellationToken) {
        let Self { listener, state, tls, config, .. } = self;
        let router = routes::router(&state);
        let closing = async {
            stop.cancelled().await;
            state.stopping.cancel();
        };
        let limits = &config.limits;
        let connections = listen::Connections {
            tls: tls.subscribe(),
            router,
            places: Arc::clone(&state.places),
            proxies: state.proxies.clone(),
            pace: listen::Pace {
                within: limits.client_timeout,
                bytes_per_second: limits.client_bytes_per_second_min,
            },
            too_slow: Arc::clone(&state.too_slow),
        };
        // Requests that are answered last are authenticated, too.
        let served = CancellationToken::new();
        let serving = async {
            listen::serve(listener, connections, stop).await;
            served.cancel();
        };
        tokio::join!(
            closing,
            serving,
            state.roll.keep(&served),
            driving::drive_all(&state.deployment, stop),
            state.deployment.watch_reachable(stop),
            state.deployment.watch_migrations(stop),
            Box::pin(state.deployment.watch_drains(stop)),
            Box::pin(state.deployment.verify_stores(stop)),
            Box::pin(state.deployment.push_metrics(|| state.front(), stop)),
        );
        state.verifications.close().await;
        state.baselines.close().await;
    }
}

impl Handle {
    /// Applies the tokens and the certificate of a reloaded configuration. If one is invalid,
    /// nothing changes. A deployment that has, or had, tokens stays closed
    /// when the last one is gone.
    pub async fn reload(&self, config: &Config) -> Result<(), AppError> {
        let acceptor = tls::acceptor(&config.server)?;
        if self.tls.borrow().is_some() != acceptor.is_some() {
            let message = "to enable or disable TLS, restart the server";
            return Err(AppError::refused(message));
        }
        let deployment = &self.state.deployment;
        let closed = if config.lets_somebody_in() {
            token_registry::set_gate(deployment, true).await?.closed
        } else {
            token_registry::close_gate_if_configured(deployment).await?
        };
        admit(&config.server, closed)?;
        self.tls.send_replace(acceptor);
        self.state.roll.configure(&config.tokens);
        self.state.roll.configure_others(&config.issuers, &config.certificates);
        Ok(())
    }
}

/// Whether the server may listen there with this configuration.
fn admit(config: &ServerConfig, has_tokens: bool) -> Result<(), AppError> {
    if is_loopback(config.bind.ip()) {
        return Ok(());
    }
    let mut missing = Vec::new();
    if !has_tokens && !config.without_tokens {
        missing.push(
            "there are no tokens, so every client could read and move every tenant: create \
             some with `rehome token create`, or use --without-tokens (server.without_tokens)",
        );
    }
    if config.tls.is_none() && !config.without_tls {
        missing.push(
            "there is no TLS, so others could read tokens and events on the network: set server.tls_cert \
             and server.tls_key, or, behind a proxy that has TLS, use --without-tls \
             (server.without_tls)",
        );
    }
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "does not listen on {}, which is not a loopback address: {}",
        config.bind,
        missing.join("; ")
    );
    Err(AppError::new(Kind::Usage, "unsafe_address", message))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bind: &str, tls: bool) -> ServerConfig {
        let files = rehome_app::config::TlsFiles { cert: "c".into(), key: "k".into() };
        let bind = bind.parse().unwrap();
        ServerConfig { bind, tls: tls.then_some(files), ..ServerConfig::default() }
    }

    #[test]
    fn loopback_needs_nothing() {
        for bind in ["127.0.0.1:0", "127.8.8.8:1", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
            assert!(admit(&config(bind, false), false).is_ok(), "{bind}");
        }
    }

    #[test]
    fn an_address_that_others_reach_needs_tokens_and_tls_or_a_word() {
        for bind in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7411", "[::ffff:192.0.2.1]:0"] {
            let refused = admit(&config(bind, false), false).unwrap_err().to_string();
            assert!(refused.contains("no tokens") && refused.contains("no TLS"), "{refused}");
            assert!(admit(&config(bind, true), false).is_err());
            assert!(admit(&config(bind, false), true).is_err());
            assert!(admit(&config(bind, true), true).is_ok());
            let without_tls = ServerConfig { without_tls: true, ..config(bind, false) };
            assert!(admit(&without_tls, false).is_err());
            assert!(admit(&without_tls, true).is_ok());
            let without_both = ServerConfig { without_tokens: true, ..without_tls };
            assert!(admit(&without_both, false).is_ok());
        }
    }
}
