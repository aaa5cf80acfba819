//! The one parser of `http://` and `https://` URLs of other servers.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

/// Where a server is: `http://HOST:PORT/PREFIX` or `https://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    secure: bool,
    host: String,
    port: u16,
    prefix: String,
}

/// Why a text is not accepted as a URL. Never repeats the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoUrl {
    /// It is none with `http://` or `https://` and a host.
    Malformed,
    /// It has a query or a fragment.
    Query,
    /// It has a user, which is not allowed there.
    User,
}

impl NoUrl {
    /// The problem as a text that follows the key. `wanted`: what the text must be there, with an example.
    pub const fn or(self, wanted: &'static str) -> &'static str {
        match self {
            Self::Malformed => wanted,
            Self::Query => "must be a URL without \"?\" and \"#\"",
            Self::User => "must be a URL without a user",
        }
    }
}

impl HttpUrl {
    /// Parses a URL without a user.
    pub fn parse(text: &str) -> Result<Self, NoUrl> {
        match Self::with_user(text)? {
            (url, None) => Ok(url),
            (_, Some(_)) => Err(NoUrl::User),
        }
    }

    /// Parses a URL that may have a user: `USER:PASSWORD`, percent-encoded as in the URL.
    pub(super) fn with_user(text: &str) -> Result<(Self, Option<&str>), NoUrl> {
        let uri: Uri = text.parse().map_err(|_| NoUrl::Malformed)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(NoUrl::Malformed),
        };
        if uri.query().is_some() || text.contains('#') {
            return Err(NoUrl::Query);
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        let authority = uri.authority().ok_or(NoUrl::Malformed)?;
        if authority.host().is_empty() || !text.bytes().all(plain) {
            return Err(NoUrl::Malformed);
        }
        let url = Self {
            secure,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        };
        let start = text.find("://").map_or(0, |at| at + 3);
        let user = text[start..start + authority.as_str().len()].rsplit_once('@');
        Ok((url, user.map(|(user, _)| user)))
    }

    /// Splits the URL of a document into its server, and its path with the query.
    pub(super) fn split(text: &str) -> Result<(&str, String), NoUrl> {
        let start = text.find("://").ok_or(NoUrl::Malformed)? + 3;
        let end = text[start..].find(['/', '?']).map_or(text.len(), |at| start + at);
        let (server, path) = text.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let plain = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&b);
        if path.bytes().all(plain) { Ok((server, path)) } else { Err(NoUrl::Malformed) }
    }

    /// Whether it is reached with TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is this machine, by its address, so that the traffic cannot be intercepted on a network.
    pub fn is_local(&self) -> bool {
        let host = self.host();
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// The name or address to connect to. An IPv6 address has brackets in a URL only.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as a `Host` header has them.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The path of a request for `path`, which begins with a slash or is empty.
    pub fn path(&self, path: &str) -> String {
        let whole = format!("{}{path}", self.prefix);
        if whole.is_empty() { "/".to_owned() } else { whole }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_a_port_and_a_prefix() {
        let url = HttpUrl::parse("https://grafana.example/g/").unwrap();
        assert_eq!((url.to_string().as_str(), url.port()), ("https://grafana.example:443/g", 443));
        assert_eq!(url.path("/api?x=%20"), "/g/api?x=%20");
        assert_eq!(HttpUrl::parse("http://h").unwrap().path(""), "/");
        let here = HttpUrl::parse("http://[::1]:9090").unwrap();
        assert_eq!((here.to_string().as_str(), here.host()), ("http://[::1]:9090", "::1"));
        for (host, is_local) in [("LOCALHOST", true), ("127.1.2.3", true), ("h.example", false)] {
            assert_eq!(HttpUrl::parse(&format!("http://{host}")).unwrap().is_local(), is_local);
        }
    }

    #[test]
    fn what_is_none_is_refused_for_a_reason() {
        use NoUrl::{Malformed, Query, User};
        for (text, why) in [
            ("", Malformed),
            ("h", Malformed),
            ("/h", Malformed),
            ("ftp://h", Malformed),
            ("http://", Malformed),
            ("http://h/\"", Malformed),
            ("http://h/\\", Malformed),
            ("http://h/?q=1", Query),
            ("http://h/#f", Query),
            ("http://u@h", User),
            ("http://u:p@h", User),
        ] {
            assert_eq!(HttpUrl::parse(text), Err(why), "{text}");
        }
        assert_eq!(HttpUrl::with_user("https://u:p%40@h/x").unwrap().1, Some("u:p%40"));
    }

    #[test]
    fn a_document_has_a_server_and_a_path() {
        let split = |text| HttpUrl::split(text).map(|(server, path)| format!("{server} {path}"));
        assert_eq!(split("https://h:1/a/b?c=d"), Ok("https://h:1 /a/b?c=d".to_owned()));
        assert_eq!(split("https://h?c"), Ok("https://h /?c".to_owned()));
        assert_eq!(split("https://h"), Ok("https://h /".to_owned()));
        for text in ["h", "https://h/<a>", "https://h/a#b"] {
            assert_eq!(split(text), Err(NoUrl::Malformed), "{text}");
        }
    }
}
