//! Spans as the protocol has them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Theirs, Status};
use rehome_domain::event::Timestamp;
use rehome_engine::telemetry::{Attribute, CallerContext, Span, Value};

use super::{attribute, scope};

/// Sampled, as W3C's trace flags have it.
const SAMPLED: u32 = 0x1;
/// It is known whether the context came from another process.
const ORIGIN_KNOWN: u32 = 0x100;
/// And it did.
const REMOTE: u32 = 0x200;

/// All of them in one request.
pub(in crate::telemetry) fn spans_of(
    resource: &Resource,
    spans: Vec<Theirs>,
) -> ExportTraceServiceRequest {
    let of_scope = ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() };
    let of_resource = ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![of_scope],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![of_resource] }
}

/// Converts a span; `callers`: the requests that it is linked to.
pub(in crate::telemetry) fn span_of(span: Span, callers: Vec<CallerContext>) -> Theirs {
    let events = span.events.into_iter().map(|event| Event {
        time_unix_nano: nanos(event.at),
        name: event.name.to_owned(),
        attributes: attributes(event.attributes),
        dropped_attributes_count: 0,
    });
    let links = callers.into_iter().map(|caller| Link {
        trace_id: caller.trace.to_vec(),
        span_id: caller.span.to_vec(),
        flags: ORIGIN_KNOWN | REMOTE | if caller.sampled { SAMPLED } else { 0 },
        ..Link::default()
    });
    let failed =
        |error: Box<str>| Status { message: error.into_string(), code: StatusCode::Error.into() };
    Theirs {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: SAMPLED | ORIGIN_KNOWN,
        name: span.name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.end),
        attributes: attributes(span.attributes),
        events: events.collect(),
        links: links.collect(),
        status: Some(span.error.map_or_else(Status::default, failed)),
        ..Theirs::default()
    }
}

fn attributes(ours: Vec<Attribute>) -> Vec<KeyValue> {
    let value = |value| match value {
        Value::Text(text) => Any::StringValue(text.into_string()),
        Value::Number(number) => Any::IntValue(i64::try_from(number).unwrap_or(i64::MAX)),
    };
    ours.into_iter().map(|(key, ours)| attribute(key, value(ours))).collect()
}

/// Unix time in nanoseconds.
pub(super) fn nanos(at: Timestamp) -> u64 {
    at.micros().max(0).unsigned_abs().saturating_mul(1_000)
}
