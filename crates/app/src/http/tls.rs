//! Which certificates rehome trusts, and which one it shows, when it connects to others.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The trusted authorities, and the certificate that is shown.
pub type Tls = Arc<ClientConfig>;

/// Trusts the certificates that the system trusts (`SSL_CERT_FILE` names others), and shows none.
pub(super) fn trusting_the_system() -> Result<Tls, String> {
    static CONFIG: OnceLock<Tls> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let config = tls_client(None, None)?;
    Ok(Arc::clone(CONFIG.get_or_init(|| config)))
}

/// Trusts the certificates of `trust`, or else those that the system trusts, and shows the certificate
/// of `identity`, which is followed by its key. All in PEM; no error repeats any of it.
pub fn tls_client(trust: Option<&[u8]>, identity: Option<(&[u8], &[u8])>) -> Result<Tls, String> {
    const NO_PEM: &str = "holds no certificate in PEM";
    let certificates = |pem: &[u8]| {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        all.ok().filter(|all| !all.is_empty()).ok_or(NO_PEM)
    };
    let mut roots = RootCertStore::empty();
    match trust {
        Some(pem) => {
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|error| format!("cannot be used: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match identity {
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "its key is not in PEM")?;
            let shown = builder.with_client_auth_cert(certificates(chain)?, key);
            shown.map_err(|error| format!("cannot be shown: {error}"))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// The same, for a connection on which only HTTP/2 is spoken.
pub fn only_http2(tls: Option<&Tls>) -> Result<Tls, String> {
    let mut config = (*tls.map_or_else(trusting_the_system, |tls| Ok(Arc::clone(tls)))?).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
