//! Invariants of every moment, whatever the replies: checked after each call of a store.
//!
//! 2: at most one store is active, and no ledger's epoch decreases. 3: a replica is a prefix of the
//! authority, which is the store that the route names.

use std::sync::{Mutex, PoisonError};

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Role;
use rehome_ports::{ControlPlane as _, LedgerStore as _};

use crate::cluster::Stage;

/// The highest epoch that each of the two ledgers had.
#[derive(Default)]
pub(crate) struct Seen(Mutex<[Epoch; 2]>);

impl Seen {
    /// Whether one of them has gone back.
    fn went_back(&self, now: [Epoch; 2]) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let went_back = now[0] < seen[0] || now[1] < seen[1];
        *seen = [seen[0].max(now[0]), seen[1].max(now[1])];
        went_back
    }
}

/// Checks both stores and the route.
pub(crate) async fn look(stage: &Stage) {
    let stores = [&stage.a, &stage.b];
    let (Ok(a), Ok(b), Ok(Some(route))) = (
        stores[0].ledger(stage.tenant).await,
        stores[1].ledger(stage.tenant).await,
        stage.control.route(stage.tenant).await,
    ) else {
        return;
    };
    if a.role == Role::Active && b.role == Role::Active {
        stage.violated_once(format!("2: both stores are active, at {} and {}", a.epoch, b.epoch));
    }
    if stage.epochs.went_back([a.epoch, b.epoch]) {
        stage.violated_once(format!("2: a ledger's epoch went back: {} and {}", a.epoch, b.epoch));
    }
    let authority = stores[usize::from(route.store != *stage.a.id())];
    for replica in [a, b].iter().filter(|ledger| ledger.role == Role::Replica) {
        let there = authority.digest_at(stage.tenant, replica.head.seq).await;
        if !matches!(there, Ok(Some(digest)) if digest == replica.head.digest) {
            stage.violated_once("3: a replica is no prefix of the authority".to_owned());
        }
    }
}
