//! What the driver does next, for everything that it can see.

use proptest::prelude::*;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::Epoch;
use rehome_domain::migration::{
    Cleanup, Command, CutoverPolicy, Migration, Observation, OldSource, Options, State, Working,
    decide,
};

use crate::kit::{NOW, Rows, config};

const MINUTE_US: i64 = 60_000_000;

fn migration(state: State, options: Options) -> Migration {
    Migration { state, ..Rows::mirroring(options).migration }
}

/// A migration that could be cut over at once.
fn ready(migration: &Migration) -> Observation<'_> {
    Observation {
        migration,
        source_seq: 10_000,
        target_seq: 10_000,
        read_back_seq: 10_000,
        verified: true,
        target_healthy: true,
        retry_due: true,
        now: NOW,
    }
}

const fn mirroring(cutover_requested: bool) -> State {
    State::Working(Working::DualWrite { cutover_requested })
}

#[test]
fn each_state_has_its_command() {
    let window = OldSource::Window { m: Epoch(5) };
    let migrated = |old_source| State::Migrated { activated: true, old_source };
    for (state, command) in [
        (State::Pending, Command::Prepare),
        (State::Working(Working::BulkCopy), Command::Copy),
        (State::CutoverPaused, Command::CutOver),
        (State::Paused(Working::BulkCopy), Command::Wait),
        (State::Paused(Working::DualWrite { cutover_requested: true }), Command::Wait),
        (State::Migrated { activated: false, old_source: window }, Command::ActivateTarget),
        (migrated(window), Command::KeepWindow),
        (migrated(OldSource::Closing { m: Epoch(5) }), Command::DropOldReplica),
        (migrated(OldSource::Fenced { at: Epoch(3) }), Command::Done),
        (migrated(OldSource::Purged), Command::Done),
        (State::RolledBack(Cleanup::Drop { purge: false }), Command::CleanUp),
        (State::RolledBack(Cleanup::Drop { purge: true }), Command::CleanUp),
        (State::RolledBack(Cleanup::Purge), Command::CleanUp),
        (State::RolledBack(Cleanup::Done), Command::Done),
        (State::Failed { acknowledged: false }, Command::Done),
        (State::Failed { acknowledged: true }, Command::Done),
    ] {
        let migration = migration(state, Options::default());
        assert_eq!(decide(&ready(&migration)), command, "{state:?}");
    }
}

#[test]
fn a_cutover_begins_when_it_is_due() {
    let at = |micros| CutoverPolicy::At(Timestamp::from_micros(micros));
    for (cutover, requested, retry_due, due) in [
        (CutoverPolicy::Auto, false, true, true),
        (CutoverPolicy::Auto, false, false, false),
        (CutoverPolicy::Manual, false, true, false),
        // An operator's word goes before policy and patience.
        (CutoverPolicy::Manual, true, true, true),
        (CutoverPolicy::Auto, true, false, true),
        (at(NOW.micros()), false, true, true),
        (at(NOW.micros() + 1), false, true, false),
        (at(NOW.micros() + 1), true, true, true),
        (at(NOW.micros()), false, false, false),
    ] {
        let migration = migration(mirroring(requested), Options { cutover, ..Options::default() });
        let seen = Observation { retry_due, ..ready(&migration) };
        let expected = if due { Command::CutOver } else { Command::Follow };
        assert_eq!(decide(&seen), expected, "{cutover:?} {requested} {retry_due}");
    }
}

#[test]
fn a_window_is_closed_when_its_time_is_over() {
    let options = Options { rollback_window_ms: 60_000, ..Options::default() };
    let state = State::Migrated { activated: true, old_source: OldSource::Window { m: Epoch(5) } };
    let migration = Migration { completed_at: Some(NOW), ..migration(state, options) };
    let after = |micros| {
        let now = Timestamp::from_micros(NOW.micros() + micros);
        decide(&Observation { now, ..ready(&migration) })
    };
    assert_eq!(after(MINUTE_US - 1), Command::KeepWindow);
    assert_eq!(after(MINUTE_US), Command::CloseWindow);
    // A clock that was set back keeps it open.
    assert_eq!(after(-MINUTE_US), Command::KeepWindow);
    let options = Options { rollback_window_ms: u64::MAX, ..options };
    let for_ever = Migration { options, ..migration.clone() };
    let seen = Observation { now: Timestamp::from_micros(i64::MAX - 1), ..ready(&for_ever) };
    assert_eq!(decide(&seen), Command::KeepWindow);
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn a_cutover_begins_only_when_what_is_left_is_bounded(
        source_seq in 0..3_000_u64, target_seq in 0..3_000_u64, read_back_seq in 0..3_000_u64,
        bound in 1..2_000_u32, verified in any::<bool>(), target_healthy in any::<bool>(),
        requested in any::<bool>(),
    ) {
        let options = Options { lag_events_max: bound, ..Options::default() };
        let migration = migration(mirroring(requested), options);
        let seen = Observation {
            source_seq, target_seq, read_back_seq, verified, target_healthy, ..ready(&migration)
        };
        let left = |done: u64| source_seq.saturating_sub(done) <= u64::from(bound);
        let ready = verified && target_healthy && left(target_seq) && left(read_back_seq);
        let expected = if ready { Command::CutOver } else { Command::Follow };
        prop_assert_eq!(decide(&seen), expected);
    }
}

#[test]
fn options_are_refused_outside_their_ranges_and_named() {
    let default = Options::default();
    assert_eq!(default.check(), Ok(default));
    for (options, key) in [
        (Options { batch_events: 0, ..default }, "batch_events"),
        (Options { batch_events: 100_001, ..default }, "batch_events"),
        (Options { batch_bytes: 0, ..default }, "batch_bytes"),
        (Options { batch_bytes: (64 << 20) + 1, ..default }, "batch_bytes"),
        (Options { lag_events_max: 0, ..default }, "lag_events_max"),
        (Options { cutover_timeout_ms: 9, ..default }, "cutover_timeout_ms"),
        (Options { cutover_timeout_ms: 600_001, ..default }, "cutover_timeout_ms"),
        (Options { mirror_ack_timeout_ms: 0, ..default }, "mirror_ack_timeout_ms"),
        (Options { mirror_ack_timeout_ms: 60_001, ..default }, "mirror_ack_timeout_ms"),
    ] {
        let error = options.check().unwrap_err();
        assert_eq!(error.key, key);
        assert!(error.to_string().starts_with(&format!("{key} must be ")), "{error}");
    }
}
