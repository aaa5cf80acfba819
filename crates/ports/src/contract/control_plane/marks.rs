//! Marks and checkpoints: what moves beside the routing.

use std::sync::Arc;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::Epoch;
use rehome_domain::migration::Options;

use super::subject::{Control, Subject, head};
use crate::contract::kit::{migration_id, tenant};
use crate::memory::ManualClock;
use crate::{Checkpoint, ControlError, Marks, Memo, ReadBackMark};

fn marks(m: u64, seq: u64) -> Marks {
    Marks {
        read_back: Some(ReadBackMark { m: Epoch(m), head: head(seq) }),
        copy_rate: 1234.5,
        verified_seq: Some(seq),
        updated_at: Timestamp::from_micros(1_767_225_600_000_001),
    }
}

pub async fn marks_are_empty_at_first(control: Control, clock: Arc<ManualClock>) {
    let id = Subject::new(&control, &clock, 1).await.start(1, Options::default()).await;
    assert_eq!(control.marks(id).await.unwrap(), Marks::default());
}

pub async fn marks_are_kept_and_move_no_revision(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let id = subject.start(1, Options::default()).await;
    let rows = subject.rows(id).await;
    for written in [
        Marks { copy_rate: 0.1, ..Marks::default() },
        Marks { verified_seq: Some(0), ..Marks::default() },
        marks(2, 5),
        marks(2, 9),
        Marks { verified_seq: None, copy_rate: 1e300, ..marks(2, 9) },
    ] {
        control.set_marks(id, &written).await.unwrap();
        assert_eq!(control.marks(id).await.unwrap(), written);
    }
    assert_eq!(subject.rows(id).await, rows);
    let other = Subject::new(&control, &clock, 2).await.start(2, Options::default()).await;
    assert_eq!(control.marks(other).await.unwrap(), Marks::default());
}

pub async fn a_read_back_mark_never_goes_back(control: Control, clock: Arc<ManualClock>) {
    let id = Subject::new(&control, &clock, 1).await.start(1, Options::default()).await;
    control.set_marks(id, &marks(2, 9)).await.unwrap();
    // A driver that slept, and one that has not read anything back yet.
    let behind = Marks { copy_rate: 7.0, verified_seq: Some(1), ..marks(2, 8) };
    let nothing = Marks { read_back: None, ..behind };
    for written in [behind, nothing] {
        control.set_marks(id, &written).await.unwrap();
        let expected = Marks { read_back: marks(2, 9).read_back, ..written };
        assert_eq!(control.marks(id).await.unwrap(), expected, "the rest is taken");
    }
    control.set_marks(id, &marks(2, 10)).await.unwrap();
    assert_eq!(control.marks(id).await.unwrap(), marks(2, 10));
}

pub async fn a_later_epoch_begins_its_mark_anew(control: Control, clock: Arc<ManualClock>) {
    let id = Subject::new(&control, &clock, 1).await.start(1, Options::default()).await;
    control.set_marks(id, &marks(2, 9)).await.unwrap();
    // The replica of the rollback window is another one.
    control.set_marks(id, &marks(5, 3)).await.unwrap();
    assert_eq!(control.marks(id).await.unwrap(), marks(5, 3));
    control.set_marks(id, &marks(2, 10)).await.unwrap();
    assert_eq!(control.marks(id).await.unwrap().read_back, marks(5, 3).read_back);
}

pub async fn memos_are_kept_per_migration_and_name(control: Control, clock: Arc<ManualClock>) {
    let memo = |micros, text: &str| Memo { at: Timestamp::from_micros(micros), text: text.into() };
    let subject = Subject::new(&control, &clock, 1).await;
    let id = subject.start(1, Options::default()).await;
    let other = Subject::new(&control, &clock, 2).await.start(2, Options::default()).await;
    let rows = subject.rows(id).await;
    assert_eq!(control.memo(id, "baseline").await.unwrap(), None);
    let written = [
        ("baseline", memo(1_767_225_600_000_001, "{\"p99\":1.5}")),
        ("mirror", memo(-7, "")),
        ("it's", memo(0, "\u{1f600} \"a\"\n")),
        ("baseline", memo(3, "another")),
    ];
    for (name, memo) in &written {
        control.set_memo(id, name, memo).await.unwrap();
        assert_eq!(control.memo(id, name).await.unwrap().as_ref(), Some(memo));
    }
    assert_eq!(control.memo(id, "mirror").await.unwrap(), Some(written[1].1.clone()));
    assert_eq!(control.memo(id, "Mirror").await.unwrap(), None);
    assert_eq!(control.memo(other, "mirror").await.unwrap(), None);
    assert_eq!(subject.rows(id).await, rows, "no fact and no revision moved");
    let nobody = migration_id(3);
    for refused in [
        control.memo(nobody, "mirror").await.map(drop),
        control.set_memo(nobody, "mirror", &written[1].1).await,
    ] {
        assert!(matches!(refused, Err(ControlError::UnknownMigration(id)) if id == nobody));
    }
}

pub async fn checkpoints_are_kept_per_tenant_and_name(control: Control, clock: Arc<ManualClock>) {
    let names = ["a", "A", "it's", "%", "\u{e9}", "e\u{301}", "\u{1f600}", "a b/c"];
    for n in [1, 2] {
        Subject::new(&control, &clock, n).await;
        for (name, i) in names.into_iter().zip(1..) {
            assert_eq!(control.checkpoint(tenant(n), name).await.unwrap(), 0);
            control.set_checkpoint(tenant(n), name, n * 100 + i).await.unwrap();
        }
    }
    for n in [1, 2] {
        for (name, i) in names.into_iter().zip(1..) {
            assert_eq!(control.checkpoint(tenant(n), name).await.unwrap(), n * 100 + i);
        }
    }
    // A subscriber that starts over moves it back.
    control.set_checkpoint(tenant(1), "a", 7).await.unwrap();
    assert_eq!(control.checkpoint(tenant(1), "a").await.unwrap(), 7);
    assert_eq!(control.checkpoint(tenant(2), "a").await.unwrap(), 201);
}

pub async fn checkpoints_are_listed(control: Control, clock: Arc<ManualClock>) {
    assert_eq!(control.checkpoints(tenant(1), 10).await.unwrap(), []);
    assert_eq!(control.furthest_checkpoints(None, 10).await.unwrap(), []);
    let one = |n, name: &str, seq| Checkpoint { tenant: tenant(n), name: name.to_owned(), seq };
    for n in 1..=3 {
        Subject::new(&control, &clock, n).await;
        for (name, seq) in [("b", n * 10), ("a", n), ("c", n * 5)] {
            control.set_checkpoint(tenant(n), name, seq).await.unwrap();
        }
    }
    let all = control.checkpoints(tenant(2), 10).await.unwrap();
    assert_eq!(all, [one(2, "a", 2), one(2, "b", 20), one(2, "c", 10)]);
    assert_eq!(control.checkpoints(tenant(2), 2).await.unwrap(), all[..2]);
    let page = control.furthest_checkpoints(None, 2).await.unwrap();
    assert_eq!(page, [one(1, "b", 10), one(2, "b", 20)]);
    let page = control.furthest_checkpoints(Some(tenant(2)), 2).await.unwrap();
    assert_eq!(page, [one(3, "b", 30)]);
}
