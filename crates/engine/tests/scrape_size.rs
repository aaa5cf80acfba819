//! How large a scrape is, however many migrations have ended.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_domain::migration::{
    Cleanup, Fact, Migration, OldSource, Options, State, Violations, Working,
};
use rehome_engine::appends::Appends;
use rehome_engine::metrics::{Format, Metrics, RETENTION, Surroundings};
use rehome_engine::{CutoverPart, Observer, Signal, Way};
use rehome_ports::clock::Clock;
use uuid::Uuid;

/// A clock that is set by hand, in seconds.
struct Held(AtomicI64);

impl Clock for Held {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed) * 1_000_000)
    }
}

struct Scene {
    clock: Arc<Held>,
    metrics: Metrics,
    observer: Arc<dyn Observer>,
    appends: Arc<Appends>,
}

/// The size of a scrape: its series and its bytes.
#[derive(Clone, Copy, Debug)]
struct Size {
    series: usize,
    bytes: usize,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(Held(AtomicI64::new(1_000)));
        let metrics = Metrics::new(Arc::clone(&clock) as Arc<dyn Clock>, RETENTION);
        let observer = metrics.observer();
        Self { clock, metrics, observer, appends: Arc::default() }
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    fn scrape(&self) -> String {
        self.metrics.render(Format::Text, &self.appends, &Surroundings::default())
    }

    fn size(&self) -> Size {
        let text = self.scrape();
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        Size { series, bytes: text.len() }
    }

    fn migration(&self, number: u128, state: State) -> Migration {
        let now = self.clock.now();
        let completed_at = state.phase().has_ended().then_some(now);
        Migration {
            id: MigrationId::new(Uuid::from_u128(number)),
            tenant: TenantId::new(Uuid::from_u128(number | 1 << 100)),
            source: "a".parse().unwrap(),
            target: "b".parse().unwrap(),
            m: Epoch(2),
            state,
            options: Options::default(),
            cutover_attempts: 1,
            created_at: now,
            started_at: Some(now),
            completed_at,
            error: None,
            violations: Violations::default(),
        }
    }

    /// This process drives a migration up to a dual write in which something was mirrored.
    fn drives(&self, number: u128) {
        let state = State::Working(Working::DualWrite { cutover_requested: false });
        let migration = &self.migration(number, state);
        self.observer.hear(&Signal::Taken { migration, log: &[], taken_over: false });
        let (source_seq, target_seq, read_back_seq) = (100, 100, Some(100));
        let way = Way::There;
        self.observer.hear(&Signal::Progress {
            migration,
            way,
            source_seq,
            target_seq,
            read_back_seq,
        });
        let took = Duration::from_millis(3);
        self.observer.hear(&Signal::Mirrored {
            migration,
            way,
            events: 2,
            written: 2,
            upto: 100,
            took,
        });
    }

    /// The same migration comes to its end.
    fn ends(&self, number: u128, state: State, fact: &Fact) {
        let migration = &self.migration(number, state);
        let at = self.clock.now();
        self.observer.hear(&Signal::Recorded { migration, fact, actor: "p", at });
        let (part, took, error) = (CutoverPart::Pause, Duration::from_millis(20), None);
        self.observer.hear(&Signal::Cutover { migration, part, took, error });
        self.observer.hear(&Signal::Left { migration, lost_to: None });
    }

    fn moves(&self, number: u128) {
        self.drives(number);
        let old_source = OldSource::Fenced { at: Epoch(3) };
        self.ends(
            number,
            State::Migrated { activated: true, old_source },
            &Fact::TargetActivated { epoch: Epoch(4) },
        );
    }
}

fn state_of(scrape: &str, number: u128) -> Option<&str> {
    let id = Uuid::from_u128(number).to_string();
    let mut lines = scrape.lines().filter(|line| line.starts_with("migration_state{"));
    let line = lines.find(|line| line.contains(&id))?;
    line.rsplit_once(' ').map(|(_, value)| value)
}

#[test]
fn a_scrape_after_ten_thousand_moves_is_as_small_as_after_twenty() {
    let scene = Scene::new();
    for number in 1..=20 {
        scene.moves(number);
    }
    let few = scene.size();
    for number in 21..=10_000 {
        scene.moves(number);
        if number % 10 == 0 {
            scene.pass(1);
        }
    }
    // Ten have ended each second of the last minute: of each a state, and nothing else.
    let midst = scene.size();
    assert!(midst.series <= few.series + 600, "{midst:?} after {few:?}");
    scene.drives(20_000);
    scene.pass(60);
    let one = scene.size();
    scene.ends(20_000, State::RolledBack(Cleanup::Done), &Fact::Purged { events: 0 });
    scene.pass(60);
    let many = scene.size();
    assert!(many.series <= few.series, "{many:?} after {few:?}");
    assert!(many.bytes <= few.bytes * 11 / 10, "{many:?} after {few:?}");
    assert!(one.series <= few.series + 80, "one is at work: {one:?} after {few:?}");
}

/// An operator may start any number of migrations that wait for a cutover.
#[test]
fn a_scrape_is_bounded_however_many_migrations_are_at_work() {
    let scene = Scene::new();
    let without = |scene: &Scene| {
        let scrape = scene.scrape();
        let line =
            scrape.lines().find(|line| line.starts_with("migrations_without_series")).unwrap();
        line.rsplit_once(' ').unwrap().1.to_owned()
    };
    for number in 1..=200 {
        scene.drives(number);
        scene.pass(1);
    }
    let few = scene.size();
    assert_eq!(without(&scene), "0.0");
    for number in 201..=3_000 {
        scene.drives(number);
    }
    scene.drives(9_000);
    let failed = Fact::Failed { error: "the disk is full".into() };
    scene.ends(9_000, State::Failed { acknowledged: false }, &failed);
    let many = scene.size();
    assert!(many.series <= few.series + 50, "{many:?} after {few:?}");
    assert_eq!(without(&scene), "2801.0");
    let scrape = scene.scrape();
    assert_eq!(state_of(&scrape, 9_000), Some("5.0"), "an operator has to see it");
    assert_eq!((state_of(&scrape, 199), state_of(&scrape, 200)), (Some("2.0"), None));
    // Once others have ended there is room.
    for number in 1..=2_900 {
        scene.ends(number, State::RolledBack(Cleanup::Done), &Fact::Purged { events: 0 });
    }
    scene.pass(61);
    assert_eq!(without(&scene), "0.0");
    let scrape = scene.scrape();
    assert_eq!(state_of(&scrape, 2_950), Some("2.0"));
    assert!(scene.size().series < few.series, "{:?} after {few:?}", scene.size());
}

/// The alert on lost migrations remembers for an hour what was not over when it was last scraped.
#[test]
fn each_end_is_there_for_a_minute_so_that_a_scrape_sees_it() {
    let scene = Scene::new();
    for number in 1..=200 {
        scene.moves(number);
    }
    scene.pass(59);
    let scrape = scene.scrape();
    for number in 1..=200 {
        assert_eq!(state_of(&scrape, number), Some("4.0"), "{number}");
    }
    scene.pass(1);
    let scrape = scene.scrape();
    assert_eq!(state_of(&scrape, 180), None);
    assert_eq!(state_of(&scrape, 181), Some("4.0"), "it is among the newest twenty");
    scene.pass(i64::try_from(RETENTION.as_secs()).unwrap());
    assert_eq!(state_of(&scene.scrape(), 200), None, "the retention is over");
}

#[test]
fn a_failure_that_nobody_has_seen_is_not_hidden_by_the_moves_after_it() {
    let scene = Scene::new();
    scene.drives(7_000);
    let failed = Fact::Failed { error: "the disk is full".into() };
    scene.ends(7_000, State::Failed { acknowledged: false }, &failed);
    for number in 1..=200 {
        scene.moves(number);
    }
    scene.pass(300);
    assert_eq!(state_of(&scene.scrape(), 7_000), Some("5.0"));
    let migration = &scene.migration(7_000, State::Failed { acknowledged: true });
    scene.observer.hear(&Signal::Seen { migration });
    scene.pass(30);
    assert_eq!(state_of(&scene.scrape(), 7_000), None);
}

/// Nobody scrapes: what ended is forgotten all the same.
#[test]
fn what_nobody_scrapes_is_forgotten_too() {
    let scene = Scene::new();
    for number in 1..=2_000 {
        scene.moves(number);
    }
    scene.pass(61);
    scene.observer.hear(&Signal::Looked);
    // Back in the minute in which all of them would still be told.
    scene.pass(-61);
    let states = scene.scrape().lines().filter(|line| line.starts_with("migration_state{")).count();
    assert_eq!(states, 20);
}
