//! `rehome estimate`

use rehome_api::{Estimate, Probe};
use rehome_app::migrations::{EstimateRequest, estimate};
use rehome_app::{AppError, Kind};

use crate::args;
use crate::operate::Reach;
use crate::output::{Out, count, duration, rate};

/// From numbers alone.
pub(super) fn from_numbers(out: Out, asked: &args::Estimate) -> Result<(), AppError> {
    out.show(&estimate(&request(asked))?, words)
}

/// By a probe of the tenant.
pub(super) async fn by_probe(
    out: Out,
    reach: &Reach,
    asked: &args::Estimate,
) -> Result<(), AppError> {
    let (Some(tenant), Some(to)) = (asked.tenant, &asked.to) else {
        return Err(AppError::new(Kind::Usage, "bad_usage", "name a tenant and a target store"));
    };
    let deployment = reach.open(out).await?;
    let probe = deployment.probe(tenant, to, &request(asked)).await?;
    deployment.close().await;
    out.show(&probe, probe_words)?;
    if probe.converges {
        return Ok(());
    }
    Err(AppError::new(Kind::Failed, "never_catches_up", probe.remarks.join("\n")).tenant(tenant))
}

fn request(asked: &args::Estimate) -> EstimateRequest {
    EstimateRequest {
        events: asked.events.unwrap_or(0),
        copy_rate: asked.rate,
        write_rate: asked.write_rate,
        lag_events: asked.lag,
        pause_seconds: asked.pause,
        buffer_factor: asked.buffer,
    }
}

/// An estimate for people.
pub(super) fn words(estimate: &Estimate) -> String {
    format!(
        "copy         {}\ncatching up  {}\npause        {}\ntotal        {}",
        short(&estimate.bulk_copy_estimate, estimate.bulk_copy_seconds),
        short(&estimate.dual_write_estimate, estimate.dual_write_seconds),
        rehome_api::duration::pause(estimate.cutover_seconds * 1e3),
        total(estimate)
    )
}

fn total(estimate: &Estimate) -> String {
    short(&estimate.total_estimate, estimate.total_seconds)
}

/// An estimate as documents have it, but for one that its unit would round to nothing.
fn short(text: &str, seconds: f64) -> String {
    let says_little = text.ends_with("minutes") && seconds < 60.0 || seconds < 0.5;
    if says_little { duration(seconds) } else { text.to_owned() }
}

fn probe_words(probe: &Probe) -> String {
    let rate = |known: f64| format!("{} events/s", rate(known));
    let mut text = format!(
        "to copy      {} events\nwritten      {}\ncopied       {} to {}, likely {} ({})\n",
        count(probe.events_to_copy),
        rate(probe.write_events_per_s),
        rate(probe.copy_events_per_s.low),
        rate(probe.copy_events_per_s.high),
        rate(probe.copy_events_per_s.likely),
        probe.copy_rate_from,
    );
    let minutes = |at: &Option<Estimate>| at.as_ref().map_or_else(|| "for ever".to_owned(), total);
    text += &probe.estimate.as_ref().map_or_else(
        || "total        it would never catch up\n".to_owned(),
        |at| format!("{}, {} to {}\n", words(at), minutes(&probe.best), minutes(&probe.worst)),
    );
    for remark in &probe.remarks {
        text += "remark       ";
        text += remark;
        text.push('\n');
    }
    text
}
