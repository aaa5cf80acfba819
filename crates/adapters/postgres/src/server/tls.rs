//! TLS to a server, by `sslmode`.
//!
//! libpq uses OpenSSL, and so does this: which certificates are accepted, in which formats,
//! from which authorities and with which strength is then the same by construction, and
//! `openssl.cnf` of the machine applies to both. What libpq does itself is done here as well: which
//! default files are used, the required modes of a key, and whether a certificate is for the host ([`host`]).
//! The files are read for each connection, so a replaced certificate is used.

mod host;

use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslRef};
use openssl::ssl::{SslVerifyMode, SslVersion};
use openssl::x509::store::X509Lookup;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509VerifyResult};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};

/// `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    /// Without, and with it if the server refuses connections without it.
    Allow,
    /// With, and without where that does not come about.
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The required authority of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// None: TLS against eavesdroppers only.
    None,
    /// An authority in this file.
    File(PathBuf),
    /// One that the operating system trusts.
    System,
}

/// `sslcertmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertMode {
    Allow,
    Disable,
    Require,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tls1,
    Tls1_1,
    Tls1_2,
    Tls1_3,
}

impl Version {
    const fn number(self) -> SslVersion {
        match self {
            Self::Tls1 => SslVersion::TLS1,
            Self::Tls1_1 => SslVersion::TLS1_1,
            Self::Tls1_2 => SslVersion::TLS1_2,
            Self::Tls1_3 => SslVersion::TLS1_3,
        }
    }
}

/// How TLS is spoken to the servers of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) mode: Mode,
    /// Whether TLS starts without asking the server first.
    pub(super) direct: bool,
    pub(super) root: Root,
    pub(super) crl: Option<PathBuf>,
    pub(super) crl_folder: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) key_password: Option<String>,
    pub(super) cert_mode: CertMode,
    /// Whether the server gets the host name (SNI).
    pub(super) sni: bool,
    pub(super) min: Version,
    pub(super) max: Option<Version>,
}

/// Why a connection with TLS did not come about.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TlsError(String);

fn refused<T>(why: impl Into<String>) -> Result<T, TlsError> {
    Err(TlsError(why.into()))
}

impl Tls {
    /// What makes TLS connections to `host`.
    pub(super) fn connector(&self, host: &str) -> Connector {
        Connector { tls: self.clone(), host: host.to_owned() }
    }

    /// Refuses files that are of no use, before anything is connected to; where TLS is not needed, they are
    /// not either.
    pub(super) fn check(&self) -> Result<(), TlsError> {
        match self.mode {
            Mode::Disable | Mode::Allow | Mode::Prefer => Ok(()),
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => self.context().map(drop),
        }
    }

    fn context(&self) -> Result<SslContext, TlsError> {
        let mut builder = SslContext::builder(SslMethod::tls_client()).map_err(opened)?;
        builder.set_min_proto_version(Some(self.min.number())).map_err(opened)?;
        builder.set_max_proto_version(self.max.map(Version::number)).map_err(opened)?;
        match &self.root {
            Root::None => builder.set_verify(SslVerifyMode::NONE),
            Root::System => {
                builder.set_default_verify_paths().map_err(opened)?;
                builder.set_verify(SslVerifyMode::PEER);
            }
            Root::File(file) => {
                readable(file, "sslrootcert")?;
                builder.set_ca_file(file).or_else(|_| {
                    let file = file.display();
                    refused(format!("its sslrootcert {file} has no usable certificate"))
                })?;
                builder.set_verify(SslVerifyMode::PEER);
            }
        }
        if self.root != Root::None {
            self.revoked(&mut builder)?;
        }
        if let Some(cert) = &self.cert {
            self.client(&mut builder, cert)?;
        } else if self.cert_mode == CertMode::Require {
            return refused("its sslcertmode is require, and there is no sslcert");
        }
        Ok(builder.build())
    }

    /// Certificates that were revoked are refused, where there are lists of them.
    fn revoked(&self, builder: &mut SslContextBuilder) -> Result<(), TlsError> {
        let store = builder.cert_store_mut();
        if let Some(file) = &self.crl {
            readable(file, "sslcrl")?;
            let lookup = store.add_lookup(X509Lookup::file()).map_err(opened)?;
            lookup.load_crl_file(file, SslFiletype::PEM).or_else(|_| {
                refused(format!("its sslcrl {} has no usable list", file.display()))
            })?;
        }
        if let Some(folder) = &self.crl_folder {
            let lookup = store.add_lookup(X509Lookup::hash_dir()).map_err(opened)?;
            lookup.add_dir(&folder.to_string_lossy(), SslFiletype::PEM).map_err(opened)?;
        }
        if self.crl.is_some() || self.crl_folder.is_some() {
            store
                .set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)
                .map_err(opened)?;
        }
        Ok(())
    }

    /// Presents a client certificate, and proves its possession with the key.
    fn client(&self, builder: &mut SslContextBuilder, cert: &Path) -> Result<(), TlsError> {
        readable(cert, "sslcert")?;
        builder.set_certificate_chain_file(cert).or_else(|_| {
            refused(format!("its sslcert {} has no usable certificate", cert.display()))
        })?;
        let Some(key) = &self.key else {
            return refused(format!("it has a certificate, {}, and no sslkey", cert.display()));
        };
        let key_of_ours = self.read_key(key)?;
        builder.set_private_key(&key_of_ours).and_then(|()| builder.check_private_key()).or_else(
            |_| {
                let (cert, key) = (cert.display(), key.display());
                refused(format!("its sslkey {key} is not the key of its sslcert {cert}"))
            },
        )
    }

    fn read_key(&self, file: &Path) -> Result<PKey<Private>, TlsError> {
        readable(file, "sslkey")?;
        let shown = file.display();
        if is_open_to_others(file) {
            return refused(format!(
                "its sslkey {shown} can be read by others; it needs the mode 0600, or 0640 if root owns it"
            ));
        }
        let bytes = std::fs::read(file)
            .or_else(|error| refused(format!("its sslkey {shown} cannot be read: {error}")))?;
        let password = self.key_password.as_deref().unwrap_or_default().as_bytes();
        PKey::private_key_from_pem_passphrase(&bytes, password)
            .or_else(|_| PKey::private_key_from_der(&bytes))
            .or_else(|_| PKey::private_key_from_pkcs8_passphrase(&bytes, password))
            .or_else(|_| {
                refused(format!(
                    "its sslkey {shown} cannot be used: it is not a private key, or sslpassword is not its \
                     password"
                ))
            })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn opened(error: openssl::error::ErrorStack) -> TlsError {
    TlsError(format!("TLS cannot be set up: {error}"))
}

fn readable(file: &Path, what: &str) -> Result<(), TlsError> {
    match std::fs::File::open(file) {
        Ok(_) => Ok(()),
        Err(error) => refused(format!("its {what} {} cannot be read: {error}", file.display())),
    }
}

/// By libpq's rule: a key of this user is only for the user; one of root's may be for a group of the user.
#[cfg(unix)]
fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| {
        let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
        metadata.mode() & others != 0
    })
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

/// Makes TLS connections to one host.
pub(crate) struct Connector {
    tls: Tls,
    host: String,
}

/// Begins TLS on a connection.
pub(crate) struct Beginning {
    tls: Tls,
    host: String,
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Encrypted;
    type TlsConnect = Beginning;
    type Error = TlsError;

    fn make_tls_connect(&mut self, _: &str) -> Result<Beginning, TlsError> {
        Ok(Beginning { tls: self.tls.clone(), host: self.host.clone() })
    }
}

impl TlsConnect<Socket> for Beginning {
    type Stream = Encrypted;
    type Error = TlsError;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted, TlsError>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let context = self.tls.context()?;
            let mut ssl = Ssl::new(&context).map_err(opened)?;
            if self.tls.sni && !self.host.is_empty() && self.host.parse::<IpAddr>().is_err() {
                ssl.set_hostname(&self.host).map_err(opened)?;
            }
            ssl.set_alpn_protos(b"\x0apostgresql").map_err(opened)?;
            let mut stream = SslStream::new(ssl, socket).map_err(opened)?;
            if let Err(error) = Pin::new(&mut stream).connect().await {
                return refused(why(stream.ssl(), &error));
            }
            if self.tls.mode == Mode::VerifyFull {
                let certificate = stream.ssl().peer_certificate();
                let Some(certificate) = certificate else {
                    return refused("it has no certificate");
                };
                host::check(&certificate, &self.host).map_err(TlsError)?;
            }
            Ok(Encrypted(stream))
        })
    }
}

/// Why the connection failed: the problem with the certificate, or OpenSSL's
/// error.
fn why(ssl: &SslRef, error: &openssl::ssl::Error) -> String {
    let result = ssl.verify_result();
    if result != X509VerifyResult::OK {
        return format!(
            "its certificate is refused: {} (checked against sslrootcert, as sslmode requires)",
            result.error_string()
        );
    }
    let mut words = format!("the TLS handshake failed: {error}");
    if error.ssl_error().is_some_and(|stack| stack.to_string().contains("too")) {
        words.push_str(
            " (OpenSSL of this machine, and so libpq, refuses a certificate as weak as that; renew the \
             server's with SHA-256 and at least 2048 bits of RSA)",
        );
    }
    words
}

/// A connection with TLS.
pub(crate) struct Encrypted(SslStream<Socket>);

impl tokio_postgres::tls::TlsStream for Encrypted {
    /// `tls-server-end-point`, RFC 5929: a hash of the certificate by the hash of its signature, but not one
    /// that is broken.
    fn channel_binding(&self) -> ChannelBinding {
        let certificate = self.0.ssl().peer_certificate();
        let hash = certificate.and_then(|certificate| end_point(&certificate));
        hash.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

fn end_point(certificate: &X509) -> Option<Vec<u8>> {
    let signature = certificate.signature_algorithm().object().nid().signature_algorithms()?;
    let digest = match signature.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        nid => MessageDigest::from_nid(nid)?,
    };
    certificate.digest(digest).ok().map(|digest| digest.to_vec())
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
