//! The OTLP export of spans and metrics: `[telemetry]`, and the standard variables where
//! it has no value.
//!
//! | variable | effect |
//! |---|---|
//! | `OTEL_SDK_DISABLED` | `true`: nothing is sent |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | the name and attributes of the service |
//! | `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` | `otlp` or `none`; `prometheus` for metrics: `/metrics` alone |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | which migrations are traced |
//! | `OTEL_EXPORTER_OTLP_*`, `_TRACES_*`, `_METRICS_*` | `ENDPOINT`, `PROTOCOL`, `HEADERS`, `TIMEOUT`, `COMPRESSION`, `INSECURE`, `CERTIFICATE`, `CLIENT_CERTIFICATE`, `CLIENT_KEY` |
//! | `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` | `cumulative` |
//! | `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_METRIC_EXPORT_TIMEOUT` | milliseconds |
//!
//! rehome refuses at start a variable that requests something it does not support. An empty variable counts as
//! not set. Source: OpenTelemetry specification 1.50, "Environment Variable Specification" and
//! "OpenTelemetry Protocol Exporter".

mod standard;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use rehome_engine::telemetry::names::SERVICE;

use super::keys::telemetry;
use super::values::Values;
use super::{ConfigError, Place, Set};
use crate::http::{HttpUrl, tls_client};
pub(super) use standard::Standard;
use standard::{Pairs, Signal, flag, millis, pairs, sampler};

/// Maximum time of one export, with all attempts.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);
/// How often metrics are sent.
const METRICS_EVERY: Duration = Duration::from_secs(60);
/// Maximum time of one export of metrics.
const METRICS_WITHIN: Duration = Duration::from_secs(30);

/// The settings of the OTLP export.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// `service.name` of spans and metrics, `service` in log lines.
    pub service: String,
    /// More about the process: names and values.
    pub attributes: Vec<(String, String)>,
    /// Where spans go, if they do.
    pub traces: Option<Destination>,
    /// Where the metrics of a server go, if they do.
    pub metrics: Option<Destination>,
    /// How often they do.
    pub metrics_every: Duration,
    /// This part of all migrations is traced, 0.0 to 1.0.
    pub trace_ratio: f64,
    /// Of the spans of batches and appends that went well this part, 0.0 to 1.0. All others are sent.
    pub sample_ratio: f64,
    /// Whether the file holds headers, which are secrets as a rule.
    pub(crate) holds_secret: bool,
}

/// How it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC, usually port 4317.
    Grpc,
    /// HTTP with Protocol Buffers, usually port 4318.
    Http,
}

/// One signal's way to its collector.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// The url: of HTTP whole, of gRPC scheme, host and port.
    pub url: String,
    /// How to talk to it.
    pub protocol: OtlpProtocol,
    /// Headers of each request.
    pub headers: Headers,
    /// Maximum time of one export, with all attempts.
    pub timeout: Duration,
    /// Compressed with gzip.
    pub gzip: bool,
    /// Certificates that are believed, in PEM; `None`: those that the system believes.
    pub trust: Option<Pem>,
    /// Certificate and key that are shown, in PEM.
    pub identity: Option<(Pem, Pem)>,
    /// The file of that key.
    pub key_file: Option<PathBuf>,
}

/// Headers, which hold passwords as a rule: only their names are shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(HeaderName, HeaderValue)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// A file's content, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(pub Vec<u8>);

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

/// The values of `[telemetry]`, from a file or `REHOME_TELEMETRY_*`.
#[derive(Debug)]
struct Own {
    service_name: Option<String>,
    endpoint: Option<Set<String>>,
    metrics_endpoint: Option<Set<String>>,
    protocol: Option<OtlpProtocol>,
    headers: Option<Set<Headers>>,
    ca_file: Option<Set<PathBuf>>,
    sample_ratio: Option<f64>,
    sample_ratio_default: f64,
}

impl OtlpConfig {
    /// From the values that were set, and the standard's variables for the others.
    pub(super) fn of(values: &Values, standard: &Standard) -> Result<Self, ConfigError> {
        let own = Own {
            service_name: values.value(&telemetry::SERVICE_NAME)?,
            endpoint: values.given(&telemetry::OTLP_ENDPOINT)?,
            metrics_endpoint: values.given(&telemetry::OTLP_METRICS_ENDPOINT)?,
            protocol: values.value(&telemetry::OTLP_PROTOCOL)?,
            headers: values.given(&telemetry::OTLP_HEADERS)?,
            ca_file: values.given(&telemetry::OTLP_CA_FILE)?,
            sample_ratio: values.value(&telemetry::SPAN_SAMPLE_RATIO)?,
            sample_ratio_default: values.effective(&telemetry::SPAN_SAMPLE_RATIO)?,
        };
        whole(&own, standard)
    }
}

/// All of it together.
fn whole(own: &Own, standard: &Standard) -> Result<OtlpConfig, ConfigError> {
    let (named, attributes) = resource(standard)?;
    let service = own.service_name.clone();
    let service = service.or_else(|| Some(standard.get("OTEL_SERVICE_NAME")?.value.clone()));
    let in_file = |set: &Set<Headers>| !matches!(set.place, Place::Variable(_));
    let mut config = OtlpConfig {
        service: service.or(named).unwrap_or_else(|| SERVICE.to_owned()),
        attributes,
        traces: None,
        metrics: None,
        metrics_every: METRICS_EVERY,
        trace_ratio: 1.0,
        sample_ratio: own.sample_ratio_default,
        holds_secret: own.headers.as_ref().is_some_and(in_file),
    };
    if let Some(set) = standard.get("OTEL_SDK_DISABLED")
        && flag(set)?
    {
        return Ok(config);
    }
    let sampled = sampler(standard)?;
    config.trace_ratio = sampled.unwrap_or(1.0);
    // Who chooses among migrations has all of those that are chosen.
    let otherwise = if sampled.is_some() { 1.0 } else { own.sample_ratio_default };
    config.sample_ratio = own.sample_ratio.unwrap_or(otherwise);
    config.traces = destination(Signal::Traces, own, standard)?;
    config.metrics = destination(Signal::Metrics, own, standard)?;
    if let Some(metrics) = &mut config.metrics {
        totals_alone(standard)?;
        let every = standard.get("OTEL_METRIC_EXPORT_INTERVAL");
        config.metrics_every = every.map_or(Ok(METRICS_EVERY), millis)?;
        let within = standard.get("OTEL_METRIC_EXPORT_TIMEOUT");
        metrics.timeout = metrics.timeout.min(within.map_or(Ok(METRICS_WITHIN), millis)?);
    }
    Ok(config)
}

/// `service.name` and the others of `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(standard: &Standard) -> Result<(Option<String>, Pairs), ConfigError> {
    let Some(set) = standard.get("OTEL_RESOURCE_ATTRIBUTES") else {
        return Ok((None, Vec::new()));
    };
    let mut attributes = pairs(&set.value).map_err(|why| set.place.refuse(why))?;
    let named = attributes.iter().rposition(|(name, _)| name == "service.name");
    let named = named.map(|at| attributes[at].1.clone());
    // rehome sets these itself.
    attributes.retain(|(name, _)| !["service.name", "service.version"].contains(&&**name));
    Ok((named, attributes))
}

/// Parses headers. The problem is a text to follow the key, and repeats nothing of the value.
pub(super) fn headers(text: &str) -> Result<Headers, String> {
    const OURS: [&str; 7] = [
        "content-type",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "host",
        "te",
        "connection",
    ];
    let header = |(index, (name, value)): (usize, (String, String))| {
        let refuse = |why: &str| format!("has a header {} that {why}", index + 1);
        let name: HeaderName = name.parse().map_err(|_| refuse("has no name of a header"))?;
        if OURS.contains(&name.as_str()) {
            return Err(refuse("rehome sets itself"));
        }
        let mut value: HeaderValue =
            value.parse().map_err(|_| refuse("has no value of a header"))?;
        value.set_sensitive(true);
        Ok((name, value))
    };
    pairs(text)?.into_iter().enumerate().map(header).collect::<Result<_, _>>().map(Headers)
}

/// Refuses what a backend may want instead of totals since the start.
fn totals_alone(standard: &Standard) -> Result<(), ConfigError> {
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    if let Some(set) = standard.get(name)
        && !set.value.eq_ignore_ascii_case("cumulative")
    {
        return Err(set.place.refuse(
            "must be cumulative: rehome sends totals since the start; a collector's \
             cumulativetodelta processor makes differences of them",
        ));
    }
    let name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    if let Some(set) = standard.get(name)
        && !set.value.eq_ignore_ascii_case("explicit_bucket_histogram")
    {
        let why = "must be explicit_bucket_histogram: rehome's histograms have fixed buckets";
        return Err(set.place.refuse(why));
    }
    Ok(())
}

/// Whether the signal's exporter variable enables it; `None`: it is not set.
fn wanted(signal: Signal, standard: &Standard) -> Result<Option<bool>, ConfigError> {
    let Some(set) = standard.get(&format!("OTEL_{}_EXPORTER", signal.name())) else {
        return Ok(None);
    };
    let mut sends = false;
    for name in set.value.split(',').map(str::trim) {
        match (name, signal) {
            ("otlp", _) => sends = true,
            // Prometheus reads /metrics, whatever else is sent.
            ("none", _) | ("prometheus", Signal::Metrics) => {}
            (_, Signal::Traces) => return Err(set.place.refuse("must be otlp or none")),
            (_, Signal::Metrics) => {
                return Err(set.place.refuse("must be otlp, prometheus or none"));
            }
        }
    }
    Ok(Some(sends))
}

fn destination(
    signal: Signal,
    own: &Own,
    standard: &Standard,
) -> Result<Option<Destination>, ConfigError> {
    let wanted = wanted(signal, standard)?;
    if wanted == Some(false) {
        return Ok(None);
    }
    let protocol = match own.protocol {
        Some(protocol) => Ok(protocol),
        None => standard.exporter(signal, "PROTOCOL").map_or(Ok(OtlpProtocol::Grpc), protocol_of),
    };
    let Some(url) = url(signal, &protocol, own, standard, wanted.is_some())? else {
        return Ok(None);
    };
    let headers = match (&own.headers, standard.exporter(signal, "HEADERS")) {
        (Some(set), _) => set.value.clone(),
        (None, Some(set)) => self::headers(&set.value).map_err(|why| set.place.refuse(why))?,
        (None, None) => Headers::default(),
    };
    let timeout = standard.exporter(signal, "TIMEOUT").map_or(Ok(EXPORT_WITHIN), millis)?;
    let gzip = match standard.exporter(signal, "COMPRESSION") {
        Some(set) if set.value == "gzip" => true,
        Some(set) if set.value != "none" => {
            return Err(set.place.refuse("must be gzip or none"));
        }
        _ => false,
    };
    let mut destination = Destination {
        url,
        protocol: protocol?,
        headers,
        timeout,
        gzip,
        trust: None,
        identity: None,
        key_file: None,
    };
    certificates(&mut destination, signal, own, standard)?;
    Ok(Some(destination))
}

fn protocol_of(set: &Set<String>) -> Result<OtlpProtocol, ConfigError> {
    protocol_named(&set.value).ok_or_else(|| {
        set.place.refuse(
            "must be grpc or http/protobuf; rehome sends no JSON (http/json): every collector that \
             takes that takes http/protobuf too",
        )
    })
}

/// The protocol of that name.
pub(super) fn protocol_named(name: &str) -> Option<OtlpProtocol> {
    match name {
        "grpc" => Some(OtlpProtocol::Grpc),
        "http" | "http/protobuf" => Some(OtlpProtocol::Http),
        _ => None,
    }
}

/// Its address; `None`: not configured. `asked`: the exporter's variable enables it, if necessary to the
/// standard's default address.
fn url(
    signal: Signal,
    protocol: &Result<OtlpProtocol, ConfigError>,
    own: &Own,
    standard: &Standard,
    asked: bool,
) -> Result<Option<String>, ConfigError> {
    let is_http = !matches!(protocol, Ok(OtlpProtocol::Grpc));
    let at = |base: &str, path: &str| format!("{}{path}", base.trim_end_matches('/'));
    let ours = match signal {
        Signal::Traces => None,
        Signal::Metrics => own.metrics_endpoint.as_ref(),
    };
    if let Some(set) = ours {
        return Ok(Some(set.value.clone()));
    }
    if let Some(set) = &own.endpoint {
        // A url with a path is that of the spans.
        let base = set.value.trim_end_matches('/');
        let base = base.strip_suffix(Signal::Traces.path()).unwrap_or(base);
        let has_path = base.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        return Ok(match signal {
            _ if !is_http => Some(set.value.clone()),
            Signal::Traces if has_path => Some(set.value.clone()),
            Signal::Metrics if has_path && base.len() == set.value.trim_end_matches('/').len() => {
                None
            }
            _ => Some(at(base, signal.path())),
        });
    }
    let named = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.name());
    let insecure = || standard.exporter(signal, "INSECURE").map_or(Ok(false), flag);
    let whole = |set: &Set<String>| {
        let mut set = set.clone();
        if !is_http && !set.value.contains("://") {
            let scheme = if insecure()? { "http" } else { "https" };
            set.value = format!("{scheme}://{}", set.value);
        }
        check(&set.value, is_http).map_err(|why| set.place.refuse(why))?;
        Ok::<_, ConfigError>(set.value)
    };
    if let Some(set) = standard.get(&named) {
        return whole(set).map(Some);
    }
    if let Some(set) = standard.get("OTEL_EXPORTER_OTLP_ENDPOINT") {
        let base = whole(set)?;
        return Ok(Some(if is_http { at(&base, signal.path()) } else { base }));
    }
    let default = || {
        if is_http {
            at("http://localhost:4318", signal.path())
        } else {
            "http://localhost:4317".to_owned()
        }
    };
    Ok(asked.then(default))
}

/// `http://host[:port][/path]` or `https://`. The problem is a text to follow the key, and repeats nothing of the value.
pub(super) fn check(text: &str, is_http: bool) -> Result<(), String> {
    let default = if is_http { 4318 } else { 4317 };
    HttpUrl::parse(text).map(drop).map_err(|_| {
        format!(
            "must be like \"http://localhost:{default}\" or \"https://collector.example:{default}\", without a \
             user and a query; passwords go into headers"
        )
    })
}

fn certificates(
    destination: &mut Destination,
    signal: Signal,
    own: &Own,
    standard: &Standard,
) -> Result<(), ConfigError> {
    let path =
        |set: &Set<String>| Set { value: PathBuf::from(&set.value), place: set.place.clone() };
    let named = |name| standard.exporter(signal, name).map(path);
    let trust = own.ca_file.clone().or_else(|| named("CERTIFICATE"));
    let shown = (named("CLIENT_CERTIFICATE"), named("CLIENT_KEY"));
    destination.trust = trust.as_ref().map(read).transpose()?;
    destination.identity = match &shown {
        (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
        (None, None) => None,
        (Some(one), None) => return Err(one.place.refuse("is there without CLIENT_KEY")),
        (None, Some(one)) => return Err(one.place.refuse("is there without CLIENT_CERTIFICATE")),
    };
    let pem = |pem: &Pem| pem.0.clone();
    let identity = destination.identity.as_ref().map(|(cert, key)| (pem(cert), pem(key)));
    if let Some(set) = trust.as_ref().or(shown.0.as_ref()) {
        let trust = destination.trust.as_ref().map(pem);
        tls_client(trust.as_deref(), identity.as_ref().map(|(c, k)| (&**c, &**k)))
            .map_err(|why| set.place.refuse(format!("{}: {why}", set.value.display())))?;
    }
    destination.key_file = shown.1.map(|set| set.value);
    Ok(())
}

fn read(set: &Set<PathBuf>) -> Result<Pem, ConfigError> {
    let path: &Path = &set.value;
    let read = std::fs::read(path);
    read.map(Pem).map_err(|error| set.place.refuse(format!("{}: {error}", path.display())))
}
