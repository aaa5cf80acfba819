//! Where series go: into a text, or into a list.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::families::{Family, Kind};
use crate::histogram::Snapshot;

/// One series as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its family.
    pub family: Family,
    /// The values of the family's labels, in their order.
    pub labels: Vec<String>,
    /// What it reads.
    pub value: SampleValue,
}

/// What a series reads.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Histogram(Snapshot),
}

/// Receives families.
pub(super) enum Out<'a> {
    /// Writes them.
    Text(DescriptorEncoder<'a>),
    /// Collects them.
    Samples(Vec<Sample>),
}

impl Out<'_> {
    /// The collected samples.
    pub(super) fn into_samples(self) -> Vec<Sample> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Samples(samples) => samples,
        }
    }

    pub(super) fn write<'s, const N: usize>(
        &mut self,
        family: Family,
        samples: impl Iterator<Item = ([&'s str; N], f64)>,
    ) -> fmt::Result {
        let encoder = match self {
            Self::Text(encoder) => encoder,
            Self::Samples(list) => {
                let sample = |(values, value)| sample(family, values, SampleValue::Number(value));
                list.extend(samples.map(sample));
                return Ok(());
            }
        };
        let mut encoder = begin(encoder, family)?;
        for (values, value) in samples {
            let labels = labels(family, values);
            let mut series = encoder.encode_family(&labels)?;
            match family.kind {
                Kind::Counter => {
                    series.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
                }
                _ => series.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    pub(super) fn write_histograms<'s, const N: usize>(
        &mut self,
        family: Family,
        samples: impl Iterator<Item = ([&'s str; N], Snapshot)>,
    ) -> fmt::Result {
        let encoder = match self {
            Self::Text(encoder) => encoder,
            Self::Samples(list) => {
                let sample =
                    |(values, value)| sample(family, values, SampleValue::Histogram(value));
                list.extend(samples.map(sample));
                return Ok(());
            }
        };
        let mut encoder = begin(encoder, family)?;
        for (values, counted) in samples {
            let labels = labels(family, values);
            let mut series = encoder.encode_family(&labels)?;
            let (sum, count) = (counted.sum, counted.count());
            series.encode_histogram::<NoLabelSet>(sum, count, &counted.buckets, None)?;
        }
        Ok(())
    }
}

fn begin<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    family: Family,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram(_) => MetricType::Histogram,
    };
    encoder.encode_descriptor(family.name, family.help, None, kind)
}

fn sample<const N: usize>(family: Family, values: [&str; N], value: SampleValue) -> Sample {
    debug_assert_eq!(family.labels.len(), N, "{}", family.name);
    Sample { family, labels: values.map(str::to_owned).into(), value }
}

fn labels<const N: usize>(family: Family, values: [&str; N]) -> [(&'static str, &str); N] {
    debug_assert_eq!(family.labels.len(), N, "{}", family.name);
    std::array::from_fn(|i| (family.labels[i], values[i]))
}
