//! Who holds: a tenant with all its tokens, a token, or an address that shows none.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use rehome_app::config::{Network, first_bits};
use rehome_domain::ids::TenantId;

use crate::listen::Connection;
use crate::response::Problem;
use crate::state::State;

/// Prefix length of an IPv6 address that counts as one client: the minimum allocation of a subscriber.
/// Source: RFC 6177.
const IPV6_BITS: u8 = 64;

/// One caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// A tenant, with all its tokens.
    Tenant(TenantId),
    /// Another token, by its name.
    Token(Arc<str>),
    /// An address without a token; of IPv6 its network.
    Address(IpAddr),
}

/// The address as it counts.
pub(crate) fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => first_bits(address.into(), IPV6_BITS),
    }
}

/// A holder of reservations.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) who: Who,
    /// Whether it may use the reserve: an operator's request about migrations.
    pub(crate) is_operator: bool,
}

/// Who sent a request, and on which connection: in the extensions of every request.
#[derive(Clone, Debug)]
pub(crate) struct Requester {
    pub(crate) holder: Holder,
    pub(crate) connection: Arc<Connection>,
}

impl FromRequestParts<Arc<State>> for Requester {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<State>) -> Result<Self, Problem> {
        // Every request passes the admission, which puts it there.
        parts.extensions.get().cloned().ok_or_else(Problem::internal)
    }
}

/// The proxies that are believed.
#[derive(Clone, Debug)]
pub(crate) struct Proxies(Arc<[Network]>);

impl Proxies {
    pub(crate) fn new(networks: &[Network]) -> Self {
        Self(networks.into())
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client's address: the peer's, or, where the peer is a proxy that is believed, the last one
    /// in `X-Forwarded-For` that is no such proxy.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
        let mut hops = lines.iter().rev().flat_map(|line| {
            // A value that is not text ends the chain of trusted proxies.
            line.to_str().unwrap_or("?").rsplit(',').map(|hop| hop.trim().parse::<IpAddr>())
        });
        while self.has(client) {
            match hops.next() {
                Some(Ok(hop)) => client = hop,
                _ => break,
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies::new(&["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_proxy_that_is_believed_says_who_the_client_is() {
        assert_eq!(client("192.0.2.1", &["198.51.100.9"]), "192.0.2.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.9"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn what_a_client_writes_into_the_header_itself_is_not_believed() {
        assert_eq!(client("10.0.0.1", &["203.0.113.7, 198.51.100.9"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["203.0.113.7", "198.51.100.9, 10.0.0.2"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["10.0.0.9, x"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["x, 10.0.0.9"]), "10.0.0.9");
    }

    #[test]
    fn the_addresses_of_one_ipv6_subscriber_are_one_caller() {
        let prefix = |text: &str| super::prefix(text.parse().unwrap());
        assert_eq!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:2:ffff::9"));
        assert_ne!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:3::1"));
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
        assert_eq!(prefix("::ffff:192.0.2.1"), prefix("192.0.2.1"));
    }
}
