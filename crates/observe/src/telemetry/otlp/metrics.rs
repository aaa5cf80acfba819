//! Metrics in the protocol's form: the families of `/metrics`, with the same names and labels.
//!
//! A counter has its family's name, as in OpenMetrics; Prometheus and collectors add the `_total`
//! of its samples. No units are set: the names have them, and receivers add units to names.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use rehome_domain::event::Timestamp;
use rehome_engine::Snapshot;
use rehome_engine::metrics::{Family, Kind, Sample, SampleValue};

use super::spans::nanos;
use super::{scope, text};

/// The counts from `started` until `now`. Samples of one family are adjacent.
pub(in crate::telemetry) fn metrics_of(
    resource: &Resource,
    samples: Vec<Sample>,
    (started, now): (Timestamp, Timestamp),
) -> ExportMetricsServiceRequest {
    let times = (nanos(started), nanos(now));
    let mut metrics: Vec<Metric> = Vec::new();
    for sample in samples {
        if metrics.last().is_none_or(|last| last.name != sample.family.name) {
            metrics.push(empty(&sample.family));
        }
        if let Some(Metric { data: Some(data), .. }) = metrics.last_mut() {
            add(data, &sample, times);
        }
    }
    let of_scope = ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() };
    let of_resource = ResourceMetrics {
        resource: Some(resource.clone()),
        scope_metrics: vec![of_scope],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![of_resource] }
}

fn empty(family: &Family) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data_points = Vec::new();
    Metric {
        name: family.name.to_owned(),
        description: family.help.to_owned(),
        data: Some(match family.kind {
            Kind::Counter => {
                Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic: true })
            }
            Kind::Gauge => Data::Gauge(Gauge { data_points }),
            Kind::Histogram(_) => {
                Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality })
            }
        }),
        ..Metric::default()
    }
}

fn add(data: &mut Data, sample: &Sample, (started, now): (u64, u64)) {
    let pairs = sample.family.labels.iter().zip(&sample.labels);
    let attributes: Vec<_> = pairs.map(|(name, value)| text(name, value)).collect();
    let number = |value: f64, start_time_unix_nano, attributes| NumberDataPoint {
        attributes,
        start_time_unix_nano,
        time_unix_nano: now,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    match (data, &sample.value) {
        (Data::Sum(sum), SampleValue::Number(value)) => {
            sum.data_points.push(number(*value, started, attributes));
        }
        (Data::Gauge(gauge), SampleValue::Number(value)) => {
            gauge.data_points.push(number(*value, 0, attributes));
        }
        (Data::Histogram(histogram), SampleValue::Histogram(counted)) => {
            histogram.data_points.push(buckets(counted, attributes, (started, now)));
        }
        // A family has samples of its own kind.
        _ => {}
    }
}

/// A bucket has the observations above the bound before and up to its own, as in the engine; the last has no bound.
fn buckets(
    counted: &Snapshot,
    attributes: Vec<KeyValue>,
    (start_time_unix_nano, time_unix_nano): (u64, u64),
) -> HistogramDataPoint {
    let bounds = counted.buckets.iter().map(|(bound, _)| *bound);
    HistogramDataPoint {
        attributes,
        start_time_unix_nano,
        time_unix_nano,
        count: counted.count(),
        sum: Some(counted.sum),
        bucket_counts: counted.buckets.iter().map(|(_, count)| *count).collect(),
        explicit_bounds: bounds.filter(|bound| bound.is_finite()).collect(),
        ..HistogramDataPoint::default()
    }
}
