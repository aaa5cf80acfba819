//! Stored events as documents.

use rehome_api::Time;
use rehome_api::gateway::EventLine;
use rehome_domain::event::{Event, Json};
use rehome_domain::ids::TenantId;
use serde_json::value::RawValue;

use crate::response::Problem;

/// Appends one event, as one line with its end.
pub(super) fn write(tenant: TenantId, event: &Event, out: &mut Vec<u8>) -> Result<(), Problem> {
    let spoiled = |_| {
        tracing::error!(tenant_id = %tenant, seq = event.seq, "an event holds what is not JSON");
        Problem::internal().with(|document| document.tenant_id = Some(tenant.uuid()))
    };
    let line = EventLine {
        tenant_id: tenant.uuid(),
        stream_type: event.stream.stream_type().into(),
        stream_id: event.stream.stream_id().into(),
        event_id: event.id.uuid(),
        event_type: (&*event.event_type).into(),
        occurred_at: Time(event.occurred_at.micros()),
        data: raw(&event.data).map_err(spoiled)?,
        metadata: raw(&event.metadata).map_err(spoiled)?,
        recorded_at: Some(Time(event.recorded_at.micros())),
        version: Some(event.version),
        seq: Some(event.seq),
    };
    line.write(out).map_err(spoiled)
}

fn raw(json: &Json) -> serde_json::Result<&RawValue> {
    serde_json::from_str(json.as_str())
}
