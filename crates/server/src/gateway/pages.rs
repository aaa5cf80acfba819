//! Pages of events, read from the store as the client takes them.
//!
//! A page is read in pieces that begin small and grow while the client keeps up. Before a piece is read,
//! there is room for it; it is given back when the piece is sent. So a client that does not read holds
//! the room of one small piece, and an answer never grows past what is counted.
//!
//! Where a piece cannot be read, or finds no room, the page ends there: it is whole, shorter than it
//! might have been, and its `next` says where it goes on.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse as _;
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::stream::StreamName;
use rehome_ports::BatchLimit;

use super::events;
use crate::answer::{Answer, Problem, as_made, in_pieces};
use crate::rooms::{ANSWER_WAIT, Counted, Holder, LINE_BYTES_MAX};
use crate::state::State;

/// Bytes of the first piece, and of the largest.
const PIECE_BYTES: (usize, usize) = (64 << 10, 256 << 10);

/// What is read.
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
        let mut bytes = if self.is_first { b"{\"events\":[".to_vec() } else { Vec::new() };
        let mut is_over = !more;
        for (index, event) in found.iter().enumerate() {
            let line = bytes.len();
            if index > 0 || !self.is_first {
                bytes.push(b',');
            }
            if let Err(problem) = events::write(self.tenant, event, &mut bytes) {
                // What is before it is whole; who asks from here on is answered with the problem.
                if index == 0 {
                    return Err(problem);
                }
                bytes.truncate(line);
                is_over = true;
                break;
            }
            bytes.pop();
            self.took(event);
        }
        self.is_first = false;
        self.piece_bytes = (self.piece_bytes * 2).min(PIECE_BYTES.1);
        self.is_over = is_over || self.left.events == 0 || self.left.bytes == 0;
        if self.is_over {
            bytes.extend_from_slice(&self.end());
        }
        bytes.shrink_to_fit();
        // Less than was taken, unless names are long and full of what JSON has to escape.
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
