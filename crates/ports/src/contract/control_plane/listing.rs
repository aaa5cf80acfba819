//! Listing migrations.

use std::sync::Arc;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Fact, Options, Phase};

use super::subject::{Control, Subject, TARGET, to_dual_write};
use crate::Migrations;
use crate::contract::kit::{migration_id, tenant};
use crate::memory::ManualClock;

/// Five migrations of two tenants, with ids that are not in the order of their beginnings.
/// Answers them newest first.
async fn five(control: &Control, clock: &Arc<ManualClock>) -> Vec<MigrationId> {
    let one = Subject::new(control, clock, 1).await;
    let two = Subject::new(control, clock, 2).await;
    let mut oldest_first = Vec::new();
    for (subject, n) in [(&one, 30), (&two, 10), (&one, 20), (&two, 50), (&one, 40)] {
        let before = subject.route().await.migration;
        if let Some((id, _)) = before {
            subject.live(id, [Fact::Aborted { purge: false }]).await;
        }
        oldest_first.push(subject.start_to(n, TARGET, Options::default()).await);
    }
    two.live(migration_id(50), to_dual_write()).await;
    oldest_first.into_iter().rev().collect()
}

async fn list(control: &Control, which: Migrations) -> Vec<MigrationId> {
    let listed = control.migrations(which).await.unwrap();
    for migration in &listed {
        assert_eq!(control.migration(migration.id).await.unwrap(), *migration);
    }
    listed.into_iter().map(|migration| migration.id).collect()
}

const ALL: Migrations = Migrations { tenant: None, phase: None, before: None, limit: 100 };

fn ids<const N: usize>(ids: [u64; N]) -> Vec<MigrationId> {
    ids.map(migration_id).into()
}

pub async fn migrations_are_listed_newest_first(control: Control, clock: Arc<ManualClock>) {
    assert_eq!(list(&control, ALL).await, vec![]);
    let expected = five(&control, &clock).await;
    assert_eq!(expected, ids([40, 50, 20, 10, 30]));
    assert_eq!(list(&control, ALL).await, expected);
    assert_eq!(list(&control, Migrations { limit: usize::MAX, ..ALL }).await, expected);
}

pub async fn migrations_are_filtered(control: Control, clock: Arc<ManualClock>) {
    five(&control, &clock).await;
    let of = |n| Migrations { tenant: Some(tenant(n)), ..ALL };
    assert_eq!(list(&control, of(1)).await, ids([40, 20, 30]));
    assert_eq!(list(&control, of(2)).await, ids([50, 10]));
    assert_eq!(list(&control, of(3)).await, vec![]);
    let phase = |phase| Migrations { phase: Some(phase), ..ALL };
    assert_eq!(list(&control, phase(Phase::RolledBack)).await, ids([20, 10, 30]));
    assert_eq!(list(&control, phase(Phase::DualWrite)).await, ids([50]));
    assert_eq!(list(&control, phase(Phase::Pending)).await, ids([40]));
    assert_eq!(list(&control, phase(Phase::Migrated)).await, vec![]);
    let both = Migrations { phase: Some(Phase::RolledBack), ..of(1) };
    assert_eq!(list(&control, both).await, ids([20, 30]));
    let before = Migrations { before: Some(migration_id(20)), ..both };
    assert_eq!(list(&control, before).await, ids([30]));
}

pub async fn migrations_are_listed_in_pages(control: Control, clock: Arc<ManualClock>) {
    let expected = five(&control, &clock).await;
    for limit in [1, 2, 5, 9] {
        let mut listed: Vec<MigrationId> = Vec::new();
        loop {
            let before = listed.last().copied();
            let page = list(&control, Migrations { before, limit, ..ALL }).await;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
            assert!(listed.len() <= expected.len(), "{listed:?}");
        }
        assert_eq!(listed, expected);
    }
    let one = Migrations { tenant: Some(tenant(1)), before: Some(migration_id(50)), ..ALL };
    assert_eq!(list(&control, one).await, ids([20, 30]));
}
