//! All logs, from the first entry to the last.

use rehome_api::audit::{AuditReport, BrokenLog};
use rehome_domain::migration::Migration;
use rehome_ports::log_chain::Followed;
use rehome_ports::{ControlError, Migrations};

use super::follow;
use crate::deployment::Deployment;
use crate::error::AppError;

/// Migrations read at once.
const PAGE: usize = 200;
/// Broken logs that a report lists; all are counted.
const LISTED: usize = 1_000;

impl Deployment {
    /// Checks every log of the control plane; `progress` hears how many logs were read.
    pub async fn verify_audit(
        &self,
        mut progress: impl FnMut(u64),
    ) -> Result<AuditReport, AppError> {
        let mut report = AuditReport {
            ok: true,
            logs_checked: 0,
            entries_checked: 0,
            broken_total: 0,
            broken: Vec::new(),
        };
        let control = self.engine().control();
        let mut which = Migrations { limit: PAGE, ..Migrations::default() };
        loop {
            let migrations = control.migrations(which).await?;
            for migration in &migrations {
                self.verify_log(migration, &mut report).await?;
                progress(report.logs_checked);
            }
            which.before = migrations.last().map(|migration| migration.id);
            if migrations.len() < PAGE {
                return Ok(report);
            }
        }
    }

    async fn verify_log(
        &self,
        migration: &Migration,
        report: &mut AuditReport,
    ) -> Result<(), ControlError> {
        let control = self.engine().control();
        let whole = follow(&**control, migration.id, Followed::START, |_, _, _| true).await?;
        report.logs_checked += 1;
        report.entries_checked += whole.entries;
        if let Some(broken) = &whole.broken {
            report.ok = false;
            report.broken_total += 1;
            if report.broken.len() < LISTED {
                report.broken.push(BrokenLog {
                    migration_id: migration.id.uuid(),
                    tenant_id: migration.tenant.uuid(),
                    index: broken.index,
                    detail: broken.to_string(),
                });
            }
        }
        self.findings().looked_at(migration.id, migration.tenant, whole.broken);
        Ok(())
    }
}
