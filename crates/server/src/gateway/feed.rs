//! A tenant's history: read in parts, or followed.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use rehome_api::gateway::FeedPage;
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_engine::Follower;
use rehome_ports::{BatchLimit, BeyondEnd, ReadError};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::pages::{Of, Page};
use super::{events, page};
use crate::accept;
use crate::auth::Caller;
use crate::extract::{self, InPath, InQuery};
use crate::response::{Answer, Problem, Problems};
use crate::rooms::{Counted, Holder, LINE_BYTES_MAX, Requester};
use crate::sse::{self, Piece, Source};
use crate::state::State as Shared;

/// What a follower is sent at once: little, for there may be many.
const PIECE: BatchLimit = BatchLimit { events: 100, bytes: 64 << 10 };

/// Which part of a history.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// After this position; 0, before the first event, if it is not given.
    after_seq: Option<u64>,
    /// Most events of a part; 100 if it is not given. Fewer may come, if they are large.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Read or follow a tenant's history
///
/// In the order of `seq`, without gaps; a position is valid before, during and after a move of the tenant.
/// With `Accept: text/event-stream` the response continues with new events, each with its
/// `seq` as id, and resumes after `Last-Event-ID`.
///
/// A position beyond the end of the history is a conflict (`position_beyond_end`, with `position` and
/// `end`), never an empty response: the store has lost events. A followed stream then ends
/// with an event `error` that has the same problem.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/events", tag = "events",
    params(
        ("tenant" = Uuid, Path, description = "Whose."),
        Part,
        ("Last-Event-ID" = Option<u64>, Header, description = "Follow after this position."),
    ),
    responses(
        (status = 200, description = "A page, or the followed feed.",
            content((FeedPage = "application/json"), (String = "text/event-stream"))),
        Problems,
    ))]
pub(crate) async fn feed(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    requester: Requester,
    InPath(tenant): InPath<Uuid>,
    InQuery(part): InQuery<Part>,
    headers: HeaderMap,
) -> Answer {
    let tenant = TenantId::new(tenant);
    caller.may_read(tenant)?;
    let engine = state.deployment.engine();
    let limit = page(part.limit)?;
    let last = match extract::text(&headers, "last-event-id")? {
        None => None,
        Some(id) => Some(id.parse().map_err(|_| {
            Problem::bad_request("bad_header", "Last-Event-ID must be a position, if present")
        })?),
    };
    let after = last.or(part.after_seq).unwrap_or(0);
    if !accept::names(&headers, sse::KIND) {
        let limit = BatchLimit::events(limit);
        let page = Page::new(&state, requester.holder, tenant, Of::Feed, after, limit);
        return page.answer().await;
    }
    let holder = requester.holder.clone();
    let room = sse::room(&state, requester)?;
    // A tenant or a position that does not exist is refused by a status, and not by a stream that ends.
    BeyondEnd::check(tenant, after, engine.router().head(tenant).await?)
        .map_err(ReadError::from)?;
    let follower = Follower::new(engine, tenant, after);
    let feed = Feed { state: Arc::clone(&state), holder, tenant, follower, over: false };
    Ok(sse::answer(&state, caller, room, feed))
}

struct Feed {
    state: Arc<Shared>,
    holder: Holder,
    tenant: TenantId,
    follower: Follower,
    over: bool,
}

impl Feed {
    /// Why the stream ends here, where coming back with the same position would not help.
    fn last_word(&mut self, error: ReadError) -> Option<Piece> {
        self.over = true;
        if !matches!(error, ReadError::BeyondEnd(_)) {
            return None;
        }
        let problem = Problem::from(error);
        let problem = serde_json::to_string(problem.document()).ok()?;
        Some(Piece::Plain(format!("event: error\ndata: {problem}\n\n").into_bytes()))
    }
}

impl Source for Feed {
    async fn next(&mut self) -> Option<Piece> {
        if self.over {
            return None;
        }
        self.follower.ready().await;
        // Room first: an event may be large, and many may wait for it.
        let (room, within) = (&self.state.rooms.answers, self.state.limits.client_timeout);
        let mut held = room.take_within(&self.holder, LINE_BYTES_MAX, within).await.ok()?;
        let events = match self.follower.next(PIECE).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(tenant_id = %self.tenant, %error, "a follower was disconnected");
                return self.last_word(error);
            }
        };
        let mut bytes = Vec::new();
        for event in &events {
            write(self.tenant, event, &mut bytes).ok()?;
        }
        bytes.shrink_to_fit();
        let _ = held.resize(bytes.len() as u64);
        Some(Piece::Counted(Bytes::from_owner(Counted { bytes, _held: held })))
    }
}

fn write(tenant: TenantId, event: &Event, piece: &mut Vec<u8>) -> Result<(), Problem> {
    piece.extend_from_slice(format!("id: {}\ndata: ", event.seq).as_bytes());
    events::write(tenant, event, piece)?;
    piece.push(b'\n');
    Ok(())
}
