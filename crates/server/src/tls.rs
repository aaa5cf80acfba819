//! TLS, where a certificate is configured.

use std::path::Path;
use std::sync::Arc;

use rehome_app::AppError;
use rehome_app::config::{ServerConfig as Configured, TlsFiles};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Answers handshakes.
pub(crate) type Acceptor = tokio_rustls::TlsAcceptor;

/// Reads certificate and key, and whose certificates clients may show.
pub(crate) fn acceptor(configured: &Configured) -> Result<Option<Acceptor>, AppError> {
    let Some(TlsFiles { cert, key }) = &configured.tls else { return Ok(None) };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
    let chain: Vec<_> = chain.map_err(|error| unusable("certificate", cert, &words(&error)))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable("key of the certificate", key, &words(&error)))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("certificate", cert, &error.to_string()))?;
    let builder = match &configured.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let unusable = |why: &str| unusable("certificate for clients' certificates", file, why);
            let signers = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
            let signers: Vec<_> = signers.map_err(|error| unusable(&words(&error)))?;
            let mut roots = RootCertStore::empty();
            for signer in signers {
                roots.add(signer).map_err(|error| unusable(&error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if configured.client_certificate_required {
                verifier
            } else {
                verifier.allow_unauthenticated()
            };
            let verifier = verifier.build().map_err(|error| unusable(&error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(chain, private)
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
