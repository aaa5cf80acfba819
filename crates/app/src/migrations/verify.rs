//! Verification on request: the two stores of a migration against each other.

use rehome_api as api;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Fact;
use rehome_domain::verification::Level;
use rehome_engine::verifier::{self, Request};
use rehome_ports::{Change, ControlError};

use crate::deployment::Deployment;
use crate::documents;
use crate::error::AppError;

/// How to verify.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifyRequest {
    /// How deep.
    pub level: Level,
    /// The part of the history to look at, from 0 to 1.
    pub sample: f64,
    /// Where to begin.
    pub after_seq: u64,
    /// Read at most so many events per second; 0: as fast as it goes.
    pub rate_max: u32,
}

impl Deployment {
    /// Verifies, and notes in the migration's log what came of it. Violations are no error here.
    pub async fn verify(
        &self,
        id: MigrationId,
        request: VerifyRequest,
    ) -> Result<api::Verification, AppError> {
        let control = self.engine().control();
        let migration = control.migration(id).await?;
        let tenant = migration.tenant;
        let about = |error: AppError| error.migration(id).tenant(tenant);
        let route = control.route(tenant).await?.ok_or(ControlError::UnknownTenant(tenant))?;
        // Not by the migration's state: the tenant may have moved on since.
        let copy = if route.store == migration.source {
            &migration.target
        } else if route.store == migration.target {
            &migration.source
        } else {
            return Err(about(AppError::refused(format!(
                "the tenant lives in store \"{}\" by now, which is neither of its two",
                route.store
            ))));
        };
        let authority = self.store(&route.store).map_err(|error| about(error.into()))?;
        let other = self.store(copy).map_err(|error| about(error.into()))?;
        let VerifyRequest { level, sample, after_seq, rate_max } = request;
        let asked = Request { level, sample, after_seq, rate_max };
        let report = verifier::compare(authority, other, tenant, &asked)
            .await
            .map_err(|error| about(error.into()))?;
        let fact = Fact::Verified { level, seq: report.upto, violations: report.violations_total };
        let actor = self.actor().to_owned();
        control.record(Change { tenant, migration: id, rev: None, fact, actor }).await?;
        Ok(api::Verification {
            migration_id: id.uuid(),
            tenant_id: tenant.uuid(),
            authority: route.store.to_string(),
            copy: copy.to_string(),
            level: level.as_str().to_owned(),
            sample,
            ok: report.violations_total == 0,
            events_checked: report.events_checked,
            upto_seq: report.upto,
            violations_total: report.violations_total,
            violations: report.violations.iter().map(documents::violation).collect(),
        })
    }
}
