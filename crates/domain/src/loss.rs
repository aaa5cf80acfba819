//! Evidence that a store has lost history: it was restored from a backup, or was replaced.
//!
//! A store cannot detect its own loss. The control plane records facts that can only be
//! true of a longer history: the length at the last switch, how far a replica was read back, the checkpoint of a
//! subscription. A replica that is longer than its authority is evidence too.

use crate::ids::Epoch;
use crate::ledger::{Ledger, Role};
use crate::migration::{Migration, State, has_leapt};
use crate::route::Route;

/// Why the routed store must have held more than it does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// There is no history although one was started.
    #[error("it has no history of the tenant, but should")]
    Missing,
    /// Fewer events than the store had when it was given the authority.
    #[error("it has {seq} events, but had at least {base} when it got the authority")]
    BehindRoute {
        /// Events there.
        seq: u64,
        /// Events then.
        base: u64,
    },
    /// The ledger was under a later epoch already.
    #[error(
        "it has epoch {ledger} of the tenant, but had a later one than {passed} when it got the authority"
    )]
    BehindEpoch {
        /// The ledger's epoch.
        ledger: Epoch,
        /// The epoch of the migration that ended with the activation of this store.
        passed: Epoch,
    },
    /// A replica of it holds more.
    #[error("it has {seq} events, but its replica has {replica}")]
    BehindReplica {
        /// Events there.
        seq: u64,
        /// Events in the replica.
        replica: u64,
    },
    /// More was read back from its replica.
    #[error("it has {seq} events, but {read_back} were copied from it and read back")]
    BehindReadBack {
        /// Events there.
        seq: u64,
        /// Events that a replica was found to have of it.
        read_back: u64,
    },
    /// A subscriber has seen more.
    #[error("it has {seq} events, but subscription {name:?} has processed {checkpoint}")]
    BehindCheckpoint {
        /// Events there.
        seq: u64,
        /// The subscription.
        name: String,
        /// Its checkpoint.
        checkpoint: u64,
    },
}

/// The minimum that the route, and the tenant's last migration if any, require of the routed store's
/// ledger. The ledger must be read after them. `None` while the route may be ahead of the store.
pub fn behind_route(route: &Route, migration: Option<&Migration>, ledger: &Ledger) -> Option<Loss> {
    if !route.created || route.removal.is_some() {
        return None;
    }
    if ledger.role == Role::Absent {
        return Some(Loss::Missing);
    }
    if ledger.head.seq < route.base {
        return Some(Loss::BehindRoute { seq: ledger.head.seq, base: route.base });
    }
    // Of other states it is not known whether the routed store was activated at that epoch already, and
    // after a recovery the route's epoch is one that no store has seen yet.
    let passed = migration.filter(|migration| {
        route.migration.is_some_and(|(id, _)| id == migration.id)
            && route.store == migration.target
            && matches!(migration.state, State::Migrated { activated: true, .. })
    });
    let passed = passed.map(|migration| migration.m);
    // Nor after an operator has said from what the tenant continues.
    let passed = passed.filter(|passed| ledger.epoch <= *passed && !has_leapt(route, *passed));
    passed.map(|passed| Loss::BehindEpoch { ledger: ledger.epoch, passed })
}

/// Whether another store's copy of the tenant shows that its authority has lost events. The copy was
/// read before the authority was.
pub fn behind_replica(route: &Route, copy: &Ledger, seq: u64) -> Option<Loss> {
    let replica = copy.role == Role::Replica && copy.epoch == route.m && copy.head.seq > seq;
    replica.then_some(Loss::BehindReplica { seq, replica: copy.head.seq })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::digest::Digest;
    use crate::event::Timestamp;
    use crate::ids::{MigrationId, TenantId};
    use crate::ledger::Head;
    use crate::migration::{OldSource, Options, Violations};
    use crate::removal::Removal;

    fn ledger(role: Role, epoch: u64, seq: u64) -> Ledger {
        Ledger { role, epoch: Epoch(epoch), head: Head { seq, digest: Digest::EMPTY } }
    }

    fn route() -> Route {
        let tenant = TenantId::new(Uuid::from_u128(1));
        let mut route = Route::create(tenant, "a".parse().expect("a name"));
        route.created = true;
        route
    }

    #[test]
    fn a_history_that_was_begun_is_there() {
        let found = |route: &Route, ledger| behind_route(route, None, &ledger);
        assert_eq!(found(&route(), ledger(Role::Absent, 0, 0)), Some(Loss::Missing));
        assert_eq!(found(&route(), ledger(Role::Active, 1, 0)), None);
        let begun = Route { created: false, ..route() };
        assert_eq!(found(&begun, ledger(Role::Absent, 0, 0)), None);
        let removal = Some(Removal::Running { k: Epoch(2), events: 0 });
        let removed = Route { removal, ..route() };
        assert_eq!(found(&removed, ledger(Role::Absent, 2, 0)), None);
    }

    #[test]
    fn a_history_does_not_become_shorter_than_at_its_switch() {
        let route = Route { base: 30, ..route() };
        let loss = behind_route(&route, None, &ledger(Role::Active, 1, 29));
        assert_eq!(loss, Some(Loss::BehindRoute { seq: 29, base: 30 }));
        assert_eq!(behind_route(&route, None, &ledger(Role::Active, 1, 30)), None);
    }

    #[test]
    fn a_store_that_was_given_the_authority_does_not_go_back_to_before_that() {
        let id = MigrationId::new(Uuid::from_u128(9));
        let old_source = OldSource::Fenced { at: Epoch(3) };
        let migration = Migration {
            id,
            tenant: route().tenant,
            source: "b".parse().expect("a name"),
            target: "a".parse().expect("a name"),
            m: Epoch(2),
            state: State::Migrated { activated: true, old_source },
            options: Options::default(),
            cutover_attempts: 1,
            created_at: Timestamp::from_micros(0),
            started_at: None,
            completed_at: None,
            error: None,
            violations: Violations::default(),
        };
        let phase = migration.state.phase();
        let moved = Route {
            epoch: Epoch(4),
            n: Epoch(4),
            m: Epoch(2),
            migration: Some((id, phase)),
            ..route()
        };
        let found =
            |epoch| behind_route(&moved, Some(&migration), &ledger(Role::Replica, epoch, 3));
        let loss = Loss::BehindEpoch { ledger: Epoch(2), passed: Epoch(2) };
        assert_eq!((found(2), found(4)), (Some(loss), None));
        let loss = Loss::BehindEpoch { ledger: Epoch(1), passed: Epoch(2) };
        assert_eq!(found(1), Some(loss), "a backup from before the migration");
        // Another migration, another store, and a target that is perhaps still to be activated.
        let activated = State::Migrated { activated: false, old_source };
        for other in [
            Migration { id: MigrationId::new(Uuid::from_u128(8)), ..migration.clone() },
            Migration { target: "c".parse().expect("a name"), ..migration.clone() },
            Migration { state: activated, ..migration.clone() },
        ] {
            let found = behind_route(&moved, Some(&other), &ledger(Role::Replica, 2, 3));
            assert_eq!(found, None, "{other:?}");
        }
        // A recovery gives the route an epoch that no store has seen yet.
        let recovered = Route { epoch: Epoch(1_005), n: Epoch(1_005), ..moved.clone() };
        let active = ledger(Role::Active, 4, 3);
        assert_eq!(behind_route(&recovered, Some(&migration), &active), None);
        // The loss was accepted: what is there is the history.
        let accepted = ledger(Role::Replica, 2, 3);
        assert_eq!(behind_route(&recovered, Some(&migration), &accepted), None);
    }

    #[test]
    fn only_the_replica_of_this_migration_counts() {
        let route = Route { m: Epoch(2), n: Epoch(2), ..route() };
        let loss = behind_replica(&route, &ledger(Role::Replica, 2, 11), 10);
        assert_eq!(loss, Some(Loss::BehindReplica { seq: 10, replica: 11 }));
        for copy in [(Role::Replica, 2, 10), (Role::Replica, 1, 11), (Role::Fenced, 2, 11)] {
            assert_eq!(behind_replica(&route, &ledger(copy.0, copy.1, copy.2), 10), None);
        }
    }
}
