//! The OpenTelemetry protocol: `spans` and `metrics` are conversions, `sender` sends
//! them.
//!
//! The messages are filled in by hand. The SDK's tracer would draw random ids and hold a span open for its
//! whole duration, and a migration lasts longer than a process; its meters would count a second time what
//! `engine::metrics` has counted.

mod metrics;
mod sender;
mod spans;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use rehome_engine::telemetry::names::LOGGER;

pub(super) use metrics::metrics_of;
pub(super) use sender::{Batch, Sender};
pub(super) use spans::{span_of, spans_of};

use rehome_app::config::OtlpConfig;

/// In whose name things are sent: this process, which holds leases as `holder`.
pub(super) fn resource(config: &OtlpConfig, holder: &str) -> Resource {
    let configured = config.attributes.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut attributes: Vec<_> = configured.map(|(name, value)| text(name, value)).collect();
    attributes.push(text("service.name", &config.service));
    attributes.push(text("service.version", env!("CARGO_PKG_VERSION")));
    if config.attributes.iter().all(|(name, _)| name != "service.instance.id") {
        attributes.push(text("service.instance.id", holder));
    }
    Resource { attributes, ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: LOGGER.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

fn attribute(key: &str, value: Any) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
