//! Records: the compare-and-set, the refusals, the log.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::Epoch;
use rehome_domain::migration::{
    CutoverPolicy, Fact, Options, Phase, Refusal, RollBackReason, apply,
};
use rehome_domain::verification::Level;

use super::subject::{
    Control, SOURCE, Subject, TARGET, head, one_of_each, other_options, started, to_dual_write,
    to_migrated, to_pause, ways, with_window,
};
use crate::clock::Clock;
use crate::contract::kit::{migration_id, store_id, tenant};
use crate::log_chain::{Followed, LogAnchor};
use crate::memory::ManualClock;
use crate::{Change, ControlError};

pub async fn a_fact_moves_the_revision_only_if_it_routes(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let mut recorded = Vec::new();
    for (n, (options, way)) in (1..).zip(ways()) {
        let subject = Subject::new(&control, &clock, n).await;
        let id = subject.start(n, options).await;
        // `record` asserts the revision, the rows and the log of each.
        for fact in way {
            recorded.push(fact.name());
            subject.record(id, fact).await.unwrap();
        }
        for note in [
            Fact::LeaseTaken { holder: "driver".into() },
            Fact::ReadBack { seq: 4 },
            Fact::Verified {
                level: Level::Count,
                after: 2,
                seq: 4,
                whole: false,
                violations: 1,
                refutes: Some(3),
            },
        ] {
            subject.record(id, note).await.unwrap();
        }
    }
    recorded.sort_unstable();
    recorded.dedup();
    assert!(recorded.len() >= 12, "{recorded:?}");
}

pub async fn a_stale_revision_is_answered_with_the_route(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let subject = Subject::new(&control, &clock, 1).await;
    let id = subject.start(1, Options::default()).await;
    let slept = subject.change(id, Fact::CopyStarted).await;
    subject.live(id, [Fact::CopyStarted]).await;
    let now = subject.route().await;
    for rev in [slept.rev, Some(0), Some(1), Some(now.rev + 1), Some(u64::MAX)] {
        for fact in [Fact::CopyStarted, Fact::Paused, Fact::Aborted { purge: false }] {
            let change = Change { rev, fact, ..slept.clone() };
            match subject.send(change).await {
                Err(ControlError::Stale(route)) => assert_eq!(*route, now),
                other => panic!("{other:?}"),
            }
        }
    }
}

pub async fn a_fact_that_routes_needs_a_revision(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let id = subject.start(1, Options::default()).await;
    let change = subject.change(id, Fact::CopyStarted).await;
    assert!(subject.send(Change { rev: None, ..change }).await.is_err());
    let start = subject.change(migration_id(2), started(2, TARGET, Options::default())).await;
    assert!(subject.send(Change { rev: None, ..start }).await.is_err());
}

/// Sends both at once on the same revision; answers what became of each.
async fn race(
    subject: &Subject,
    changes: [Change; 2],
) -> [Result<crate::Recorded, ControlError>; 2] {
    let [one, two] = changes.map(|change| {
        let control = Arc::clone(&subject.control);
        tokio::spawn(async move { control.record(change).await })
    });
    [one.await.unwrap(), two.await.unwrap()]
}

async fn assert_one_wins(subject: &Subject, changes: [Change; 2]) {
    let id = changes[0].migration;
    let facts = changes.clone().map(|change| change.fact);
    let before = subject.log(id).await.len();
    let (won, fact, lost) = match race(subject, changes).await {
        [Ok(won), Err(lost)] => (won, &facts[0], lost),
        [Err(lost), Ok(won)] => (won, &facts[1], lost),
        other => panic!("exactly one wins: {other:?}"),
    };
    assert_eq!(subject.route().await, won.route);
    let log = subject.log(id).await;
    assert_eq!((log.len(), &log[before].fact), (before + 1, fact));
    match lost {
        ControlError::Stale(route) => assert_eq!(*route, won.route),
        other => panic!("{other:?}"),
    }
}

/// The beginning of a cutover against its withdrawal, which moves no revision.
pub async fn of_a_cutover_and_its_withdrawal_exactly_one_wins(
    control: Control,
    clock: Arc<ManualClock>,
) {
    for n in 1..=16 {
        let subject = Subject::new(&control, &clock, n).await;
        let id = subject.start(n, Options::default()).await;
        subject.live(id, to_dual_write()).await;
        if n % 2 == 0 {
            subject.live(id, [Fact::CutoverRequested]).await;
        }
        let before = subject.log(id).await.len();
        let begins = subject.change(id, Fact::CutoverStarted { deadline_ms: 700 }).await;
        let withdraws = subject.change(id, Fact::CutoverWithdrawn).await;
        let changes = if n % 4 < 2 { [begins, withdraws] } else { [withdraws, begins] };
        let won = match race(&subject, changes).await {
            [Ok(won), Err(ControlError::Refused(_))] | [Err(ControlError::Refused(_)), Ok(won)] => {
                won
            }
            other => panic!("exactly one wins: {other:?}"),
        };
        let log = subject.log(id).await;
        assert_eq!(log.len(), before + 1);
        let begun = won.migration.state.phase() == Phase::CutoverPaused;
        let wanted = if begun { "cutover_started" } else { "cutover_withdrawn" };
        assert_eq!(log[before].fact.name(), wanted);
        assert_eq!(control.migration(id).await.unwrap(), won.migration);
    }
}

pub async fn of_two_at_once_exactly_one_wins(control: Control, clock: Arc<ManualClock>) {
    for n in 1..=8 {
        let subject = Subject::new(&control, &clock, n).await;
        let id = subject.start(n, Options::default()).await;
        let facts = [Fact::CopyStarted, Fact::Aborted { purge: true }];
        let [one, two] = facts.map(|fact| subject.change(id, fact));
        assert_one_wins(&subject, [one.await, two.await]).await;
        // The same fact twice is recorded once, too.
        let id = {
            let subject = Subject::new(&control, &clock, 100 + n).await;
            let id = subject.start(100 + n, Options::default()).await;
            let change = subject.change(id, Fact::CopyStarted).await;
            assert_one_wins(&subject, [change.clone(), change]).await;
            id
        };
        assert_eq!(control.migration(id).await.unwrap().state.phase(), Phase::BulkCopy);
    }
}

pub async fn step_6_and_the_roll_back_exclude_each_other(
    control: Control,
    clock: Arc<ManualClock>,
) {
    for n in 1..=8 {
        let subject = Subject::new(&control, &clock, n).await;
        let id = subject.start(n, Options::default()).await;
        subject.live(id, to_pause()).await;
        let switch = subject.change(id, Fact::Switched { head: head(10) }).await;
        let timed_out = Fact::CutoverRolledBack { reason: RollBackReason::TimedOut };
        let roll_back = subject.change(id, timed_out).await;
        assert_one_wins(&subject, [switch.clone(), roll_back]).await;

        // A second pause looks like the first one and is not: step 6 of the first is stale.
        let route = subject.route().await;
        if route.phase() == Some(Phase::DualWrite) {
            subject.live(id, [Fact::CutoverStarted { deadline_ms: 1 }]).await;
            let late = subject.send(switch).await;
            assert!(matches!(late, Err(ControlError::Stale(_))), "{late:?}");
        }
    }
}

pub async fn what_cannot_follow_is_refused_and_changes_nothing(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let mut refused = 0;
    for (n, (options, way)) in (1..).zip(ways()) {
        let subject = Subject::new(&control, &clock, n).await;
        let id = subject.start(n, options).await;
        for fact in way {
            subject.record(id, fact).await.unwrap();
        }
        let rows = subject.rows(id).await;
        let (route, migration) = (rows.route.unwrap(), rows.migration.unwrap());
        let again = [started(n, TARGET, options), started(n, SOURCE, options)];
        for fact in one_of_each().into_iter().chain(again) {
            let Err(expected) = apply(&route, Some(&migration), &fact, clock.now()) else {
                continue;
            };
            // `record` asserts that nothing was changed.
            match subject.record(id, fact).await {
                Err(ControlError::Refused(found)) => assert_eq!(found, expected),
                other => panic!("{other:?} instead of {expected:?}"),
            }
            refused += 1;
        }
        assert_eq!(subject.route().await, route);
    }
    assert!(refused > 200, "{refused} refusals");
}

pub async fn a_start_is_refused_when_it_may_not_be(control: Control, clock: Arc<ManualClock>) {
    let refused = |subject: Subject, n: u64, target: &'static str, why: Refusal| async move {
        let fact = started(n, target, Options::default());
        match subject.record(migration_id(n), fact).await {
            Err(ControlError::Refused(found)) => assert_eq!(found, why),
            other => panic!("{other:?} instead of {why:?}"),
        }
        // Nothing of it is there.
        let unknown = subject.control.migration(migration_id(n)).await;
        assert!(matches!(unknown, Err(ControlError::UnknownMigration(_))), "{unknown:?}");
    };
    let subject = Subject::new(&control, &clock, 1).await;
    refused(subject.clone(), 1, SOURCE, Refusal::AlreadyThere).await;

    let id = subject.start(2, with_window()).await;
    let another = |id, phase| Refusal::AnotherMigration { id, phase };
    refused(subject.clone(), 3, TARGET, another(id, Phase::Pending)).await;
    subject.live(id, to_pause()).await;
    refused(subject.clone(), 3, TARGET, another(id, Phase::CutoverPaused)).await;
    subject.live(id, [Fact::Switched { head: head(10) }]).await;
    refused(subject.clone(), 3, SOURCE, Refusal::WindowOpen).await;

    let failed = Subject::new(&control, &clock, 2).await;
    let id = failed.start(4, Options::default()).await;
    failed.live(id, [Fact::Failed { error: "x".into() }]).await;
    refused(failed, 5, TARGET, another(id, Phase::Failed)).await;

    control.create_route(tenant(3), &store_id(SOURCE)).await.unwrap();
    let unborn = Subject { tenant: tenant(3), ..subject };
    refused(unborn, 6, TARGET, Refusal::NotCreated).await;
}

pub async fn the_unknown_is_refused(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    for fact in [Fact::CopyStarted, Fact::ReadBack { seq: 1 }] {
        match subject.record(migration_id(9), fact).await {
            Err(ControlError::UnknownMigration(id)) => assert_eq!(id, migration_id(9)),
            other => panic!("{other:?}"),
        }
    }
    let fact = started(1, TARGET, Options::default());
    let change = subject.change(migration_id(1), fact).await;
    let nobody = Subject { tenant: tenant(2), ..subject };
    match nobody.send(Change { tenant: tenant(2), ..change }).await {
        Err(ControlError::UnknownTenant(unknown)) => assert_eq!(unknown, tenant(2)),
        other => panic!("{other:?}"),
    }
}

pub async fn a_migration_of_another_tenant_is_not_touched(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let one = Subject::new(&control, &clock, 1).await;
    let two = Subject::new(&control, &clock, 2).await;
    let id = one.start(1, Options::default()).await;
    let rows = one.rows(id).await;
    for fact in [Fact::CopyStarted, Fact::ReadBack { seq: 3 }] {
        two.record(id, fact).await.unwrap_err();
        assert_eq!(one.rows(id).await, rows);
    }
}

pub async fn a_migration_that_is_over_does_not_touch_the_next_one(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let subject = Subject::new(&control, &clock, 1).await;
    let first = subject.start(1, Options::default()).await;
    subject.live(first, [Fact::CopyStarted, Fact::Aborted { purge: true }]).await;
    let second = subject.start(2, Options::default()).await;
    subject.live(second, to_dual_write()).await;
    let route = subject.route().await;
    for fact in one_of_each().into_iter().filter(Fact::routes) {
        subject.record(first, fact).await.unwrap_err();
    }
    // The clean-up of the first continues beside the second, and is recorded.
    subject.live(first, [Fact::ReplicaDropped, Fact::Purged { events: 3 }]).await;
    assert_eq!(subject.route().await, route);
    assert_eq!(route.migration, Some((second, Phase::DualWrite)));
}

pub async fn the_log_is_dated_by_the_control_planes_time(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = control.now().await.expect("the time");
    let id = subject.start(1, Options::default()).await;
    let after = control.now().await.expect("the time");
    let at = subject.log(id).await[0].at;
    assert!(before <= at && at <= after, "{before:?} {at:?} {after:?}");
    clock.advance(Duration::from_secs(7));
    let later = control.now().await.expect("the time");
    assert_eq!(later.micros(), after.micros() + 7_000_000);
}

pub async fn the_log_is_a_hash_chain(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let id = subject.start(1, with_window()).await;
    subject.live(id, to_migrated(10, 4)).await;
    // `log` recomputes the chain.
    let log = subject.log(id).await;
    let names: Vec<_> = log.iter().map(|entry| entry.fact.name()).collect();
    assert_eq!(
        names,
        [
            "started",
            "copy_started",
            "copy_completed",
            "cutover_started",
            "switched",
            "target_activated"
        ]
    );
    assert!(log.is_sorted_by(|one, two| one.at < two.at));
    // The log of another migration is another chain.
    let other = Subject::new(&control, &clock, 2).await;
    let id = other.start(2, Options::default()).await;
    assert_eq!(other.log(id).await.len(), 1);
}

pub async fn the_log_is_read_in_pages(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let id = subject.start(1, Options::default()).await;
    subject.live(id, (1..=9).map(|seq| Fact::ReadBack { seq })).await;
    let log = subject.log(id).await;
    assert_eq!(log.len(), 10);
    for (after, limit) in [(0, 10), (0, usize::MAX), (3, 4), (9, 5)] {
        let page = control.log(id, after, limit).await.unwrap();
        let start = usize::try_from(after).unwrap();
        assert_eq!(page, log[start..log.len().min(start.saturating_add(limit))]);
    }
    for past in [10, 11, u64::MAX] {
        assert_eq!(control.log(id, past, 5).await.unwrap(), vec![]);
    }
}

pub async fn a_route_row_anchors_the_log_of_its_last_migration(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let end = async |subject: &Subject, id| {
        let (last, all) = (subject.log(id).await.last().map(Followed::to), usize::MAX);
        let anchors = control.log_anchors(None, all).await.unwrap();
        let anchor = anchors.into_iter().find(|anchor| anchor.tenant == subject.tenant).unwrap();
        assert_eq!(anchor.migration, id);
        assert_eq!(Some(anchor.seen), last);
        anchor
    };
    let subject = Subject::new(&control, &clock, 1).await;
    assert_eq!(control.log_anchors(None, 10).await.unwrap(), [], "nothing to anchor yet");
    let first = subject.start(1, Options::default()).await;
    end(&subject, first).await;
    // With what moves the route, and with what does not.
    subject.live(first, to_migrated(10, 4)).await;
    end(&subject, first).await;
    subject.live(first, [Fact::LeaseTaken { holder: "driver".into() }]).await;
    end(&subject, first).await;
    let second = subject.start_to(2, SOURCE, Options::default()).await;
    let of_second = end(&subject, second).await;
    // The one before it goes on a little, and is not what the row is about any more.
    subject.live(first, [Fact::Purged { events: 10 }]).await;
    assert_eq!(end(&subject, second).await, of_second);
    // A creation that is completed late, and a recovery.
    control.mark_created(subject.tenant, Epoch(1)).await.unwrap();
    assert_eq!(end(&subject, second).await, of_second);
    let rev = subject.route().await.rev;
    let (store, n) = (store_id(SOURCE), Epoch(50));
    control.recover(subject.tenant, rev, &store, n, 3, "operator").await.unwrap();
    assert_eq!(end(&subject, second).await.seen.index, of_second.seen.index + 1);

    let mut anchors = vec![end(&subject, second).await];
    for n in 2..5 {
        let subject = Subject::new(&control, &clock, n).await;
        let id = subject.start(n + 10, Options::default()).await;
        anchors.push(end(&subject, id).await);
    }
    Subject::new(&control, &clock, 5).await;
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(|last: &LogAnchor| last.tenant);
        let page = control.log_anchors(after, 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, anchors);
}

pub async fn what_people_write_is_kept_verbatim(control: Control, clock: Arc<ManualClock>) {
    let texts = [
        "",
        "it's \"quoted\" \\ 100% $1 ?1 :name",
        "line\nend \t \r\n",
        "\u{1f600} e\u{301} \u{e9} \u{5e9}\u{5dc} \u{202e}x\u{202c} \u{feff}",
        "\u{1}\u{7f}",
    ];
    for (n, text) in (1..).zip(texts) {
        let subject = Subject::new(&control, &clock, n).await;
        let id = subject.start(n, Options::default()).await;
        subject.live(id, [Fact::LeaseTaken { holder: text.into() }]).await;
        let mut change = subject.change(id, Fact::Failed { error: text.into() }).await;
        change.actor = text.to_owned();
        let recorded = subject.send(change).await.unwrap();
        assert_eq!(recorded.migration.error.as_deref(), Some(text));
        let log = subject.log(id).await;
        assert_eq!(log[2].actor, text);
        assert_eq!(log[2].fact, Fact::Failed { error: text.into() });
    }
}

pub async fn options_are_kept_and_retuned(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let id = subject.start(1, other_options()).await;
    assert_eq!(control.migration(id).await.unwrap().options, other_options());
    for cutover in [CutoverPolicy::Manual, CutoverPolicy::Auto] {
        let options = Options { cutover, ..Options::default() };
        let was = Some(control.migration(id).await.unwrap().options);
        let recorded = subject.live(id, [Fact::Tuned { was, options }]).await;
        assert_eq!(recorded.migration.options, options);
        assert_eq!(control.migration(id).await.unwrap().options, options);
        let log = subject.log(id).await;
        assert_eq!(log.last().unwrap().fact, Fact::Tuned { was, options });
        // What was made of options that are no longer those would take the change back.
        let late = Fact::Tuned { was, options: other_options() };
        let refused = subject.send(subject.change(id, late).await).await;
        assert!(matches!(refused, Err(ControlError::Refused(Refusal::OptionsChanged))));
        assert_eq!(control.migration(id).await.unwrap().options, options);
    }
    assert_eq!(subject.route().await.n, Epoch(2), "a retuning hands out no epoch");
}
