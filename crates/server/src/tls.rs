//! TLS, where a certificate is configured.

use std::path::Path;
use std::sync::Arc;

use rehome_app::AppError;
use rehome_app::config::TlsFiles;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Answers handshakes.
pub(crate) type Acceptor = tokio_rustls::TlsAcceptor;

/// Reads certificate and key.
pub(crate) fn acceptor(files: Option<&TlsFiles>) -> Result<Option<Acceptor>, AppError> {
    let Some(TlsFiles { cert, key }) = files else { return Ok(None) };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| unusable("certificate", cert, &words(&error)))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable("key of the certificate", key, &words(&error)))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| unusable("certificate", cert, &error.to_string()))?;
    Ok(Some(Acceptor::from(Arc::new(config))))
}

/// Never what the file holds.
fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "holds none".to_owned(),
        _ => "is not PEM".to_owned(),
    }
}

fn unusable(what: &str, path: &Path, why: &str) -> AppError {
    let message = format!("the {what} in {} cannot be used: {why}", path.display());
    AppError::failed("unusable_certificate", message)
}
