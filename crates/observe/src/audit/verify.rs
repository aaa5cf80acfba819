//! All logs, from the first entry to the last, and all that has seen them.

use std::collections::HashSet;
use std::time::Duration;

use rehome_api::audit::{AuditReport, BrokenDrain, BrokenLog};
use rehome_app::AppError;
use rehome_app::deployment::Deployment;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::Migration;
use rehome_ports::log_chain::BrokenChain;
use rehome_ports::{ControlError, Drains, Migrations};

use super::anchors::{Page, Walk, compare};
use super::{Findings, drains, look};

/// Migrations read at once.
const PAGE: usize = 200;
/// Broken logs that a report lists; all are counted.
const LISTED: usize = 1_000;
/// How long a store may take to list some of its anchors.
const STORE_WITHIN: Duration = Duration::from_secs(10);

/// The check of all logs.
#[derive(Clone, Copy)]
pub(crate) struct Verification<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) findings: &'a Findings,
}

impl Verification<'_> {
    /// Checks every log of the control plane; `progress` gets the number of logs read.
    pub(crate) async fn run(self, mut progress: impl FnMut(u64)) -> Result<AuditReport, AppError> {
        let mut report = Report::default();
        let mut which = Migrations { limit: PAGE, ..Migrations::default() };
        loop {
            let migrations = self.deployment.engine().control().migrations(which).await?;
            for migration in &migrations {
                self.verify_log(migration, &mut report).await?;
                progress(report.so_far.logs_checked);
            }
            which.before = migrations.last().map(|migration| migration.id);
            if migrations.len() < PAGE {
                break;
            }
        }
        self.compare_anchors(&mut report).await?;
        self.verify_drains(&mut report.so_far).await?;
        report.so_far.ok = report.so_far.broken_total == 0;
        Ok(report.so_far)
    }

    async fn verify_log(
        self,
        migration: &Migration,
        report: &mut Report,
    ) -> Result<(), ControlError> {
        let whole = look(&**self.deployment.engine().control(), migration).await?;
        report.so_far.logs_checked += 1;
        report.so_far.entries_checked += whole.entries;
        if let Some(broken) = &whole.broken {
            report.broken(migration.id, migration.tenant, broken);
        }
        self.findings.looked_at(migration.id, migration.tenant, whole.broken);
        Ok(())
    }

    async fn verify_drains(self, report: &mut AuditReport) -> Result<(), ControlError> {
        let mut which = Drains { open: false, before: None, limit: PAGE };
        loop {
            let some = self.deployment.fleet().drains(which).await?;
            for drain in &some {
                let (entries, broken) = drains::look(&**self.deployment.fleet(), drain).await?;
                report.drains_checked += 1;
                report.entries_checked += entries;
                self.findings.looked_at_drain(drain.id, broken.clone());
                let Some(broken) = broken else { continue };
                report.broken_total += 1;
                if report.broken_drains.len() < LISTED {
                    report.broken_drains.push(BrokenDrain {
                        drain_id: drain.id.uuid(),
                        index: broken.index,
                        detail: broken.to_string(),
                    });
                }
            }
            which.before = some.last().map(|last| last.id);
            if some.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn compare_anchors(self, report: &mut Report) -> Result<(), ControlError> {
        let control = self.deployment.engine().control();
        let mut walk = Walk::default();
        while let Some(page) = walk.next(self.deployment, STORE_WITHIN).await? {
            let anchors = match page {
                Page::Anchors(anchors) => anchors,
                Page::Unread { why, .. } => {
                    report.so_far.anchors_unread.push(why);
                    continue;
                }
            };
            for (place, anchor) in anchors {
                let broken = compare(&**control, &place, &anchor).await?;
                report.so_far.anchors_checked += u64::from(anchor.seen.index > 0);
                if let Some(broken) = &broken {
                    report.broken(anchor.migration, anchor.tenant, broken);
                }
                self.findings.compared(anchor.migration, &place, broken);
            }
        }
        Ok(())
    }
}

struct Report {
    so_far: AuditReport,
    /// All that are broken.
    broken: HashSet<MigrationId>,
}

impl Default for Report {
    fn default() -> Self {
        let so_far = AuditReport {
            ok: true,
            logs_checked: 0,
            entries_checked: 0,
            anchors_checked: 0,
            anchors_unread: Vec::new(),
            drains_checked: 0,
            broken_drains: Vec::new(),
            broken_total: 0,
            broken: Vec::new(),
        };
        Self { so_far, broken: HashSet::new() }
    }
}

impl Report {
    /// Counts a log once, with what was found first.
    fn broken(&mut self, id: MigrationId, tenant: TenantId, broken: &BrokenChain) {
        if !self.broken.insert(id) {
            return;
        }
        self.so_far.broken_total += 1;
        if self.so_far.broken.len() < LISTED {
            self.so_far.broken.push(BrokenLog {
                migration_id: id.uuid(),
                tenant_id: tenant.uuid(),
                index: broken.index,
                detail: broken.to_string(),
            });
        }
    }
}
