//! TLS to a server, as `sslmode` asks for it.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresUrl;
use crate::error::ServerError;

/// Makes TLS connections.
pub(crate) type Connector = MakeRustlsConnect;

pub(super) fn connector(_url: &PostgresUrl) -> Result<Connector, ServerError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ServerError::unreachable(error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
