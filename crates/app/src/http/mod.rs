//! The one client for requests to other servers: to a server of rehome, to the tools that watch the deployment, to
//! collectors, to issuers of tokens, and to applications that are notified of a switch.
//!
//! ```text
//! url ◀── exchange (one request on a connection of its own) ◀── endpoint (a URL from the configuration)
//!            └──▶ tls                  ▲
//!                                      └── the command's way to a server, and OTLP over gRPC
//! ```

mod endpoint;
mod exchange;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod tls;
mod url;

pub(crate) use endpoint::WITHIN;
pub use endpoint::{Endpoint, Handed, Reply};
pub use exchange::{Begun, Connection, Duplex, Lost, Whole, connect, send};
pub use tls::{Tls, only_http2, tls_client};
pub use url::{HttpUrl, NoUrl};
