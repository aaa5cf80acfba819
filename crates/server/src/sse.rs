//! Server-sent events: responses that continue.
//!
//! A stream ends when the server stops, when its token or session ends, when its source ends, and when
//! its client does not read. Followers reconnect with `Last-Event-ID`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::accept;
use crate::auth::{Caller, Known};
use crate::response::{Problem, as_made};
use crate::rooms::{Counted, Held, Requester};
use crate::state::State;

/// Maximum time between two messages, so that no proxy considers the connection dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often to check whether the client is still connected.
const LOOK: Duration = Duration::from_secs(1);

/// The data for a follower, piece by piece.
pub(crate) trait Source: Send + 'static {
    /// The next piece, as it is sent; `None`: it is over. Can be dropped and called again.
    fn next(&mut self) -> impl Future<Output = Option<Piece>> + Send;
}

/// A piece of the data.
pub(crate) enum Piece {
    /// With reserved room.
    Counted(Bytes),
    /// Not yet.
    Plain(Vec<u8>),
}

/// The media type of server-sent events.
pub(crate) const KIND: &str = "text/event-stream";

/// Refuses a client of a path that has nothing but server-sent events, and whose `Accept` excludes them.
pub(crate) fn check_accepted(headers: &HeaderMap) -> Result<(), Problem> {
    if !accept::refuses(headers, KIND) {
        return Ok(());
    }
    let detail = "this path answers with text/event-stream, which the request's Accept excludes";
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail))
}

/// A place of a follower.
pub(crate) struct Place {
    requester: Requester,
    _held: Held,
}

/// A place for one more follower.
pub(crate) fn room(state: &State, requester: Requester) -> Result<Place, Problem> {
    if state.is_stopping() {
        return Err(Problem::stopping());
    }
    let held = state.rooms.followers.take(&requester.holder, 1)?;
    Ok(Place { requester, _held: held })
}

/// A response with all data of the source.
pub(crate) fn answer(
    state: &Arc<State>,
    caller: Caller,
    place: Place,
    source: impl Source,
) -> Response {
    place.requester.connection.follows();
    let following = Following {
        state: Arc::clone(state),
        known: state.roll.subscribe(),
        caller,
        source,
        last_said: None,
        let_in: Instant::now(),
        place,
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // Proxies that gather answers would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (StatusCode::OK, headers, following.body()).into_response()
}

struct Following<S> {
    state: Arc<State>,
    known: watch::Receiver<Arc<Known>>,
    caller: Caller,
    source: S,
    /// When something was sent last.
    last_said: Option<Instant>,
    /// When the caller's rights were last checked.
    let_in: Instant,
    place: Place,
}

impl<S: Source> Following<S> {
    fn body(self) -> Body {
        // Shows the client at once that it is connected, also while nothing happens.
        let hello = Bytes::from_static(b"retry: 1000\n\n");
        as_made(hello, self, |mut this| async move {
            let piece = this.next().await?;
            Some((piece, this))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        let piece = self.piece().await?;
        self.last_said = Some(Instant::now());
        match piece {
            Piece::Counted(bytes) => Some(bytes),
            Piece::Plain(bytes) => {
                let (room, bytes_held) = (&self.state.rooms.answers, bytes.len() as u64);
                let holder = &self.place.requester.holder;
                let within = self.state.limits.client_timeout;
                // Other requests of the same caller do not reconnect; this one does.
                let held = room.take_within(holder, bytes_held, within).await.ok()?;
                Some(Bytes::from_owner(Counted { bytes, _held: held }))
            }
        }
    }

    async fn piece(&mut self) -> Option<Piece> {
        let Self { state, known, caller, source, last_said, let_in, .. } = self;
        let quiet_until = last_said.unwrap_or_else(Instant::now) + KEEP_ALIVE;
        let mut next = pin!(source.next());
        loop {
            // A token expires without a notification.
            if let_in.elapsed() >= LOOK {
                if !state.roll.still_lets_in(caller).await {
                    return None;
                }
                *let_in = Instant::now();
            }
            tokio::select! {
                biased;
                () = state.stopping.cancelled() => return None,
                changed = known.changed() => {
                    if changed.is_err() || !state.roll.still_lets_in(caller).await {
                        return None;
                    }
                }
                piece = &mut next => return piece,
                () = tokio::time::sleep_until(quiet_until) => {
                    return Some(Piece::Plain(b":\n\n".to_vec()));
                }
                // The connection detects, at each event on it, whether the client
                // has left; now something has.
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
