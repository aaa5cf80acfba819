//! Verification on request: the two stores of a migration against each other.

use rehome_api as api;
use rehome_domain::ids::MigrationId;
use rehome_domain::verification::Level;
use rehome_engine::verifier::Request;
use rehome_ports::{BeyondEnd, ReadError};

use crate::deployment::Deployment;
use crate::documents;
use crate::error::AppError;

/// How to verify.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifyRequest {
    /// How deep.
    pub level: Level,
    /// The fraction of the history to compare, from 0 to 1.
    pub sample: f64,
    /// Where to begin.
    pub after_seq: u64,
    /// Read at most so many events per second; 0: as fast as it goes.
    pub rate_max: u32,
}

/// Verifies, and records in the migration's log what came of it. Violations are no error here; while
/// one is open there is no cutover.
pub async fn verify(
    deployment: &Deployment,
    id: MigrationId,
    request: VerifyRequest,
) -> Result<api::Verification, AppError> {
    let about = |error: AppError| error.migration(id);
    let VerifyRequest { level, sample, after_seq, rate_max } = request;
    if after_seq > 0 {
        // An empty comparison would find nothing wrong.
        let engine = deployment.engine();
        let tenant = engine.control().migration(id).await.map_err(|e| about(e.into()))?.tenant;
        let end = engine.router().head(tenant).await.map_err(|error| about(error.into()))?;
        let beyond = BeyondEnd::check(tenant, after_seq, end).map_err(ReadError::from);
        beyond.map_err(|error| about(error.into()))?;
    }
    let asked = Request { level, sample, after_seq, rate_max };
    let verified = deployment.operations().only_at(None).verify(id, &asked).await;
    let verified = verified.map_err(|error| about(error.into()))?;
    let (report, migration) = (&verified.report, &verified.migration);
    let open = migration.violations.open.as_ref();
    Ok(api::Verification {
        migration_id: id.uuid(),
        tenant_id: migration.tenant.uuid(),
        authority: verified.authority.to_string(),
        copy: verified.copy.to_string(),
        level: level.as_str().to_owned(),
        sample,
        ok: report.violations_total == 0,
        events_checked: report.events_checked,
        upto_seq: report.upto,
        violations_total: report.violations_total,
        violations: report.violations.iter().map(documents::violation).collect(),
        open_violation: open.map(|open| open.advice(id)),
    })
}
