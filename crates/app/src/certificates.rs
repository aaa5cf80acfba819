//! Clients with a certificate: which name in it gets which role. The TLS handshake verifies the certificate (signed by one
//! of `server.client_ca`, not expired); this module reads a verified one.

use openssl::nid::Nid;
use openssl::x509::X509;

use crate::tokens::Grant;

/// A name that a certificate may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A DNS name among its alternative names.
    Dns(String),
    /// A URI among them, like a SPIFFE id.
    Uri(String),
    /// An address among them.
    Email(String),
    /// The common name of its subject.
    CommonName(String),
}

impl Named {
    /// An alternative name: `DNS:...`, `URI:...` or `email:...`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (kind, name) = text.split_once(':').unwrap_or(("", text));
        let name = name.to_owned();
        match kind.to_ascii_lowercase().as_str() {
            _ if name.is_empty() => Err("is empty"),
            "dns" => Ok(Self::Dns(name)),
            "uri" => Ok(Self::Uri(name)),
            "email" => Ok(Self::Email(name)),
            _ => Err("must be like \"DNS:deploy.example\", \"URI:spiffe://example/deploy\" or \
                      \"email:ops@example.com\""),
        }
    }
}

/// What the bearer of a certificate may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRule {
    /// Who, in logs.
    pub name: String,
    /// What its certificate has.
    pub named: Named,
    /// What it may.
    pub grant: Grant,
}

/// The first rule that fits a certificate that was found good, in DER.
pub fn rule_for<'a>(rules: &'a [CertificateRule], der: &[u8]) -> Option<&'a CertificateRule> {
    let certificate = X509::from_der(der).ok()?;
    let names = names(&certificate);
    rules.iter().find(|rule| names.contains(&rule.named))
}

fn names(certificate: &X509) -> Vec<Named> {
    let mut names = Vec::new();
    for other in certificate.subject_alt_names().into_iter().flatten() {
        names.extend(other.dnsname().map(|name| Named::Dns(name.to_owned())));
        names.extend(other.uri().map(|name| Named::Uri(name.to_owned())));
        names.extend(other.email().map(|name| Named::Email(name.to_owned())));
    }
    let common: Vec<_> = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).collect();
    // With several it is ambiguous.
    if let [one] = common[..]
        && let Ok(name) = one.data().to_string()
    {
        names.push(Named::CommonName(name));
    }
    names
}
