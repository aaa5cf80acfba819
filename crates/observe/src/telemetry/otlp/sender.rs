//! Hands requests over to a collector: over gRPC or HTTP, with TLS or without.

use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::time::{Instant, sleep};
use tonic::Code;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tower::service_fn;

use rehome_app::config::{Destination, OtlpProtocol};
use rehome_app::http::{Endpoint, Handed, HttpUrl, Tls, connect, only_http2, tls_client};

/// What waits between the tries for one batch; the number of its entries is that of the tries after the
/// first.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// One request.
#[derive(Clone, Debug)]
pub(in crate::telemetry) enum Batch {
    Spans(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

/// A batch was refused, or part of it.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(in crate::telemetry) struct NotTaken {
    why: String,
    /// Another try may succeed, at once or after so long.
    retry: Option<Duration>,
    /// The receiver does not support this kind of data, permanently.
    pub(in crate::telemetry) is_unknown: bool,
}

impl NotTaken {
    fn new(why: impl Into<String>, retry: Option<Duration>) -> Self {
        Self { why: why.into(), retry, is_unknown: false }
    }

    /// Some were refused; the collector may have given a reason.
    fn partly(rejected: i64, why: &str) -> Result<(), Self> {
        if rejected == 0 {
            return Ok(());
        }
        Err(Self::new(format!("the collector refused {rejected} of a batch: {why}"), None))
    }
}

/// The way to a collector. Connects when it is first used.
pub(crate) struct Sender {
    way: Way,
    gzip: bool,
    within: Duration,
}

enum Way {
    Grpc { channel: Channel, headers: MetadataMap, shown: String },
    Http { endpoint: Endpoint, headers: Vec<(HeaderName, HeaderValue)>, tls: Option<Tls> },
}

impl Sender {
    /// The way that was configured.
    pub(in crate::telemetry) fn new(to: &Destination) -> Result<Self, String> {
        let way = match to.protocol {
            OtlpProtocol::Grpc => Way::Grpc {
                channel: channel(to)?,
                headers: MetadataMap::from_headers(
                    to.headers.0.iter().cloned().collect::<HeaderMap>(),
                ),
                shown: to.url.clone(),
            },
            OtlpProtocol::Http => {
                let agent = concat!("rehome/", env!("CARGO_PKG_VERSION"));
                let mut headers = vec![
                    (CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
                    (USER_AGENT, HeaderValue::from_static(agent)),
                ];
                if to.gzip {
                    headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
                }
                // A configured header replaces the default.
                headers.retain(|(name, _)| to.headers.0.iter().all(|(other, _)| name != other));
                headers.extend(to.headers.0.iter().cloned());
                Way::Http { endpoint: Endpoint::parse(&to.url)?, headers, tls: tls(to)? }
            }
        };
        Ok(Self { way, gzip: to.gzip, within: to.timeout })
    }

    /// Sends it, and retries where the protocol allows.
    pub(in crate::telemetry) async fn send(&self, batch: &Batch) -> Result<(), NotTaken> {
        let end = Instant::now() + self.within;
        let mut pauses = PAUSES.into_iter();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Err(error) = self.send_once(batch, left).await else { return Ok(()) };
            let (Some(least), Some(pause)) = (error.retry, pauses.next()) else {
                return Err(error);
            };
            let pause = pause.max(least);
            if Instant::now() + pause >= end {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    async fn send_once(&self, batch: &Batch, within: Duration) -> Result<(), NotTaken> {
        match &self.way {
            Way::Grpc { channel, headers, shown } => {
                let call = self.call(channel.clone(), headers.clone(), batch);
                let Ok(answer) = tokio::time::timeout(within, call).await else {
                    return Err(NotTaken::new(format!("{shown}: no response in time"), None));
                };
                answer.map_err(|error| NotTaken { why: format!("{shown}: {error}"), ..error })
            }
            Way::Http { endpoint, headers, tls } => {
                let body = match batch {
                    Batch::Spans(request) => request.encode_to_vec(),
                    Batch::Metrics(request) => request.encode_to_vec(),
                };
                let body = if self.gzip { gzipped(&body) } else { body };
                let body = Bytes::from(body);
                let answer = endpoint.hand_over(headers, body, tls.as_ref(), within).await;
                // No response: a retry may succeed.
                let answer = answer.map_err(|why| NotTaken::new(why, Some(Duration::ZERO)))?;
                judge(batch, &answer)
                    .map_err(|error| NotTaken { why: format!("{endpoint}: {error}"), ..error })
            }
        }
    }

    async fn call(
        &self,
        channel: Channel,
        headers: MetadataMap,
        batch: &Batch,
    ) -> Result<(), NotTaken> {
        let extensions = tonic::Extensions::default();
        match batch {
            Batch::Spans(request) => {
                let mut client = TraceServiceClient::new(channel);
                if self.gzip {
                    client = client.send_compressed(Gzip).accept_compressed(Gzip);
                }
                let request = tonic::Request::from_parts(headers, extensions, request.clone());
                let answer = client.export(request).await.map_err(|status| refused(&status))?;
                let partly = answer.into_inner().partial_success.unwrap_or_default();
                NotTaken::partly(partly.rejected_spans, &partly.error_message)
            }
            Batch::Metrics(request) => {
                let mut client = MetricsServiceClient::new(channel);
                if self.gzip {
                    client = client.send_compressed(Gzip).accept_compressed(Gzip);
                }
                let request = tonic::Request::from_parts(headers, extensions, request.clone());
                let answer = client.export(request).await.map_err(|status| refused(&status))?;
                let partly = answer.into_inner().partial_success.unwrap_or_default();
                NotTaken::partly(partly.rejected_data_points, &partly.error_message)
            }
        }
    }
}

fn channel(to: &Destination) -> Result<Channel, String> {
    let words = |error: tonic::transport::Error| chain(&error);
    let agent = concat!("rehome/", env!("CARGO_PKG_VERSION"));
    let url = HttpUrl::parse(&to.url).map_err(|why| why.or("is no URL"))?;
    let origin = to.url.parse().map_err(|_| "is no URL")?;
    // The channel is left without TLS of its own: the connection that it gets has it.
    let at = format!("http://{}", url.authority());
    let endpoint = tonic::transport::Endpoint::from_shared(at)
        .and_then(|endpoint| endpoint.user_agent(agent))
        .map_err(words)?
        .origin(origin);
    let tls = if url.is_secure() { Some(only_http2(tls(to)?.as_ref())?) } else { None };
    let within = to.timeout;
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_| {
        let (url, tls) = (url.clone(), tls.clone());
        async move { connect(&url, tls.as_ref(), within).await }
    })))
}

/// The authorities to trust and the certificate to show, if they are not the system's and none.
fn tls(to: &Destination) -> Result<Option<Tls>, String> {
    let trust = to.trust.as_ref().map(|pem| &*pem.0);
    let identity = to.identity.as_ref().map(|(cert, key)| (&*cert.0, &*key.0));
    let own = trust.is_some() || identity.is_some();
    own.then(|| tls_client(trust, identity)).transpose()
}

/// What a gRPC status means. Source: OTLP specification 1.5, "Failures".
fn refused(status: &tonic::Status) -> NotTaken {
    let code = status.code();
    let again = matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    );
    // Out of resources is final, unless the collector says when to come again.
    let told = (code == Code::ResourceExhausted).then(|| retry_delay(status.details())).flatten();
    let retry = again.then_some(Duration::ZERO).or(told);
    let cause = status.source().map(|cause| format!(": {}", chain(cause))).unwrap_or_default();
    let why = format!("{code:?}: {}{cause}", status.message());
    let is_unknown = code == Code::Unimplemented;
    NotTaken { is_unknown, ..NotTaken::new(why, retry) }
}

/// When to come again, if the details of a gRPC status have a `google.rpc.RetryInfo`. Source: OTLP
/// specification 1.5, "OTLP/gRPC Throttling".
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let details = Details::decode(details).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay.unwrap_or_default();
    let nanos = u32::try_from(delay.nanos).unwrap_or(0);
    Some(Duration::new(u64::try_from(delay.seconds).unwrap_or(0), nanos.min(999_999_999)))
}

/// The part of `google.rpc.Status` that is read here.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, Copy, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// What an answer over HTTP means. Source: OTLP specification 1.5, "OTLP/HTTP Response".
fn judge(batch: &Batch, answer: &Handed) -> Result<(), NotTaken> {
    let status = answer.status;
    if !(200..300).contains(&status) {
        let again = matches!(status, 429 | 502 | 503 | 504);
        let retry = again.then(|| answer.retry_after.unwrap_or_default());
        let error = NotTaken::new(format!("it answered with status {status}"), retry);
        return Err(NotTaken { is_unknown: matches!(status, 404 | 405), ..error });
    }
    match batch {
        Batch::Spans(_) => {
            let answer = ExportTraceServiceResponse::decode(answer.body.clone());
            let partly = answer.unwrap_or_default().partial_success.unwrap_or_default();
            NotTaken::partly(partly.rejected_spans, &partly.error_message)
        }
        Batch::Metrics(_) => {
            let answer = ExportMetricsServiceResponse::decode(answer.body.clone());
            let partly = answer.unwrap_or_default().partial_success.unwrap_or_default();
            NotTaken::partly(partly.rejected_data_points, &partly.error_message)
        }
    }
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body).and_then(|()| gzip.finish()).expect("a list takes all that is written")
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += ": ";
        words += &error.to_string();
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status as a collector sends it that has too much to do: the bytes are written out by hand.
    fn exhausted(details: &[u8]) -> NotTaken {
        let details = Bytes::copy_from_slice(details);
        refused(&tonic::Status::with_details(Code::ResourceExhausted, "too much", details))
    }

    #[test]
    fn a_collector_without_room_is_asked_again_when_it_says_when_and_not_otherwise() {
        let kind = b"type.googleapis.com/google.rpc.RetryInfo";
        // RetryInfo { retry_delay: Duration { seconds: 2, nanos: 5 } }
        let info = [0x0a, 4, 0x08, 2, 0x10, 5];
        let any = [&[0x0a, 40][..], kind, &[0x12, 6], &info].concat();
        let status = [&[0x08, 8, 0x1a, 50][..], &any].concat();
        assert_eq!(exhausted(&status).retry, Some(Duration::new(2, 5)));
        for nothing in [&b""[..], b"\xff\xff", &[0x08, 8]] {
            assert_eq!(exhausted(nothing).retry, None);
        }
        assert_eq!(refused(&tonic::Status::unavailable("busy")).retry, Some(Duration::ZERO));
        assert_eq!(refused(&tonic::Status::invalid_argument("no")).retry, None);
    }
}
