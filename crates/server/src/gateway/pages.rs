//! Pages of events, read from the store while the client receives them.
//!
//! A page is read in pieces that start small and grow while the client keeps up. Room for a piece is reserved
//! before it is read, and released when it is sent. So a client that does not read holds
//! the room of one small piece, and a response never exceeds what is counted.
//!
//! If a piece cannot be read, or finds no room, the page ends there: its JSON is complete, it is shorter than
//! possible, and its `next` is where the next page starts.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse as _;
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::stream::StreamName;
use rehome_ports::BatchLimit;

use super::events;
use crate::response::{Answer, Problem, as_made, in_pieces};
use crate::rooms::{ANSWER_WAIT, Counted, Holder, LINE_BYTES_MAX};
use crate::state::State;

/// Bytes of the first piece, and of the largest.
const PIECE_BYTES: (usize, usize) = (64 << 10, 256 << 10);

/// What to read.
pub(super) enum Of {
    /// The history.
    Feed,
    /// A stream.
    Stream(StreamName),
}

impl Of {
    /// How `next` is called.
    const fn next(&self) -> &'static str {
        match self {
            Self::Feed => "next_after_seq",
            Self::Stream(_) => "next_from_version",
        }
    }
}

/// A page that is being read.
pub(super) struct Page {
    state: Arc<State>,
    holder: Holder,
    tenant: TenantId,
    of: Of,
    /// Where the next piece begins, as the store has it.
    next: u64,
    /// What may still come.
    left: BatchLimit,
    piece_bytes: usize,
    is_first: bool,
    is_over: bool,
}

impl Page {
    pub(super) fn new(
        state: &Arc<State>,
        holder: Holder,
        tenant: TenantId,
        of: Of,
        next: u64,
        limit: BatchLimit,
    ) -> Self {
        let state = Arc::clone(state);
        let (left, piece_bytes) = (limit, PIECE_BYTES.0);
        Self { state, holder, tenant, of, next, left, piece_bytes, is_first: true, is_over: false }
    }

    /// Answers it.
    pub(super) async fn answer(mut self) -> Answer {
        let first = self.piece().await?;
        let body = if self.is_over {
            in_pieces(first)
        } else {
            as_made(Bytes::from_owner(first), self, |mut this| async move {
                let piece = this.piece_or_end().await?;
                Some((piece, this))
            })
        };
        let kind = HeaderValue::from_static("application/json");
        Ok((StatusCode::OK, [(header::CONTENT_TYPE, kind)], body).into_response())
    }

    /// The next piece of a page whose first one is sent.
    async fn piece_or_end(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if let Ok(piece) = self.piece().await {
            return Some(Bytes::from_owner(piece));
        }
        self.is_over = true;
        Some(self.end().into())
    }

    async fn piece(&mut self) -> Result<Counted<Vec<u8>>, Problem> {
        let limit =
            BatchLimit { events: self.left.events, bytes: self.left.bytes.min(self.piece_bytes) };
        let room = &self.state.rooms.answers;
        let mut held = room.take_within(&self.holder, LINE_BYTES_MAX, ANSWER_WAIT).await?;
        let (found, more) = self.read(limit).await?;
        let Written { found, lines, mut bytes, problem } =
            Written::write(self.tenant, found, self.is_first);
        found[..lines].iter().for_each(|event| self.took(event));
        let is_over = match problem {
            Some(problem) if lines == 0 => return Err(problem),
            // The page so far is complete; the next request gets the problem.
            Some(_) => true,
            None => !more,
        };
        self.is_first = false;
        self.piece_bytes = (self.piece_bytes * 2).min(PIECE_BYTES.1);
        self.is_over = is_over || self.left.events == 0 || self.left.bytes == 0;
        if self.is_over {
            bytes.extend_from_slice(&self.end());
        }
        bytes.shrink_to_fit();
        // Less than was reserved, unless names are long and full of characters that JSON escapes.
        let _ = held.resize(bytes.len() as u64);
        Ok(Counted { bytes, _held: held })
    }

    async fn read(&self, limit: BatchLimit) -> Result<(Vec<Event>, bool), Problem> {
        let router = self.state.deployment.engine().router();
        let read = match &self.of {
            Of::Feed => router.feed_part(self.tenant, self.next, limit).await,
            Of::Stream(stream) => router.stream_part(self.tenant, stream, self.next, limit).await,
        };
        Ok(read?)
    }

    fn took(&mut self, event: &Event) {
        self.left.events -= 1;
        self.left.bytes = self.left.bytes.saturating_sub(event.bytes());
        self.next = match self.of {
            Of::Feed => event.seq,
            Of::Stream(_) => event.version + 1,
        };
    }

    fn end(&self) -> Vec<u8> {
        format!("],\"{}\":{}}}", self.of.next(), self.next).into_bytes()
    }
}

/// Events as lines of a page.
struct Written {
    found: Vec<Event>,
    /// How many of them are written: all before the one with a problem.
    lines: usize,
    bytes: Vec<u8>,
    problem: Option<Problem>,
}

impl Written {
    fn write(tenant: TenantId, found: Vec<Event>, is_first: bool) -> Self {
        let mut bytes = if is_first { b"{\"events\":[".to_vec() } else { Vec::new() };
        for (index, event) in found.iter().enumerate() {
            let line = bytes.len();
            if index > 0 || !is_first {
                bytes.push(b',');
            }
            if let Err(problem) = events::write(tenant, event, &mut bytes) {
                bytes.truncate(line);
                return Self { found, lines: index, bytes, problem: Some(problem) };
            }
            bytes.pop();
        }
        let lines = found.len();
        Self { found, lines, bytes, problem: None }
    }
}
