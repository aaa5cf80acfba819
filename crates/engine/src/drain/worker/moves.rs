//! The movers of a worker: started, monitored, and ended when another process has their row.

use std::collections::BTreeMap;
use std::sync::Arc;

use rehome_domain::drain::{Hands, Move, Tenant};
use rehome_domain::ids::MigrationId;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::Worker;
use crate::drain::mover::{Look, Mover};

/// A move that this process works on.
pub(super) struct Moving {
    pub(super) migration: MigrationId,
    pub(super) look: watch::Receiver<Look>,
    pub(super) release: watch::Sender<bool>,
    pub(super) task: AbortOnDropHandle<()>,
}

impl Worker {
    /// Adjusts the movers to the rows: if another process took a row, its mover ends; a row of this
    /// process without a mover gets one. A mover that panicked reports no end; its row gets another one.
    pub(super) fn adjust(&mut self, moving: &[Tenant]) {
        while let Ok(ended) = self.ends.try_recv() {
            self.ended.push(ended);
        }
        let ended: Vec<MigrationId> = self.ended.iter().map(|(_, id, _)| *id).collect();
        let mine: BTreeMap<_, _> = moving
            .iter()
            .filter(|row| row.by.as_deref() == Some(&*self.holder))
            .filter_map(|row| Some((row.tenant, (row, row.migration?))))
            .collect();
        self.moves.retain(|tenant, moving| {
            let is_lost = moving.task.is_finished() && !ended.contains(&moving.migration);
            if is_lost {
                tracing::error!(drain = %self.id, %tenant, "a mover ended without a result; another one starts");
            }
            !is_lost && mine.get(tenant).is_some_and(|(_, migration)| *migration == moving.migration)
        });
        for (row, migration) in mine.into_values() {
            match self.moves.get(&row.tenant) {
                Some(known) => {
                    known.release.send_if_modified(|released| {
                        std::mem::replace(released, row.released) != row.released
                    });
                }
                None => self.begin(row, migration),
            }
        }
    }

    pub(super) fn begin(&mut self, row: &Tenant, id: MigrationId) {
        let (release, released) = watch::channel(row.released);
        let (tell, look) = watch::channel(Look::default());
        let mover = Mover {
            engine: self.engine.clone(),
            holder: Arc::clone(&self.holder),
            row: row.clone(),
            id,
            orders: self.orders.subscribe(),
            released,
            look: tell,
            stop: self.stop.clone(),
            _claim: self.engine.claims.claim(id),
        };
        let (tenant, end) = (row.tenant, self.end.clone());
        let task = tokio::spawn(async move {
            if let Some(outcome) = Box::pin(mover.run()).await {
                // The worker is gone: the process that takes over reads the row.
                let _ = end.send((tenant, id, outcome));
            }
        });
        let task = AbortOnDropHandle::new(task);
        self.moves.insert(tenant, Moving { migration: id, look, release, task });
    }

    pub(super) fn seen<'a>(&self, row: &'a Tenant, workers: &[String]) -> Move<'a> {
        let look = self.moves.get(&row.tenant).map(|moving| *moving.look.borrow());
        let is_alive = |by: &str| workers.iter().any(|one| one == by);
        let hands = match &look {
            Some(_) => Hands::Mine,
            None if row.by.as_deref().is_some_and(is_alive) => Hands::Another,
            None => Hands::Nobody,
        };
        let Look { stalled, ready } = look.unwrap_or_default();
        Move { row, hands, stalled, ready }
    }
}
