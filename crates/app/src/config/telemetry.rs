//! `[telemetry]`: log lines, how long metrics stay, and where spans go.

use std::time::Duration;

use rehome_api::duration::Millis;

use super::table::Table;
use super::{ConfigError, LogFormat, Set};

/// Of batches and appends that went well, so many are traced unless it is said otherwise.
const SAMPLE_RATIO: f64 = 0.1;

/// How spans travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC, usually port 4317.
    Grpc,
    /// HTTP with Protocol Buffers, usually port 4318.
    Http,
}

/// Where spans go, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct TracesConfig {
    /// The collector, beginning with `http://`; `None`: what `OTEL_EXPORTER_OTLP_ENDPOINT` says, and no
    /// spans where that is not set either.
    pub endpoint: Option<String>,
    /// How to talk to it; `None`: what `OTEL_EXPORTER_OTLP_PROTOCOL` says, or else gRPC.
    pub protocol: Option<OtlpProtocol>,
    /// Of the spans of batches and appends that went well this part, 0.0 to 1.0. All others are sent.
    pub sample_ratio: f64,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { endpoint: None, protocol: None, sample_ratio: SAMPLE_RATIO }
    }
}

/// The section before it was looked at as a whole.
#[derive(Debug, Default)]
pub(super) struct TelemetryDraft {
    pub(super) log: LogFormat,
    pub(super) metrics_retention: Option<Duration>,
    pub(super) traces: TracesConfig,
}

impl TelemetryDraft {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, ConfigError> {
        let mut draft = Self::default();
        for key in ["log", "metrics_retention", "otlp_endpoint", "otlp_protocol"] {
            if let Some(set) = table.text(key)? {
                draft.set(key, &set)?;
            }
        }
        if let Some(set) = table.decimal("span_sample_ratio")? {
            draft.set("span_sample_ratio", &set)?;
        }
        table.end()?;
        Ok(draft)
    }

    /// The key of that name, if there is one.
    pub(super) fn key(name: &str) -> Option<&'static str> {
        const KEYS: [&str; 5] =
            ["log", "metrics_retention", "otlp_endpoint", "otlp_protocol", "span_sample_ratio"];
        KEYS.into_iter().find(|key| *key == name)
    }

    /// Takes over one value, as a text.
    pub(super) fn set(&mut self, key: &str, set: &Set<String>) -> Result<(), ConfigError> {
        let text = set.value.as_str();
        let refuse = |must: &str| set.place.refuse(format!("telemetry.{key} must be {must}"));
        match key {
            "log" => {
                let format = LogFormat::parse(text);
                self.log = format.ok_or_else(|| refuse("\"json\" or \"pretty\""))?;
            }
            "metrics_retention" => {
                let millis = text.parse::<Millis>();
                let millis = millis.map_err(|_| refuse("a duration like \"15m\""))?;
                self.metrics_retention = Some(Duration::from_millis(millis.0));
            }
            "otlp_endpoint" => {
                if !is_endpoint(text) {
                    return Err(refuse(
                        "like \"http://localhost:4317\", without a user; TLS is for a collector \
                         nearby to add",
                    ));
                }
                self.traces.endpoint = Some(text.to_owned());
            }
            "otlp_protocol" => {
                self.traces.protocol = Some(match text {
                    "grpc" => OtlpProtocol::Grpc,
                    "http" => OtlpProtocol::Http,
                    _ => return Err(refuse("\"grpc\" or \"http\"")),
                });
            }
            _ => {
                let ratio = text.parse::<f64>().ok();
                let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
                self.traces.sample_ratio = ratio.ok_or_else(|| refuse("a number from 0 to 1"))?;
            }
        }
        Ok(())
    }
}

/// `http://host[:port][/path]`.
fn is_endpoint(text: &str) -> bool {
    text.strip_prefix("http://").is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#@\"\\".contains(&byte);
        !host.is_empty() && rest.bytes().all(plain)
    })
}
