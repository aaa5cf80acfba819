//! Facts, options and states survive serialization, and invalid text is refused.

// The helpers are test code too.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::test_runner::Config;
use rehome_domain::digest::Digest;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, StoreId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{
    Cleanup, CutoverPolicy, Fact, MirrorAck, OldSource, OpenViolation, Options, Repair,
    RollBackReason, State, Violations, Working,
};
use rehome_domain::verification::{Coverage, Finding, Level, Side};
use rehome_ports::record::{
    log_hash, read_fact, read_options, read_state, write_fact, write_options, write_state,
};

fn config() -> Config {
    Config { cases: 256, failure_persistence: None, ..Config::default() }
}

fn text() -> impl Strategy<Value = Box<str>> {
    proptest::collection::vec(any::<char>(), 0..12)
        .prop_map(|chars| chars.into_iter().collect::<String>().into())
}

fn store_id() -> impl Strategy<Value = StoreId> {
    let letters = "abcXYZ019_-".chars().collect::<Vec<_>>();
    proptest::collection::vec(proptest::sample::select(letters), 1..=64)
        .prop_map(|letters| letters.into_iter().collect::<String>().parse().unwrap())
}

fn head() -> impl Strategy<Value = Head> {
    (any::<u64>(), any::<[u8; 32]>())
        .prop_map(|(seq, digest)| Head { seq, digest: Digest::new(digest) })
}

fn level() -> impl Strategy<Value = Level> {
    prop_oneof![Just(Level::Count), Just(Level::Hash), Just(Level::Full)]
}

fn options() -> impl Strategy<Value = Options> {
    let cutover = prop_oneof![
        Just(CutoverPolicy::Auto),
        Just(CutoverPolicy::Manual),
        any::<i64>().prop_map(|micros| CutoverPolicy::At(Timestamp::from_micros(micros))),
    ];
    let mirror_ack = prop_oneof![Just(MirrorAck::Source), Just(MirrorAck::Target)];
    let sizes = (1..=100_000_u32, 1..=67_108_864_u32, any::<u32>(), any::<u32>(), 1..=u32::MAX);
    let times = (10..=600_000_u32, 1..=60_000_u32, any::<u64>());
    (sizes, cutover, mirror_ack, level(), times).prop_map(
        |(sizes, cutover, mirror_ack, verification, times)| Options {
            batch_events: sizes.0,
            batch_bytes: sizes.1,
            copy_rate_max: sizes.2,
            copy_bytes_rate_max: sizes.3,
            lag_events_max: sizes.4,
            cutover,
            cutover_timeout_ms: times.0,
            mirror_ack,
            mirror_ack_timeout_ms: times.1,
            verification,
            rollback_window_ms: times.2,
        },
    )
}

fn fact() -> impl Strategy<Value = Fact> {
    let reason =
        prop_oneof![Just(RollBackReason::TimedOut), text().prop_map(RollBackReason::Failed),];
    let routing = prop_oneof![
        (any::<[u8; 16]>(), store_id(), options()).prop_map(|(id, target, options)| {
            let migration = MigrationId::from_slice(&id).unwrap();
            Fact::Started { migration, target, options }
        }),
        Just(Fact::CopyStarted),
        any::<u64>().prop_map(|events| Fact::CopyCompleted { events }),
        any::<u64>().prop_map(|deadline_ms| Fact::CutoverStarted { deadline_ms }),
        head().prop_map(|head| Fact::Switched { head }),
        reason.prop_map(|reason| Fact::CutoverRolledBack { reason }),
        Just(Fact::Paused),
        Just(Fact::Resumed),
        text().prop_map(|error| Fact::Failed { error }),
        any::<bool>().prop_map(|purge| Fact::Aborted { purge }),
        Just(Fact::WindowClosed),
        Just(Fact::RepairRequested),
        (head(), any::<u64>()).prop_map(|(to, events)| Fact::CutBack { to, events }),
        (store_id(), any::<u64>(), any::<u64>()).prop_map(|(store, n, base)| Fact::Recovered {
            store,
            n: Epoch(n),
            base
        }),
    ];
    let notes = prop_oneof![
        Just(Fact::CutoverRequested),
        Just(Fact::CutoverWithdrawn),
        (text(), text()).prop_map(|(hook, why)| Fact::CutoverVetoed { hook, why }),
        text().prop_map(|holder| Fact::LeaseTaken { holder }),
        any::<u64>().prop_map(|epoch| Fact::TargetActivated { epoch: Epoch(epoch) }),
        any::<u64>().prop_map(|seq| Fact::ReadBack { seq }),
        verified(),
        finding().prop_map(|finding| Fact::Violated { finding }),
        text().prop_map(|why| Fact::RepairRefused { why }),
        Just(Fact::ReplicaDropped),
        any::<u64>().prop_map(|events| Fact::Purged { events }),
        (prop::option::of(options()), options())
            .prop_map(|(was, options)| Fact::Tuned { was, options }),
        Just(Fact::Acknowledged),
    ];
    prop_oneof![routing, notes]
}

fn verified() -> impl Strategy<Value = Fact> {
    (level(), any::<[u64; 3]>(), any::<bool>(), prop::option::of(any::<u32>())).prop_map(
        |(level, [after, seq, violations], whole, refutes)| Fact::Verified {
            level,
            after,
            seq,
            whole,
            violations,
            refutes,
        },
    )
}

fn finding() -> impl Strategy<Value = Finding> {
    let side = prop_oneof![Just(Side::Unknown), Just(Side::Copy), Just(Side::Authority)];
    let numbers = (any::<[u64; 3]>(), prop::option::of(any::<u64>()));
    (level(), numbers, any::<bool>(), side, text()).prop_map(
        |(level, ([after, upto, violations], seq), whole, side, first)| Finding {
            coverage: Coverage { level, after, upto, whole },
            violations,
            seq,
            side,
            first,
        },
    )
}

fn violations() -> impl Strategy<Value = Violations> {
    let repair =
        prop_oneof![Just(Repair::NotRequested), Just(Repair::Requested), Just(Repair::CutBack)];
    let open = (any::<u32>(), finding(), repair)
        .prop_map(|(number, finding, repair)| OpenViolation { number, finding, repair });
    (any::<u32>(), any::<u32>(), prop::option::of(open))
        .prop_map(|(found, repairs, open)| Violations { found, repairs, open })
}

fn state() -> impl Strategy<Value = State> {
    let working = prop_oneof![
        Just(Working::BulkCopy),
        any::<bool>().prop_map(|cutover_requested| Working::DualWrite { cutover_requested }),
    ];
    let old_source = prop_oneof![
        any::<u64>().prop_map(|at| OldSource::Fenced { at: Epoch(at) }),
        any::<u64>().prop_map(|m| OldSource::Window { m: Epoch(m) }),
        any::<u64>().prop_map(|m| OldSource::Closing { m: Epoch(m) }),
        Just(OldSource::Purged),
    ];
    let cleanup = prop_oneof![
        any::<bool>().prop_map(|purge| Cleanup::Drop { purge }),
        Just(Cleanup::Purge),
        Just(Cleanup::Done),
    ];
    prop_oneof![
        Just(State::Pending),
        working.clone().prop_map(State::Working),
        Just(State::CutoverPaused),
        working.prop_map(State::Paused),
        (any::<bool>(), old_source)
            .prop_map(|(activated, old_source)| State::Migrated { activated, old_source }),
        any::<bool>().prop_map(|acknowledged| State::Failed { acknowledged }),
        cleanup.prop_map(State::RolledBack),
    ]
}

/// Texts that come close to a record: one with a piece cut out, doubled or replaced.
fn near(record: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (record, any::<proptest::sample::Index>(), any::<u8>(), any::<char>()).prop_map(
        |(record, at, how, other)| {
            let chars: Vec<char> = record.chars().collect();
            let at = at.index(chars.len());
            let (before, after) = (&chars[..at], &chars[at + 1..]);
            let middle = match how % 4 {
                0 => vec![],
                1 => vec![chars[at], chars[at]],
                2 => vec![other],
                _ => return before.iter().collect(),
            };
            before.iter().chain(&middle).chain(after).collect()
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_fact_is_read_as_it_was_written(fact in fact()) {
        let text = write_fact(&fact);
        prop_assert!(!text.contains(['\n', '\r']), "one line: {text}");
        let tag = format!("\"fact\":\"{}\"", fact.name());
        prop_assert!(text.contains(&tag), "{} as its name: {text}", fact.name());
        prop_assert_eq!(read_fact(&text), Ok(fact));
    }

    #[test]
    fn options_are_read_as_they_were_written(options in options()) {
        prop_assert_eq!(read_options(&write_options(&options)), Ok(options));
    }

    #[test]
    fn a_state_is_read_as_it_was_written(state in state(), violations in violations()) {
        let text = write_state(state, &violations);
        prop_assert_eq!(read_state(&text), Ok((state, violations)));
    }

    #[test]
    fn garbage_is_unreadable_and_never_a_panic(garbage in text()) {
        prop_assert!(read_fact(&garbage).is_err());
        prop_assert!(read_state(&garbage).is_err());
        let _ = read_options(&garbage);
    }

    #[test]
    fn what_is_nearly_a_record_never_panics(
        fact in near(fact().prop_map(|fact| write_fact(&fact))),
        options in near(options().prop_map(|options| write_options(&options))),
        state in near((state(), violations()).prop_map(|(state, found)| write_state(state, &found))),
    ) {
        // Other accepted text is written and read again as the same value.
        if let Ok(read) = read_fact(&fact) {
            prop_assert_eq!(read_fact(&write_fact(&read)), Ok(read));
        }
        if let Ok(read) = read_options(&options) {
            prop_assert_eq!(read_options(&write_options(&read)), Ok(read));
        }
        if let Ok((read, found)) = read_state(&state) {
            prop_assert_eq!(read_state(&write_state(read, &found)), Ok((read, found)));
        }
    }

    #[test]
    fn every_part_of_a_log_entry_is_in_its_hash(
        previous in any::<[u8; 32]>(), index in any::<u64>(), at in any::<i64>(),
        actor in text(), fact in text(),
    ) {
        let previous = Digest::new(previous);
        let time = Timestamp::from_micros(at);
        let hash = log_hash(&previous, index, time, &actor, &fact);
        let mut other = *previous.as_bytes();
        other[31] ^= 1;
        prop_assert_ne!(log_hash(&Digest::new(other), index, time, &actor, &fact), hash);
        prop_assert_ne!(log_hash(&previous, index ^ 1, time, &actor, &fact), hash);
        let later = Timestamp::from_micros(at ^ 1);
        prop_assert_ne!(log_hash(&previous, index, later, &actor, &fact), hash);
        prop_assert_ne!(log_hash(&previous, index, time, &format!("{actor}x"), &fact), hash);
        prop_assert_ne!(log_hash(&previous, index, time, &actor, &format!("{fact}x")), hash);
        // Nor does it help to move the border between the two texts.
        prop_assert_ne!(
            log_hash(&previous, index, time, &format!("{actor}x"), &fact),
            log_hash(&previous, index, time, &actor, &format!("x{fact}"))
        );
    }
}

#[test]
fn records_written_long_ago_are_still_read() {
    assert_eq!(read_fact(r#"{"fact":"copy_started"}"#), Ok(Fact::CopyStarted));
    let aborted = read_fact(r#"{"fact":"aborted","purge":true}"#);
    assert_eq!(aborted, Ok(Fact::Aborted { purge: true }));
    let state =
        read_state(r#"{"state":"migrated","activated":true,"old_source":{"is":"fenced","at":3}}"#);
    let old_source = OldSource::Fenced { at: Epoch(3) };
    let state_then = State::Migrated { activated: true, old_source };
    assert_eq!(state, Ok((state_then, Violations::default())));
    // An old verification did not record its range: it covered everything.
    let verified = r#"{"fact":"verified","level":"hash","seq":4,"violations":2}"#;
    let fact = Fact::Verified {
        level: Level::Hash,
        after: 0,
        seq: 4,
        whole: true,
        violations: 2,
        refutes: None,
    };
    assert_eq!(read_fact(verified), Ok(fact.clone()));
    // And it is still written so.
    assert_eq!(write_fact(&fact), verified);
    // Options of before there was an option have its default.
    assert_eq!(read_options("{}"), Ok(Options::default()));
    let options = Options { batch_events: 7, ..Options::default() };
    assert_eq!(read_options(r#"{"batch_events":7}"#), Ok(options));
}

/// A version without violations reads the tag of a state and does not know this one, so it can
/// neither cut over nor write the row without the open violation. For a migration without violations the text is
/// unchanged.
#[test]
fn a_state_with_violations_is_none_of_the_old_states() {
    let plain = write_state(State::CutoverPaused, &Violations::default());
    assert_eq!(plain, r#"{"state":"cutover_paused"}"#);
    let closed = Violations { found: 1, ..Violations::default() };
    let text = write_state(State::CutoverPaused, &closed);
    assert!(text.starts_with(r#"{"state":"violated","#), "{text}");
}

#[test]
fn what_may_not_be_is_unreadable() {
    for fact in [
        "",
        "{}",
        "null",
        r#"{"fact":"no_such_fact"}"#,
        r#"{"fact":"switched","seq":1,"digest":"00"}"#,
        r#"{"fact":"switched","seq":-1,"digest":""}"#,
        r#"{"fact":"verified","level":"deep","seq":1,"violations":0}"#,
        r#"{"fact":"recovered","store":"a b","n":1,"base":0}"#,
        r#"{"fact":"started","migration":"x","target":"a","options":{}}"#,
        r#"{"fact":"tuned","options":{"batch_events":0}}"#,
        r#"{"fact":"copy_started"} x"#,
    ] {
        assert!(read_fact(fact).is_err(), "{fact}");
    }
    for options in [
        "",
        r#"{"batch_events":100001}"#,
        r#"{"cutover":"at"}"#,
        r#"{"cutover":"soon"}"#,
        r#"{"mirror_ack":"both"}"#,
        r#"{"verification":"none"}"#,
        r#"{"cutover_timeout_ms":9}"#,
    ] {
        assert!(read_options(options).is_err(), "{options}");
    }
}

/// Computed with Python's hashlib from the formula in `record::log_hash`.
#[test]
fn a_log_entrys_hash_is_the_documented_one() {
    let hash = log_hash(
        &Digest::new([0x11; 32]),
        2,
        Timestamp::from_micros(1_767_225_600_000_000),
        "operator \u{e9}",
        r#"{"fact":"copy_started"}"#,
    );
    assert_eq!(
        hash.to_string(),
        "72d1fc64f587d0c46bf64483a1874a8182e934ccc811259ce7556b53647f7272"
    );
}
