//! Decisions from the head of a request, before a byte of its body is read: whether it is valid,
//! its caller, and whether there is a slot for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::body::Frame;

use super::{Held, Holder, Requester, Who, prefix};
use crate::auth::{Caller, Identity};
use crate::listen::Connection;
use crate::response;
use crate::response::Problem;
use crate::state::State as Shared;

/// A document of fewer bytes is not counted: the connections bound how many there are.
const COUNTED_BYTES_MIN: u64 = 16 << 10;

/// Gives the request a place while it is served, or refuses it.
pub(crate) async fn admit(
    State(state): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let head = check_host(request.version(), request.headers())
        .and_then(|()| check_single(request.headers()));
    if let Err(problem) = head {
        return problem.into_response();
    }
    let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
        return Problem::internal().into_response();
    };
    let (path, headers) = (request.uri().path(), request.headers());
    let address = state.proxies.client(connection.peer(), headers);
    let identity = Identity::find(&state.roll, path, headers, connection.certificate()).await;
    let is_of_events = is_of_events(path);
    let holder = holder(identity.caller(), is_of_events, Who::Address(prefix(address)));
    // A probe needs little, and must be answered when nothing else is.
    let is_probe = matches!(path, "/health/live" | "/health/ready");
    let place = (!is_probe).then(|| state.rooms.requests.take(&holder, 1)).transpose();
    let place = match place {
        Ok(place) => place,
        Err(problem) => return problem.into_response(),
    };
    let looks = matches!(*request.method(), Method::GET | Method::HEAD);
    let entry = state.access_log.entry(&request, &identity, address, is_of_events);
    request.extensions_mut().insert(Requester { holder: holder.clone(), connection });
    request.extensions_mut().insert(identity);
    let mut response = next.run(request).await;
    let entered = response.extensions_mut().remove::<Caller>();
    entry.answered(response.status().as_u16(), entered);
    let response = match counted(&state, &holder, looks, response).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    match place {
        None => response,
        Some(place) => response.map(|body| Body::new(Placed { body, _place: place })),
    }
}

/// One name of the server, as every request must have it. Source: RFC 9112, section 3.2.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts == 1 || hosts == 0 && version < Version::HTTP_11 {
        return Ok(());
    }
    let detail = format!("a request must have one Host header; this one has {hosts}");
    Err(Problem::bad_request("bad_host", detail))
}

/// Headers of which a second one would leave it to chance which of them counts, here and in a proxy before.
const SINGLE: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ORIGIN,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("sec-fetch-site"),
];

fn check_single(headers: &HeaderMap) -> Result<(), Problem> {
    match SINGLE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        None => Ok(()),
        Some(name) => {
            let detail = format!("a request may have one {name} header; this one has more");
            Err(Problem::bad_request("bad_header", detail))
        }
    }
}

fn holder(caller: Option<&Caller>, is_of_events: bool, address: Who) -> Holder {
    let Some(caller) = caller else {
        return Holder { who: address, is_operator: false };
    };
    let is_operator = caller.is_operator() && !is_of_events;
    Holder { who: caller.who().unwrap_or(address), is_operator }
}

/// Whether a path is about a tenant's events: that is the applications' and not the operators'.
fn is_of_events(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let of_tenant = parts.next() == Some("v1") && parts.next() == Some("tenants");
    let what = parts.nth(1);
    of_tenant && matches!(what, Some("append" | "read" | "events" | "streams" | "subscriptions"))
}

/// The answer with its bytes counted, if they are there already and many.
async fn counted(
    state: &Shared,
    holder: &Holder,
    looks: bool,
    response: Response,
) -> Result<Response, Problem> {
    let Some(bytes) = response.body().size_hint().exact().filter(|n| *n >= COUNTED_BYTES_MIN)
    else {
        return Ok(response);
    };
    let held = match state.rooms.answers.take_within(holder, bytes, super::ANSWER_WAIT).await {
        Ok(held) => held,
        // The result of an action is reported in any case.
        Err(_) if !looks => return Ok(response),
        Err(problem) => return Err(problem),
    };
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Problem::internal())?.to_bytes();
    Ok(Response::from_parts(parts, response::in_pieces(Counted { bytes: body, _held: held })))
}

/// Bytes that are counted for as long as any of them are held.
pub(crate) struct Counted<B> {
    pub(crate) bytes: B,
    pub(crate) _held: Held,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Counted<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// An answer whose request has a place until it is sent.
struct Placed {
    body: Body,
    _place: Held,
}

impl HttpBody for Placed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_host() {
        let check = |version, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            check_host(version, &headers).is_ok()
        };
        assert!(check(Version::HTTP_11, &["a"]));
        assert!(check(Version::HTTP_10, &[]) && check(Version::HTTP_10, &["a"]));
        assert!(!check(Version::HTTP_11, &[]));
        assert!(!check(Version::HTTP_11, &["a", "a"]) && !check(Version::HTTP_10, &["a", "b"]));
    }

    #[test]
    fn the_reserve_is_for_migrations_and_not_for_events() {
        for path in ["/v1/migrations", "/metrics", "/", "/v1/tenants/x", "/v1/tenants/x/purge"] {
            assert!(!is_of_events(path), "{path}");
        }
        for path in ["/v1/tenants/x/append", "/v1/tenants/x/events", "/v1/tenants/x/streams/a/b"] {
            assert!(is_of_events(path), "{path}");
        }
    }
}
