//! Appends.

use std::error::Error as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use rehome_api::gateway::{
    AppendBody, AppendDocument, Appended, Expected, InvalidAppend, NewEventLine,
    StreamAppendDocument, read_append,
};
use rehome_domain::append::{Append, AppendConflict};
use rehome_domain::event::{EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::json::{self, JsonError, JsonLimits};
use rehome_ports::{AppendError, EventStore as _};
use uuid::Uuid;

use super::stream;
use crate::auth::Caller;
use crate::extract::{InPath, JsonBody, Text, Traceparent};
use crate::response::{Answer, Problem, Problems, json};
use crate::state::State as Shared;

/// Append to a stream
///
/// All events or none. With event ids the same call can be made again, and answers the same, also
/// after a lost answer and also when the tenant has moved meanwhile.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/streams/{type}/{id}/events", tag = "events",
    params(
        ("tenant" = Uuid, Path, description = "Whose."),
        ("type" = String, Path, description = "The stream's type, percent-encoded."),
        ("id" = String, Path, description = "The stream's id, percent-encoded."),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context: spans of the dual write are linked to it."),
    ),
    request_body = AppendDocument,
    responses((status = 201, description = "Stored, by this request or an earlier one.", body = Appended), Problems))]
pub(crate) async fn append_to_path(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath((tenant, kind, id)): InPath<(Uuid, String, String)>,
    traceparent: Traceparent,
    body: JsonBody,
) -> Answer {
    let tenant = TenantId::new(tenant);
    let permit = caller.may_append(tenant)?;
    let stream = stream(&kind, &id)?;
    let body = body.text(permit).await?;
    let parsed = parse(&state, &body, false)?;
    append(&state, tenant, stream, parsed, traceparent).await
}

/// Append to a stream that the body names
///
/// For types and ids that paths or proxies spoil.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/append", tag = "events",
    params(
        ("tenant" = Uuid, Path, description = "Whose."),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context: spans of the dual write are linked to it."),
    ),
    request_body = StreamAppendDocument,
    responses((status = 201, description = "Stored, by this request or an earlier one.", body = Appended), Problems))]
pub(crate) async fn append_to(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(tenant): InPath<Uuid>,
    traceparent: Traceparent,
    body: JsonBody,
) -> Answer {
    let tenant = TenantId::new(tenant);
    let permit = caller.may_append(tenant)?;
    let body = body.text(permit).await?;
    let parsed = parse(&state, &body, true)?;
    let Some((kind, id)) = &parsed.stream else { return Err(Problem::internal()) };
    let stream = stream(kind, id)?;
    append(&state, tenant, stream, parsed, traceparent).await
}

fn parse<'a>(
    state: &Shared,
    body: &'a Text,
    names_stream: bool,
) -> Result<AppendBody<'a>, Problem> {
    let max = state.limits.append_events_max as usize;
    read_append(body.as_str(), names_stream, max).map_err(|error| match error {
        InvalidAppend::TooMany { max } => {
            let detail = format!("{error} (server.append_events_max)");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", detail).limit(max as u64)
        }
        error => Problem::bad_request("bad_append", error.to_string()),
    })
}

async fn append(
    state: &Shared,
    tenant: TenantId,
    stream: StreamName,
    body: AppendBody<'_>,
    Traceparent(traceparent): Traceparent,
) -> Answer {
    let expected = match body.expected {
        Expected::Any => ExpectedVersion::Any,
        Expected::NoStream => ExpectedVersion::NoStream,
        // No stream gets there, and not every store can count further.
        Expected::Version(version) => ExpectedVersion::Exact(version.min(i64::MAX as u64)),
    };
    let events = body.events.iter().enumerate().map(|(index, event)| new_event(index, event));
    let append = Append { stream, expected, events: events.collect::<Result<_, _>>()? };
    let done = state.deployment.engine().router().append(tenant, append).await;
    let done = done.map_err(|error| problem(state, tenant, error))?;
    if let Some(traceparent) = traceparent {
        state.deployment.came_with(tenant, done.last_seq, &traceparent);
    }
    json(
        StatusCode::CREATED,
        &Appended {
            first_version: done.first_version,
            last_version: done.last_version,
            first_seq: done.first_seq,
            last_seq: done.last_seq,
        },
    )
}

fn new_event(index: usize, event: &NewEventLine<'_>) -> Result<NewEvent, Problem> {
    let invalid =
        |why: String| Problem::bad_request("bad_append", format!("events[{index}]: {why}"));
    let text = |field: &str, text: &str| {
        json::parse(text, JsonLimits::default()).map_err(|error| over(index, field, &error))
    };
    Ok(NewEvent {
        id: EventId::new(event.event_id.unwrap_or_else(Uuid::new_v4)),
        event_type: EventType::new(&*event.event_type).map_err(|e| invalid(e.to_string()))?,
        occurred_at: event.occurred_at.map(|time| Timestamp::from_micros(time.0)),
        recorded_at: None,
        data: text("data", event.data.get())?,
        metadata: match event.metadata {
            Some(metadata) => text("metadata", metadata.get())?,
            None => Json::trusted("{}"),
        },
    })
}

/// An event's text is over a limit.
fn over(index: usize, field: &str, error: &JsonError) -> Problem {
    let detail = format!("events[{index}].{field}: {error}");
    match error {
        JsonError::TooLarge { max, .. } => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Problem::new(status, "event_too_large", detail).limit(*max as u64)
        }
        JsonError::TooDeep { max } => {
            Problem::bad_request("event_too_deep", detail).limit(*max as u64)
        }
        JsonError::Syntax(_) => Problem::bad_request("bad_append", detail),
    }
}

/// The cause of an error, or the error itself.
fn cause(error: &AppendError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn problem(state: &Shared, tenant: TenantId, error: AppendError) -> Problem {
    let text = error.to_string();
    let unavailable = |code| Problem::retry(StatusCode::SERVICE_UNAVAILABLE, code, text.clone(), 1);
    let problem = match error {
        AppendError::Conflict(AppendConflict::Version { actual, .. }) => {
            Problem::new(StatusCode::CONFLICT, "version_conflict", text)
                .with(|document| document.actual_version = Some(actual))
        }
        AppendError::Conflict(AppendConflict::Id { id }) => {
            Problem::new(StatusCode::CONFLICT, "id_conflict", text)
                .with(|document| document.event_id = Some(id.uuid()))
        }
        AppendError::Conflict(AppendConflict::Empty) => Problem::bad_request("bad_append", text),
        AppendError::Invalid { index, reason } => over(index, "data or metadata", &reason),
        AppendError::WritesPaused { .. } => unavailable("writes_paused"),
        AppendError::OutcomeUnknown { .. } => {
            let why = cause(&error);
            state.refused.note("outcome_unknown", tenant, |left_out| {
                tracing::warn!(
                    tenant_id = %tenant, error = why, left_out,
                    "the outcome of an append is not known"
                );
            });
            unavailable("outcome_unknown")
        }
        AppendError::Busy if state.is_stopping() => Problem::stopping(),
        AppendError::Busy => Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_appends", text)
            .header(header::RETRY_AFTER, HeaderValue::from(1_u16)),
        AppendError::NotWritten { .. } => {
            Problem::new(StatusCode::CONFLICT, "not_written_here", text)
        }
        AppendError::Unavailable { .. } => {
            let why = cause(&error);
            state.refused.note("unavailable", tenant, |left_out| {
                tracing::warn!(
                    tenant_id = %tenant, error = why, left_out,
                    "an append was refused"
                );
            });
            unavailable("unavailable")
        }
    };
    problem.with(|document| document.tenant_id = Some(tenant.uuid()))
}
