//! Verification on request: the two stores of a migration against each other, at any time in its life
//! and after it.
//!
//! It takes no lease and blocks nothing, so the stores may change meanwhile. Its
//! result is recorded only if the compared rows were the relevant ones until its end.

use std::sync::Arc;

use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Ledger, Role};
use rehome_domain::migration::{Fact, Migration, Repair};
use rehome_ports::LedgerStore;
use tokio::time::Instant;

use super::operations::{OperationError, Operations};
use super::steps::facts;
use crate::signal::Signal;
use crate::verifier::{self, Report, Request};

/// A verification that came to its end.
#[derive(Clone, Debug)]
pub struct Verification {
    /// What it found.
    pub report: Report,
    /// The migration once that was recorded.
    pub migration: Migration,
    /// The store that has the authority for the tenant.
    pub authority: StoreId,
    /// The store that must be a prefix of it.
    pub copy: StoreId,
}

/// The two stores, and their ledgers before they were compared.
struct Pair {
    tenant: TenantId,
    authority: Arc<dyn LedgerStore>,
    copy: Arc<dyn LedgerStore>,
    before: [Ledger; 2],
}

impl Operations {
    /// Verifies that the copy is a prefix of the authority, and records what came of it. A violation is
    /// no error here; from when it is recorded there is no cutover of the migration.
    pub async fn verify(
        &self,
        id: MigrationId,
        request: &Request,
    ) -> Result<Verification, OperationError> {
        let control = &self.engine().control;
        let migration = control.migration(id).await?;
        // Before the first row is read: a result without findings refutes what was open at this time.
        let refutes = migration.violations.open.as_ref().map(|open| open.number);
        let pair = self.pair(&migration).await?;
        let began = Instant::now();
        let report =
            verifier::compare(&pair.authority, &pair.copy, migration.tenant, request).await?;
        let took = began.elapsed();
        let coverage = report.coverage(request);
        let finding = report.finding(coverage);
        if finding.is_some() {
            self.still_to_look_at(&migration, &pair).await?;
        }
        if let Some(finding) = &finding
            && let Some(current) = self.current_of(&migration).await?
        {
            // The tenant is under way between the same two stores by now.
            self.note(&current, Fact::Violated { finding: finding.clone() }).await?;
        }
        let mut recorded = migration;
        for fact in facts(&report, coverage, finding.as_ref(), refutes) {
            recorded = self.note(&recorded, fact).await?.migration;
        }
        self.engine().tell(&Signal::Verified { migration: &recorded, report: &report, took });
        Ok(Verification {
            report,
            migration: recorded,
            authority: pair.authority.id().clone(),
            copy: pair.copy.id().clone(),
        })
    }

    /// Which of the two stores has the authority: not by the migration's state, for the tenant may have
    /// moved on since.
    async fn pair(&self, migration: &Migration) -> Result<Pair, OperationError> {
        let engine = self.engine();
        let tenant = migration.tenant;
        let route = engine.control.known_route(tenant).await?;
        let copy = if route.store == migration.source {
            &migration.target
        } else if route.store == migration.target {
            &migration.source
        } else {
            return Err(OperationError::NotVerifiable(format!(
                "the tenant now lives in store \"{}\", which is neither of the migration's two",
                route.store
            )));
        };
        if is_being_cut(migration) {
            return Err(OperationError::NotVerifiable(
                "the damaged part of its copy is being removed; verify it once it has caught up"
                    .to_owned(),
            ));
        }
        let (authority, copy) = (engine.stores.get(&route.store)?, engine.stores.get(copy)?);
        let before = [authority.ledger(tenant).await?, copy.ledger(tenant).await?];
        Ok(Pair { tenant, authority: Arc::clone(authority), copy: Arc::clone(copy), before })
    }

    /// Refuses when rows may have gone while they were compared: by a purge, an abort or a repair.
    async fn still_to_look_at(
        &self,
        before: &Migration,
        pair: &Pair,
    ) -> Result<(), OperationError> {
        let now = self.engine().control.migration(before.id).await?;
        let mut same = now.violations.repairs == before.violations.repairs && !is_being_cut(&now);
        for (store, before) in [&pair.authority, &pair.copy].into_iter().zip(pair.before) {
            same &= only_grew(before, store.ledger(pair.tenant).await?);
        }
        if same {
            return Ok(());
        }
        Err(OperationError::NotVerifiable(
            "rows were removed (by a purge, an abort or a repair) during the comparison, so \
             nothing was recorded; verify again"
                .to_owned(),
        ))
    }

    /// The tenant's migration that is under way between the same two stores, if that is another one.
    async fn current_of(&self, verified: &Migration) -> Result<Option<Migration>, OperationError> {
        let control = &self.engine().control;
        let route = control.route(verified.tenant).await?;
        let Some((id, phase)) = route.and_then(|route| route.migration) else { return Ok(None) };
        if id == verified.id || phase.is_terminal() {
            return Ok(None);
        }
        let current = control.migration(id).await?;
        let same = [&current.source, &current.target]
            .into_iter()
            .all(|store| *store == verified.source || *store == verified.target);
        Ok(same.then_some(current))
    }
}

fn is_being_cut(migration: &Migration) -> bool {
    migration.violations.open.as_ref().is_some_and(|open| open.repair == Repair::Requested)
}

/// Whether nothing can have been removed from a history between two reads of its ledger: a purge
/// lowers the head, and a later copy is a replica under another epoch.
fn only_grew(before: Ledger, now: Ledger) -> bool {
    let adopted = now.epoch != before.epoch && now.role == Role::Replica;
    now.head.seq >= before.head.seq && !adopted
}
