//! `rehome health`

use rehome_api::{HealthReport, HealthStatus};
use rehome_app::AppError;

use crate::operate::Reach;
use crate::output::{Out, cell, count};

pub(super) async fn run(out: Out, reach: &Reach) -> Result<(), AppError> {
    let deployment = reach.open(out).await?;
    let report = deployment.health().await?;
    deployment.close().await;
    out.show(&report, words)?;
    if report.status == HealthStatus::Unhealthy {
        return Err(AppError::failed("unhealthy", report.details.join("\n")));
    }
    Ok(())
}

fn words(report: &HealthReport) -> String {
    let mut text = format!(
        "{}\n{} active migrations, {} stuck, {} with a high lag, {} of writes to targets failed\n",
        report.status.as_str(),
        count(report.active_migrations),
        count(report.stuck_migrations),
        count(report.high_sync_lag_count),
        format_args!("{:.1} %", report.target_write_failure_rate * 100.0),
    );
    for detail in &report.details {
        text += &cell(detail);
        text.push('\n');
    }
    text
}
