//! The standard's own variables, and the forms that their values have.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::super::{ConfigError, Place, Set};

/// Names and their values.
pub(super) type Pairs = Vec<(String, String)>;

/// The standard's variables that are set.
#[derive(Debug, Default)]
pub(in crate::config) struct Standard(Vec<Set<String>>);

impl Standard {
    pub(in crate::config) fn of(variables: &[(String, String)]) -> Self {
        let ours = variables
            .iter()
            .filter(|(name, text)| name.starts_with("OTEL_") && !text.trim().is_empty());
        let set = |(name, text): &(String, String)| Set {
            value: text.trim().to_owned(),
            place: Place::Variable(name.clone()),
        };
        Self(ours.map(set).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Set<String>> {
        let named = |set: &&Set<String>| matches!(&set.place, Place::Variable(it) if it == name);
        self.0.iter().find(named)
    }

    /// An exporter's variable: that of the signal, or else that of all.
    pub(super) fn exporter(&self, signal: Signal, name: &str) -> Option<&Set<String>> {
        let own = self.get(&format!("OTEL_EXPORTER_OTLP_{}_{name}", signal.name()));
        own.or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{name}")))
    }
}

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
        }
    }
}

/// `key=value,key=value`, percent-encoded. A refused text is not repeated.
pub(super) fn pairs(text: &str) -> Result<Pairs, String> {
    let refuse = || "must be like \"name=value,name=value\", percent-encoded".to_owned();
    let decode = |text: &str| {
        let text = percent_decode_str(text.trim()).decode_utf8().map_err(|_| refuse())?;
        Ok::<_, String>(text.into_owned())
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').ok_or_else(refuse)?;
            let name = decode(name)?;
            if name.is_empty() {
                return Err(refuse());
            }
            Ok((name, decode(value)?))
        })
        .collect()
}

/// `true` or `false`, in any case.
pub(super) fn flag(set: &Set<String>) -> Result<bool, ConfigError> {
    match set.value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(set.place.refuse("must be true or false")),
    }
}

/// A number of milliseconds.
pub(super) fn millis(set: &Set<String>) -> Result<Duration, ConfigError> {
    let number = set.value.parse().ok().filter(|ms| (1..=86_400_000).contains(ms));
    let number = number.ok_or_else(|| {
        set.place.refuse("must be a whole number of milliseconds from 1 to 86400000")
    })?;
    Ok(Duration::from_millis(number))
}

/// The fraction of all migrations that is traced, if the standard's variable sets it. A migration's trace has no
/// parent, so a parent-based sampler behaves like its root sampler.
pub(super) fn sampler(standard: &Standard) -> Result<Option<f64>, ConfigError> {
    let Some(set) = standard.get("OTEL_TRACES_SAMPLER") else { return Ok(None) };
    let name = set.value.strip_prefix("parentbased_").unwrap_or(&set.value);
    match name {
        "always_on" => Ok(Some(1.0)),
        "always_off" => Ok(Some(0.0)),
        "traceidratio" => {
            let Some(ratio) = standard.get("OTEL_TRACES_SAMPLER_ARG") else {
                return Ok(Some(1.0));
            };
            let number = ratio.value.parse().ok().filter(|number| (0.0..=1.0).contains(number));
            Ok(Some(number.ok_or_else(|| ratio.place.refuse("must be a number from 0 to 1"))?))
        }
        _ => Err(set.place.refuse(
            "must be always_on, always_off or traceidratio, each also with parentbased_ in front; \
             rehome has no other samplers",
        )),
    }
}
