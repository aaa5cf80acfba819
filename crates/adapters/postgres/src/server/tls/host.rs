//! Whether a certificate is for a host, by libpq's rule.
//!
//! A name in the subject's common name counts only where no subject alternative name of the host's kind
//! is in the certificate: a name of DNS for a name, an address for an address.

use std::net::IpAddr;

use openssl::nid::Nid;
use openssl::x509::X509Ref;

/// The error explains why it is not.
pub(super) fn check(certificate: &X509Ref, host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("sslmode=verify-full needs a host name, but only hostaddr is given".to_owned());
    }
    let address: Option<IpAddr> = host.parse().ok();
    let mut names = Vec::new();
    let mut is_common_name_asked = true;
    for name in certificate.subject_alt_names().iter().flatten() {
        if let Some(dns) = name.dnsname() {
            if fits(dns, host) {
                return Ok(());
            }
            is_common_name_asked &= address.is_some();
            names.push(dns.to_owned());
        } else if let Some(bytes) = name.ipaddress() {
            let other = of_bytes(bytes);
            if other.is_some() && other == address {
                return Ok(());
            }
            is_common_name_asked &= address.is_none();
            names.extend(other.map(|other| other.to_string()));
        }
    }
    if is_common_name_asked
        && let Some(entry) = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next()
        && let Ok(name) = entry.data().to_string()
    {
        if fits(&name, host) {
            return Ok(());
        }
        names.push(name);
    }
    let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
    Err(format!("its certificate is not valid for name {host}; it is for {names}"))
}

fn of_bytes(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Whether `host` is that name, or one label below a `*.name`. A name with a NUL never matches.
fn fits(name: &str, host: &str) -> bool {
    if name.contains('\0') {
        return false;
    }
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(domain) = name.strip_prefix('*').filter(|domain| domain.starts_with('.')) else {
        return false;
    };
    let Some(at) = host.len().checked_sub(domain.len()).filter(|at| *at > 0) else { return false };
    host.is_char_boundary(at)
        && host[at..].eq_ignore_ascii_case(domain)
        && !host[..at].contains('.')
        && domain.len() > 1
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_name_fits_itself_and_a_star_one_label() {
        for (name, host) in [("a.b", "a.b"), ("A.b", "a.B"), ("*.b", "a.b"), ("*.b.c", "x.B.c")] {
            assert!(fits(name, host), "{name} {host}");
        }
        for (name, host) in [
            ("a.b", "b"),
            ("*.b", "b"),
            ("*.b", ".b"),
            ("*.b", "x.a.b"),
            ("*", "a"),
            ("*.", "a."),
            ("a*.b", "ax.b"),
            ("a.b\0.c", "a.b"),
        ] {
            assert!(!fits(name, host), "{name} {host}");
        }
    }
}
