//! Options of migrations, between their names and the domain.

use std::time::Duration;

use rehome_api::duration::Millis;
use rehome_api::{OptionsPatch, Time};
use rehome_domain::event::Timestamp;
use rehome_domain::migration::{CutoverPolicy, InvalidOption, MirrorAck, Options};
use rehome_domain::verification::Level;

/// Why an option was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionProblem {
    /// Out of its range.
    #[error(transparent)]
    Range(#[from] InvalidOption),
    /// Not one of the words.
    #[error("{key} must be {must_be}")]
    Word {
        /// The option's name.
        key: &'static str,
        /// What it may be.
        must_be: &'static str,
    },
    /// Not a time.
    #[error("cutover: {0}")]
    Time(#[from] rehome_api::time::InvalidTime),
}

/// How long a tenant can return, unless a migration or the configuration sets another time.
const ROLLBACK_WINDOW: Duration = Duration::from_secs(24 * 3_600);

/// What a migration runs with where neither it nor the configuration says otherwise.
pub fn defaults() -> Options {
    let rollback_window_ms = u64::try_from(ROLLBACK_WINDOW.as_millis()).unwrap_or(u64::MAX);
    Options { rollback_window_ms, ..Options::default() }
}

/// The options with the patch applied, checked.
pub fn apply(options: Options, patch: &OptionsPatch) -> Result<Options, OptionProblem> {
    let cutover = patch.cutover.as_deref().map(cutover).transpose()?;
    let mirror_ack = patch.mirror_ack.as_deref().map(mirror_ack).transpose()?;
    let verification = patch.verification.as_deref().map(level).transpose()?;
    let options = Options {
        batch_events: patch.batch_events.unwrap_or(options.batch_events),
        batch_bytes: patch.batch_bytes.unwrap_or(options.batch_bytes),
        copy_rate_max: patch.copy_rate_max.unwrap_or(options.copy_rate_max),
        copy_bytes_rate_max: patch.copy_bytes_rate_max.unwrap_or(options.copy_bytes_rate_max),
        lag_events_max: patch.lag_events_max.unwrap_or(options.lag_events_max),
        cutover: cutover.unwrap_or(options.cutover),
        cutover_timeout_ms: patch.cutover_timeout_ms.unwrap_or(options.cutover_timeout_ms),
        mirror_ack: mirror_ack.unwrap_or(options.mirror_ack),
        mirror_ack_timeout_ms: patch.mirror_ack_timeout_ms.unwrap_or(options.mirror_ack_timeout_ms),
        verification: verification.unwrap_or(options.verification),
        rollback_window_ms: patch
            .rollback_window
            .map_or(options.rollback_window_ms, |window| window.0),
    };
    Ok(options.check()?)
}

fn cutover(text: &str) -> Result<CutoverPolicy, OptionProblem> {
    match text {
        "auto" => Ok(CutoverPolicy::Auto),
        "manual" => Ok(CutoverPolicy::Manual),
        time => Ok(CutoverPolicy::At(Timestamp::from_micros(time.parse::<Time>()?.0))),
    }
}

fn mirror_ack(text: &str) -> Result<MirrorAck, OptionProblem> {
    match text {
        "source" => Ok(MirrorAck::Source),
        "target" => Ok(MirrorAck::Target),
        _ => Err(OptionProblem::Word { key: "mirror_ack", must_be: "source or target" }),
    }
}

/// The verification level of that name.
pub fn level(text: &str) -> Result<Level, OptionProblem> {
    let problem = OptionProblem::Word { key: "verification", must_be: "count, hash or full" };
    Level::parse(text).ok_or(problem)
}

/// The options as a document.
pub fn document(options: &Options) -> rehome_api::Options {
    rehome_api::Options {
        batch_events: options.batch_events,
        batch_bytes: options.batch_bytes,
        copy_rate_max: options.copy_rate_max,
        copy_bytes_rate_max: options.copy_bytes_rate_max,
        lag_events_max: options.lag_events_max,
        cutover: match options.cutover {
            CutoverPolicy::Auto => "auto".to_owned(),
            CutoverPolicy::Manual => "manual".to_owned(),
            CutoverPolicy::At(time) => Time(time.micros()).to_string(),
        },
        cutover_timeout_ms: options.cutover_timeout_ms,
        mirror_ack: match options.mirror_ack {
            MirrorAck::Source => "source".to_owned(),
            MirrorAck::Target => "target".to_owned(),
        },
        mirror_ack_timeout_ms: options.mirror_ack_timeout_ms,
        verification: options.verification.as_str().to_owned(),
        rollback_window: Millis(options.rollback_window_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_the_document_says_so() {
        let patch = OptionsPatch {
            copy_rate_max: Some(500),
            cutover: Some("2024-06-15T02:00:00+02:00".to_owned()),
            mirror_ack: Some("target".to_owned()),
            verification: Some("full".to_owned()),
            rollback_window: Some(Millis(3_600_000)),
            ..OptionsPatch::default()
        };
        let options = apply(Options::default(), &patch).unwrap();
        let shown = document(&options);
        assert_eq!(shown.copy_rate_max, 500);
        assert_eq!(shown.cutover, "2024-06-15T00:00:00.000000Z");
        assert_eq!(shown.rollback_window.to_string(), "1h");
        assert_eq!(options.batch_events, Options::default().batch_events);
        let unchanged = apply(options, &OptionsPatch::default()).unwrap();
        assert_eq!(unchanged, options);
    }

    #[test]
    fn bad_options_are_named() {
        let refused =
            |patch: OptionsPatch| apply(Options::default(), &patch).unwrap_err().to_string();
        let none = OptionsPatch::default;
        assert!(
            refused(OptionsPatch { batch_events: Some(0), ..none() }).starts_with("batch_events")
        );
        for (key, patch) in [
            ("mirror_ack", OptionsPatch { mirror_ack: Some("both".into()), ..none() }),
            ("verification", OptionsPatch { verification: Some("deep".into()), ..none() }),
            ("cutover", OptionsPatch { cutover: Some("now".into()), ..none() }),
        ] {
            assert!(refused(patch).starts_with(key));
        }
    }
}
