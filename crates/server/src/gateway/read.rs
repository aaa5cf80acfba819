//! Reading streams.

use std::sync::Arc;

use axum::extract::State;
use rehome_api::gateway::{StreamPage, StreamRead};
use rehome_domain::ids::TenantId;
use rehome_domain::stream::StreamName;
use rehome_ports::BatchLimit;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::pages::{Of, Page};
use super::{page, stream};
use crate::auth::Caller;
use crate::extract::{InPath, InQuery, JsonBody};
use crate::response::{Answer, Problems};
use crate::rooms::Requester;
use crate::state::State as Shared;

/// Which part of a stream.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// From this version; 1, the first event, if it is not given.
    from_version: Option<u64>,
    /// Most events; 100 if it is not given. Fewer may come, if they are large.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Read a stream
///
/// A stream without events is empty, and no error. A version beyond the one that comes next is a
/// conflict (`position_beyond_end`): the stream was longer once, or it is another one.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/streams/{type}/{id}/events", tag = "events",
    params(
        ("tenant" = Uuid, Path, description = "Whose."),
        ("type" = String, Path, description = "The stream's type, percent-encoded."),
        ("id" = String, Path, description = "The stream's id, percent-encoded."),
        Part,
    ),
    responses((status = 200, description = "A page.", body = StreamPage), Problems))]
pub(crate) async fn read_of_path(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    requester: Requester,
    InPath((tenant, kind, id)): InPath<(Uuid, String, String)>,
    InQuery(part): InQuery<Part>,
) -> Answer {
    let tenant = TenantId::new(tenant);
    caller.may_read(tenant)?;
    read(&state, requester, tenant, stream(&kind, &id)?, &part).await
}

/// Read a stream that the body names
///
/// For types and ids that paths or proxies spoil.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/read", tag = "events",
    params(("tenant" = Uuid, Path, description = "Whose.")),
    request_body = StreamRead,
    responses((status = 200, description = "A page.", body = StreamPage), Problems))]
pub(crate) async fn read_of(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    requester: Requester,
    InPath(tenant): InPath<Uuid>,
    body: JsonBody,
) -> Answer {
    let tenant = TenantId::new(tenant);
    let permit = caller.may_read(tenant)?;
    let StreamRead { stream_type, stream_id, from_version, limit } = body.document(permit).await?;
    let part = Part { from_version, limit };
    read(&state, requester, tenant, stream(&stream_type, &stream_id)?, &part).await
}

async fn read(
    state: &Arc<Shared>,
    requester: Requester,
    tenant: TenantId,
    stream: StreamName,
    part: &Part,
) -> Answer {
    let first = part.from_version.unwrap_or(1).max(1);
    let limit = BatchLimit::events(page(part.limit)?);
    Page::new(state, requester.holder, tenant, Of::Stream(stream), first, limit).answer().await
}
