//! Server-sent events: answers that go on.
//!
//! A stream ends when the server stops, when its token or session is over, when its source says so, and when
//! its client does not read. Whoever follows comes back with `Last-Event-ID`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answer::{Problem, as_made};
use crate::auth::{Caller, Known};
use crate::rooms::{Counted, Held, Requester};
use crate::state::State;

/// Something is sent at least so often, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How often it is looked whether the client is still there.
const LOOK: Duration = Duration::from_secs(1);

/// What is told to a follower, piece by piece.
pub(crate) trait Source: Send + 'static {
    /// The next piece, as it is sent; `None`: it is over. Can be dropped and called again.
    fn next(&mut self) -> impl Future<Output = Option<Piece>> + Send;
}

/// A piece of what is told.
pub(crate) enum Piece {
    /// Room was taken for it.
    Counted(Bytes),
    /// Not yet.
    Plain(Vec<u8>),
}

/// Whether the client asks for server-sent events.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| {
            accept.split(',').any(|range| {
                let mut parts = range.split(';').map(str::trim);
                let kind = parts.next().unwrap_or_default();
                kind.eq_ignore_ascii_case("text/event-stream") && !parts.any(is_no)
            })
        })
    })
}

/// Whether a parameter of a media range refuses it: `q=0`, with any number of decimals.
fn is_no(parameter: &str) -> bool {
    let weight =
        parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f64>().is_ok_and(|weight| weight <= 0.0))
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

/// Answers with all that the source tells.
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
    /// When it was looked last whether the caller may go on.
    let_in: Instant,
    place: Place,
}

impl<S: Source> Following<S> {
    fn body(self) -> Body {
        // The client knows at once that it is heard, also while nothing happens.
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
                // Others of the same caller do not take theirs; this one comes back.
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
            // A token runs out without anybody saying so.
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
                // The connection looks, each time that something happens on it, whether the client
                // has left; now something has.
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
