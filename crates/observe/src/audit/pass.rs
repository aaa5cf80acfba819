//! All logs and their anchors, a few at a time, for checks with limited time: health.

use std::collections::BTreeSet;
use std::time::Duration;

use rehome_app::AppError;
use rehome_app::deployment::{Deployment, is_server};
use rehome_domain::drain::Drain;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_ports::log_chain::{BrokenChain, Followed, LogAnchor};
use rehome_ports::{Drains, Migrations};
use tokio::time::Instant;

use super::anchors::{Page, Walk, compare};
use super::{Findings, drains, look};

/// Logs read in one go.
const LOGS: usize = 100;
/// Drains whose logs are read, the newest: what is over long since is for `rehome audit verify`.
const DRAINS: usize = 20;
/// Anchors compared in one go.
const ANCHORS: usize = 500;
/// When all logs were read, so long until they are read again.
const AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);
/// Maximum time for a store to list its anchors, in a server and in a command: less than the limit of the whole
/// check.
const STORE_WITHIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// The position of the pass. Cancel-safe; the results are in the findings.
#[derive(Default)]
pub(crate) struct Pass {
    before: Option<MigrationId>,
    /// All logs of migrations were read, and now those of drains: what is left of them, and how far the last one was
    /// followed.
    drains: Option<(Vec<Drain>, Followed)>,
    /// All logs were read, and now what has seen them.
    anchors: Option<Anchors>,
    ended: Option<Instant>,
}

/// A walk over the anchors, with what it found.
#[derive(Default)]
struct Anchors {
    walk: Walk,
    /// Read, and not compared yet.
    pending: Vec<(String, LogAnchor)>,
    found: BTreeSet<(MigrationId, String)>,
    unread: BTreeSet<String>,
}

impl Pass {
    /// Continues with some logs, the newest migration's first, and then with the anchors.
    pub(crate) async fn go_on(
        &mut self,
        deployment: &Deployment,
        findings: &Findings,
    ) -> Result<(), AppError> {
        if self.ended.is_some_and(|ended| ended.elapsed() < AGAIN_AFTER) {
            return Ok(());
        }
        self.ended = None;
        if self.anchors.is_none() {
            if self.drains.is_none() && !self.logs(deployment, findings).await? {
                return Ok(());
            }
            self.drains(deployment, findings).await?;
            (self.before, self.drains) = (None, None);
            self.anchors = Some(Anchors::default());
        }
        if let Some(anchors) = &mut self.anchors {
            for _ in 0..ANCHORS {
                if !anchors.go_on(deployment, findings).await? {
                    *self = Self { ended: Some(Instant::now()), ..Self::default() };
                    break;
                }
            }
        }
        Ok(())
    }

    async fn drains(
        &mut self,
        deployment: &Deployment,
        findings: &Findings,
    ) -> Result<(), AppError> {
        if self.drains.is_none() {
            let newest = Drains { open: false, before: None, limit: DRAINS };
            let left = deployment.fleet().drains(newest).await?;
            self.drains = Some((left, Followed::START));
        }
        let Some((left, at)) = &mut self.drains else { return Ok(()) };
        while let Some(drain) = left.last() {
            let broken = drains::look_on(&**deployment.fleet(), drain, at).await?;
            findings.looked_at_drain(drain.id, broken);
            left.pop();
            *at = Followed::START;
        }
        Ok(())
    }

    /// Some logs; whether they were the last.
    async fn logs(
        &mut self,
        deployment: &Deployment,
        findings: &Findings,
    ) -> Result<bool, AppError> {
        let control = deployment.engine().control();
        let which = Migrations { before: self.before, limit: LOGS, ..Migrations::default() };
        let some = control.migrations(which).await?;
        for migration in &some {
            let broken = look(&**control, migration).await?.broken;
            let is_news = findings.looked_at(migration.id, migration.tenant, broken.clone());
            tell(deployment, migration.id, migration.tenant, broken.filter(|_| is_news));
            self.before = Some(migration.id);
        }
        Ok(some.len() < LOGS)
    }
}

impl Anchors {
    /// Compares one, or reads a page of them; whether there are more.
    async fn go_on(
        &mut self,
        deployment: &Deployment,
        findings: &Findings,
    ) -> Result<bool, AppError> {
        if let Some((place, anchor)) = self.pending.last() {
            let (id, tenant) = (anchor.migration, anchor.tenant);
            let broken = compare(&**deployment.engine().control(), place, anchor).await?;
            let is_news = findings.compared(id, place, broken.clone());
            tell(deployment, id, tenant, broken.clone().filter(|_| is_news));
            if broken.is_some() {
                self.found.insert((id, place.clone()));
            }
            self.pending.pop();
            return Ok(true);
        }
        let (serving, command) = STORE_WITHIN;
        let within = if is_server(deployment.holder()) { serving } else { command };
        match self.walk.next(deployment, within).await? {
            None => findings.walked(&self.found, &self.unread),
            Some(Page::Anchors(anchors)) => {
                self.pending = anchors;
                return Ok(true);
            }
            Some(Page::Unread { place, .. }) => {
                self.unread.insert(place);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A line of the log, from a server.
fn tell(
    deployment: &Deployment,
    migration_id: MigrationId,
    tenant_id: TenantId,
    broken: Option<BrokenChain>,
) {
    if let Some(broken) = broken.filter(|_| is_server(deployment.holder())) {
        tracing::error!(%migration_id, %tenant_id, "a log is not as it was recorded: {broken}");
    }
}
