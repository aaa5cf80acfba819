//! A tenant's history: read in parts, or followed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rehome_api::gateway::FeedPage;
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_engine::Follower;
use rehome_ports::{BatchLimit, EventStore as _};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{events, page};
use crate::answer::{Answer, Problem, Problems, json_bytes};
use crate::auth::Caller;
use crate::follow::{self, Source};
use crate::state::State as Shared;
use crate::take::{self, InPath, InQuery};

/// What a follower is sent at once: little, for there may be many.
const PIECE: BatchLimit = BatchLimit { events: 100, bytes: 256 << 10 };

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
/// In the order of `seq`, without gaps; a position is valid before, while and after the tenant
/// moves. With `Accept: text/event-stream` it goes on with what is appended, each event with its
/// `seq` as id, and resumes after `Last-Event-ID`.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/events", tag = "events",
    params(
        ("tenant" = Uuid, Path, description = "Whose."),
        Part,
        ("Last-Event-ID" = Option<u64>, Header, description = "Follow after this position."),
    ),
    responses(
        (status = 200, description = "A part of it, or all that comes.",
            content((FeedPage = "application/json"), (String = "text/event-stream"))),
        Problems,
    ))]
pub(crate) async fn feed(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(tenant): InPath<Uuid>,
    InQuery(part): InQuery<Part>,
    headers: HeaderMap,
) -> Answer {
    let tenant = TenantId::new(tenant);
    caller.may_use(tenant)?;
    let engine = state.deployment.engine();
    let after = part.after_seq.unwrap_or(0);
    let limit = page(part.limit)?;
    let last = match take::text(&headers, "last-event-id")? {
        None => None,
        Some(id) => Some(id.parse().map_err(|_| {
            Problem::bad_request("bad_header", "Last-Event-ID must be a position, or not be there")
        })?),
    };
    if !follow::is_wanted(&headers) {
        let limit = BatchLimit::events(limit);
        let found = engine.router().read_feed(tenant, after, limit).await?;
        let next = found.last().map_or(after, |event| event.seq);
        let body = events::page(tenant, &found, ("next_after_seq", next))?;
        return Ok(json_bytes(StatusCode::OK, body));
    }
    let room = follow::room(&state)?;
    // Who is not known is told so by a status, and not by a stream that ends.
    engine.router().head(tenant).await?;
    let follower = Follower::new(engine, tenant, last.unwrap_or(after));
    Ok(follow::answer(&state, caller, room, Feed { tenant, follower }))
}

struct Feed {
    tenant: TenantId,
    follower: Follower,
}

impl Source for Feed {
    async fn next(&mut self) -> Option<Vec<u8>> {
        let events = match self.follower.next(PIECE).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(tenant_id = %self.tenant, %error, "a follower was sent home");
                return None;
            }
        };
        let mut piece = Vec::new();
        for event in &events {
            write(self.tenant, event, &mut piece).ok()?;
        }
        Some(piece)
    }
}

fn write(tenant: TenantId, event: &Event, piece: &mut Vec<u8>) -> Result<(), Problem> {
    piece.extend_from_slice(format!("id: {}\ndata: ", event.seq).as_bytes());
    events::write(tenant, event, piece)?;
    piece.push(b'\n');
    Ok(())
}
