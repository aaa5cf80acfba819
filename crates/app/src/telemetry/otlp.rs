//! Spans as OpenTelemetry has them, and who sends them.
//!
//! The library's `SpanData` is filled in by hand: its own tracer would draw random ids and hold a span
//! open for as long as it lasts, and a migration lasts longer than a process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use rehome_domain::event::Timestamp;
use rehome_engine::telemetry::names::{LOGGER, SERVICE};
use rehome_engine::telemetry::{Attribute, CallerContext, Span, Value};

use crate::config::{OtlpProtocol, TracesConfig};

/// How long one batch may take, with the library's own retries.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);

/// Whether spans are to be sent at all.
pub(super) fn is_wanted(config: &TracesConfig) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    config.endpoint.is_some()
        || set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        || set("OTEL_EXPORTER_OTLP_ENDPOINT")
}

/// The exporter that the configuration asks for, in the name of this process. Connects when it is
/// first used.
pub(super) fn exporter(
    config: &TracesConfig,
    holder: &str,
) -> Result<SpanExporter, ExporterBuildError> {
    let mut exporter = match protocol(config) {
        OtlpProtocol::Grpc => {
            let mut builder = SpanExporter::builder().with_tonic().with_timeout(EXPORT_WITHIN);
            if let Some(endpoint) = &config.endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            builder.build()?
        }
        OtlpProtocol::Http => {
            let mut builder = SpanExporter::builder().with_http().with_timeout(EXPORT_WITHIN);
            if let Some(endpoint) = &config.endpoint {
                builder = builder.with_endpoint(with_path(endpoint));
            }
            builder.build()?
        }
    };
    let resource = Resource::builder().with_service_name(SERVICE).with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", holder.to_owned()),
    ]);
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

fn protocol(config: &TracesConfig) -> OtlpProtocol {
    let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    config.protocol.unwrap_or_else(|| {
        let named = named("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| named("OTEL_EXPORTER_OTLP_PROTOCOL"));
        match named.as_deref() {
            Some("http/protobuf") => OtlpProtocol::Http,
            _ => OtlpProtocol::Grpc,
        }
    })
}

/// An endpoint without a path is the collector's base, as in the standard's own variables.
fn with_path(endpoint: &str) -> String {
    let base = endpoint.trim_end_matches('/');
    let has_path = base.strip_prefix("http://").is_some_and(|rest| rest.contains('/'));
    if has_path { base.to_owned() } else { format!("{base}/v1/traces") }
}

/// A span of ours as one of theirs; `callers`: the requests that it is linked to.
pub(super) fn span_data(span: Span, callers: Vec<CallerContext>) -> SpanData {
    let mut events = SpanEvents::default();
    events.events = span
        .events
        .into_iter()
        .map(|event| Event::new(event.name, time(event.at), attributes(event.attributes), 0))
        .collect();
    let mut links = SpanLinks::default();
    links.links = callers
        .into_iter()
        .map(|caller| Link::with_context(context(caller.trace, caller.span, caller.sampled, true)))
        .collect();
    SpanData {
        span_context: context(span.trace, span.id, true, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from_bytes),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: time(span.start),
        end_time: time(span.end),
        attributes: attributes(span.attributes),
        dropped_attributes_count: 0,
        events,
        links,
        status: span.error.map_or(Status::Unset, |error| Status::error(error.into_string())),
        instrumentation_scope: InstrumentationScope::builder(LOGGER)
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn context(trace: [u8; 16], span: [u8; 8], sampled: bool, is_remote: bool) -> SpanContext {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace, span) = (TraceId::from_bytes(trace), SpanId::from_bytes(span));
    SpanContext::new(trace, span, flags, is_remote, TraceState::NONE)
}

fn attributes(ours: Vec<Attribute>) -> Vec<KeyValue> {
    let value = |value| match value {
        Value::Text(text) => opentelemetry::Value::from(text.into_string()),
        Value::Number(number) => i64::try_from(number).unwrap_or(i64::MAX).into(),
    };
    ours.into_iter().map(|(key, ours)| KeyValue::new(key, value(ours))).collect()
}

fn time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(at.micros().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_standard_is_added_where_there_is_none() {
        assert_eq!(with_path("http://c:4318"), "http://c:4318/v1/traces");
        assert_eq!(with_path("http://c:4318/"), "http://c:4318/v1/traces");
        assert_eq!(with_path("http://c:4318/otlp/traces"), "http://c:4318/otlp/traces");
    }
}
