//! Server-sent events: answers that go on.
//!
//! A stream ends when the server stops, when its token is revoked, when its source says so, and when
//! its client does not read. Whoever follows comes back with `Last-Event-ID`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::answer::Problem;
use crate::auth::{Caller, Tokens};
use crate::state::State;

/// Something is sent at least so often, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is told to a follower, piece by piece.
pub(crate) trait Source: Send + 'static {
    /// The next piece, as it is sent; `None`: it is over. Can be dropped and called again.
    fn next(&mut self) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// Whether the client asks for server-sent events.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| {
            accept.split(',').any(|kind| {
                let kind = kind.split(';').next().unwrap_or_default().trim();
                kind.eq_ignore_ascii_case("text/event-stream")
            })
        })
    })
}

/// Room for one more follower.
pub(crate) fn room(state: &State) -> Result<OwnedSemaphorePermit, Problem> {
    if state.is_stopping() {
        return Err(Problem::stopping());
    }
    Arc::clone(&state.followers).try_acquire_owned().map_err(|_| {
        let detail = "too many follow already (server.followers_max); try again";
        Problem::retry(StatusCode::TOO_MANY_REQUESTS, "too_many_followers", detail, 5)
            .limit(state.limits.followers_max.into())
    })
}

/// Answers with all that the source tells.
pub(crate) fn answer(
    state: &Arc<State>,
    caller: Caller,
    room: OwnedSemaphorePermit,
    source: impl Source,
) -> Response {
    let following = Following {
        state: Arc::clone(state),
        tokens: state.tokens.subscribe(),
        caller,
        source,
        said: false,
        _room: room,
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Proxies that gather answers would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (StatusCode::OK, headers, Body::from_stream(following.pieces())).into_response()
}

struct Following<S> {
    state: Arc<State>,
    tokens: watch::Receiver<Arc<Tokens>>,
    caller: Caller,
    source: S,
    said: bool,
    _room: OwnedSemaphorePermit,
}

impl<S: Source> Following<S> {
    fn pieces(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        stream::unfold(self, |mut this| async move {
            let piece = this.next().await?;
            Some((Ok(Bytes::from(piece)), this))
        })
    }

    async fn next(&mut self) -> Option<Vec<u8>> {
        if !self.said {
            // The client knows at once that it is heard, also while nothing happens.
            self.said = true;
            return Some(b"retry: 1000\n\n".to_vec());
        }
        loop {
            tokio::select! {
                biased;
                () = self.state.stopping.cancelled() => return None,
                changed = self.tokens.changed() => {
                    let tokens = Arc::clone(&self.tokens.borrow());
                    if changed.is_err() || !self.caller.is_known(&tokens) {
                        return None;
                    }
                }
                piece = self.source.next() => return piece,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(b":\n\n".to_vec()),
            }
        }
    }
}
