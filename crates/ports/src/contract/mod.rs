//! One suite per port: what every adapter must do, as cases that each get a fresh adapter.
//!
//! An adapter's test file names a function that returns a fresh, empty adapter (with everything that must live
//! as long, such as a temporary folder), and gets one test per case:
//!
//! ```text
//! async fn store() -> (Arc<dyn LedgerStore>, TempDir) { .. }
//! async fn control(clock: Arc<ManualClock>) -> (Arc<dyn ControlPlane>, TempDir) { .. }
//!
//! rehome_ports::ledger_store_contract!(store);
//! rehome_ports::control_plane_contract!(control);
//! rehome_ports::access_registry_contract!(registry);
//! rehome_ports::fleet_contract!(fleet);
//! ```
//!
//! The cases state the guarantees for the engine, not their implementation: where a port
//! leaves room (an `extend` that takes fewer events, a shorter page) they accept every result that
//! the port allows. Expectations are written out by hand where the protocol's safety depends on
//! them, and computed by the domain's functions only where a case walks through a whole table.

// A contract suite is test code: a failed expectation is a panic.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

pub mod access_registry;
pub mod control_plane;
pub mod fleet;
pub mod kit;
pub mod ledger_store;

/// Expands to one `#[tokio::test]` per case of [`ledger_store`]. `make` is an `async fn` without
/// arguments that answers a fresh store and a guard that lives as long as the case.
#[macro_export]
macro_rules! ledger_store_contract {
    ($make:ident) => {
        $crate::contract_cases! {
            ledger_store, ledger_store_contract, make = ($make), arguments = (),
            appends: [
                an_exact_version_is_appended_to,
                any_version_is_appended_to,
                no_stream_is_a_stream_without_events,
                a_version_conflict_says_the_actual_version,
                one_of_many_writers_with_the_same_expectation_wins,
                a_group_has_an_outcome_for_each_append,
                a_group_sees_what_came_before_in_it,
                a_chain_ends_with_the_first_that_is_refused,
                an_empty_group_is_no_append,
                an_empty_append_is_a_conflict,
                numbering_is_gap_free_per_tenant_and_stream,
                tenants_are_independent,
                writers_at_once_make_one_history,
                times_are_kept_or_set,
            ],
            retries: [
                a_retry_is_answered_as_the_first_time,
                a_retry_after_later_appends_is_answered_as_the_first_time,
                a_retry_with_a_stale_expectation_is_answered_as_the_first_time,
                a_retry_on_the_store_that_took_over_is_answered_as_the_first_time,
                a_retry_under_a_stale_epoch_is_refused,
                an_id_with_other_content_is_a_conflict,
                an_id_in_another_stream_is_a_conflict,
                a_part_of_a_batch_is_a_conflict,
                a_batch_in_another_order_is_a_conflict,
                an_id_twice_in_one_append_is_a_conflict,
            ],
            reads: [
                an_unknown_tenant_reads_as_absent,
                a_feed_is_read_in_pages,
                a_stream_is_read_in_pages,
                a_page_is_bounded_by_bytes_and_never_empty,
                the_end_and_what_is_past_it_are_empty_pages,
                positions_beyond_every_history_are_past_the_end,
                digests_are_those_of_the_chain,
                a_feed_and_its_ledger_are_of_one_snapshot,
                a_stream_and_its_version_are_of_one_snapshot,
            ],
            listing: [
                lengths_are_those_of_the_ledgers_in_the_order_of_the_question,
                streams_are_counted_from_the_rows,
                streams_are_counted_up_to_a_position,
                streams_are_listed_in_bytewise_order,
                tenants_are_listed_in_pages,
                the_store_tells_about_itself,
            ],
            authority: [
                a_newborn_is_activated,
                a_history_that_should_be_there_is_missing,
                a_source_that_was_never_fenced_is_activated,
                a_fenced_source_is_activated_after_a_roll_back,
                a_replica_that_reaches_the_base_is_activated,
                a_replica_that_is_behind_the_base_is_not,
                an_activation_is_repeated,
                a_late_activation_is_refused,
                a_fence_is_final_and_is_repeated,
                a_late_fence_is_refused,
                every_append_acknowledged_before_a_fence_is_in_its_head,
                a_stale_epoch_appends_nothing,
            ],
            replicas: [
                an_absent_tenant_is_adopted,
                a_fenced_history_is_adopted_at_the_proven_head,
                a_wrong_head_is_not_adopted,
                an_active_tenant_is_not_adopted,
                a_sleepers_adopt_is_refused_after_the_drop,
                an_adopt_is_repeated_after_extends,
                a_replica_is_extended_to_the_sources_history,
                an_extend_by_nothing_answers_the_head,
                an_extend_from_another_head_is_refused,
                an_extend_that_breaks_the_chain_is_refused,
                an_extend_that_breaks_the_chain_later_leaves_an_honest_prefix,
                an_extend_with_a_gap_is_refused,
                two_extends_at_once_make_one_history,
                a_late_extend_is_refused_after_drop_and_activate,
                a_drop_is_repeated_and_a_late_one_refused,
            ],
            purges: [
                a_purge_goes_in_chunks_and_leaves_an_honest_prefix,
                a_purge_is_repeated_on_its_tombstone,
                a_history_without_events_is_purged_to_a_tombstone,
                a_tombstone_keeps_its_epoch,
                a_creation_after_a_purge_is_refused,
                a_tombstone_is_adopted_by_a_later_migration,
                a_half_purged_history_is_adopted_where_it_ends,
                what_was_purged_can_be_written_anew,
                a_late_purge_of_the_authority_is_refused,
                a_purge_needs_a_fence,
                readers_during_a_purge_see_honest_prefixes,
            ],
            cuts: [
                a_history_is_cut_back_in_chunks_to_a_head_that_it_holds,
                a_cut_back_is_repeated,
                a_cut_back_to_nothing_leaves_a_fenced_history,
                a_cut_back_to_what_is_not_there_is_refused,
                a_cut_back_needs_a_fence_at_its_epoch,
                what_was_cut_back_is_adopted_and_copied_again,
            ],
            rules: [
                every_operation_answers_by_the_rules_in_every_ledger,
                every_operation_repeats_by_the_rules,
            ],
            anchors: [
                anchors_are_kept_and_never_go_back,
                anchors_are_listed_in_pages_and_forgotten_by_tenant,
            ],
            kept_rows: [
                rows_are_read_back_with_their_columns,
                a_history_goes_on_without_rows_and_is_copied_with_them,
                rows_that_do_not_follow_on_others_are_refused,
                rows_of_a_stream_with_a_gap_are_refused,
                rows_are_cut_back_and_purged_with_their_events,
                tenants_with_rows_and_without_are_independent,
            ],
            contents: [
                stream_names_are_kept_bytewise,
                names_that_look_alike_are_different_streams,
                event_types_are_kept_bytewise,
                json_is_kept_verbatim,
                json_on_many_lines_is_kept_on_one,
                large_and_deep_json_is_kept,
                an_extend_takes_what_is_over_the_limits,
                times_before_the_epoch_and_far_ahead_are_kept,
            ],
        }
    };
}

/// Expands to one `#[tokio::test]` per case of [`control_plane`]. `make` is an `async fn` that
/// takes the `Arc<ManualClock>` for the control plane, and returns a fresh one and a
/// guard that lives as long as the case.
#[macro_export]
macro_rules! control_plane_contract {
    ($make:ident) => {
        $crate::contract_cases! {
            control_plane, control_plane_contract, make = ($make), arguments = (clock),
            routes: [
                a_new_tenant_gets_a_route,
                the_loser_of_a_creation_gets_the_winners_route,
                creations_at_once_have_one_winner,
                a_creation_is_marked_complete,
                an_unknown_tenant_has_no_route,
                routes_are_listed_in_pages,
            ],
            records: [
                a_fact_moves_the_revision_only_if_it_routes,
                a_stale_revision_is_answered_with_the_route,
                a_fact_that_routes_needs_a_revision,
                of_two_at_once_exactly_one_wins, of_a_cutover_and_its_withdrawal_exactly_one_wins,
                step_6_and_the_roll_back_exclude_each_other,
                what_cannot_follow_is_refused_and_changes_nothing,
                a_start_is_refused_when_it_may_not_be,
                the_unknown_is_refused,
                a_migration_of_another_tenant_is_not_touched,
                a_migration_that_is_over_does_not_touch_the_next_one,
                the_log_is_dated_by_the_control_planes_time,
                the_log_is_a_hash_chain,
                the_log_is_read_in_pages,
                a_route_row_anchors_the_log_of_its_last_migration,
                what_people_write_is_kept_verbatim,
                options_are_kept_and_retuned,
            ],
            lives: [
                there,
                there_and_back_within_the_window,
                aborted_with_a_purge,
                aborted_before_it_began,
                failed_then_aborted,
                paused_and_resumed,
                rolled_back_and_tried_again,
                one_migration_after_another,
            ],
            recovery: [
                a_tenant_without_a_migration_is_recovered,
                a_migration_under_way_fails_by_a_recovery,
                a_finished_migration_stays_finished,
                a_recovery_never_lowers_the_epochs,
                a_recovery_on_a_stale_revision_is_refused,
            ],
            removals: [
                a_tenant_is_removed_and_has_a_new_life,
                a_removal_that_is_cancelled_leaves_the_tenant_at_a_new_epoch,
                a_turn_on_a_stale_revision_is_refused,
                of_two_turns_at_once_exactly_one_is_recorded,
                what_may_not_be_removed_is_refused,
                no_migration_starts_in_a_removal,
                a_removed_tenant_leaves_its_migration_its_checkpoints_and_the_lists,
                a_recovery_ends_a_removal,
            ],
            leases: [
                a_free_lease_is_taken,
                a_held_lease_is_not_taken,
                a_lease_is_renewed,
                a_lease_that_ran_out_is_taken_over,
                a_lease_that_ran_out_is_renewed_by_its_holder,
                a_lease_is_released_by_its_holder_only,
                one_of_many_takes_a_lease,
                leases_of_migrations_are_independent,
                the_leases_that_are_held_are_answered_together,
                a_lease_from_a_clock_ahead_runs_out,
            ],
            marks: [
                marks_are_empty_at_first,
                marks_are_kept_and_move_no_revision,
                a_read_back_mark_never_goes_back,
                a_later_epoch_begins_its_mark_anew,
                memos_are_kept_per_migration_and_name,
                checkpoints_are_kept_per_tenant_and_name,
                checkpoints_are_listed,
            ],
            listing: [
                migrations_are_listed_newest_first,
                migrations_are_filtered,
                migrations_are_listed_in_pages,
            ],
        }
    };
}

/// Expands to one `#[tokio::test]` per case of [`access_registry`]. `make` is as for
/// [`control_plane_contract!`](crate::control_plane_contract), and answers an
/// [`AccessRegistry`](crate::AccessRegistry).
#[macro_export]
macro_rules! access_registry_contract {
    ($make:ident) => {
        $crate::contract_cases! {
            access_registry, access_registry_contract, make = ($make), arguments = (clock),
            tokens: [
                a_new_control_plane_is_open_and_knows_nobody,
                a_token_is_kept_as_it_was_made_and_closes_the_gate,
                a_token_is_revoked_once_and_its_sessions_end,
                a_token_that_is_replaced_ends_when_it_is_said_and_never_later,
                a_use_is_noted_never_goes_back_and_moves_no_revision,
                only_what_changed_is_told,
                the_gate_is_opened_only_by_who_says_so,
            ],
            sessions: [
                a_session_is_kept_seen_and_ended,
                sessions_of_a_token_have_a_bound_and_what_ran_out_goes,
            ],
        }
    };
}

/// Expands to one `#[tokio::test]` per case of [`fleet`]. `make` is as for
/// [`control_plane_contract!`](crate::control_plane_contract), and answers a
/// [`fleet::Subject`].
#[macro_export]
macro_rules! fleet_contract {
    ($make:ident) => {
        $crate::contract_cases! {
            fleet, fleet_contract, make = ($make), arguments = (clock),
            drains: [
                a_drain_is_kept_as_it_was_started_and_a_repeat_changes_nothing,
                facts_move_the_drain_and_its_tenants_and_are_logged,
                facts_are_recorded_together_or_not_at_all,
                one_of_many_starts_a_tenant,
                tenants_are_listed_by_state_in_their_order_and_in_pages,
                drains_are_listed_newest_first,
                what_is_not_there_is_not_known,
                processes_attend_until_they_leave_or_their_time_is_over,
            ],
            notices: [
                a_cordoned_store_gets_no_new_tenants,
                a_cordoned_store_gets_no_migrations_but_returns,
                a_pinned_tenant_is_not_started,
                pins_are_listed_in_pages,
            ],
            lists: [
                routes_are_found_by_store_phase_pin_and_range,
                migrations_are_found_by_store_phase_and_range,
            ],
        }
    };
}

/// One test per case; see the suites' own macros.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_cases {
    (
        $suite:ident, $name:ident, make = ($make:ident), arguments = $arguments:tt,
        $($room:ident: [$($case:ident),* $(,)?],)*
    ) => {
        mod $name {
            $(mod $room {
                $($crate::contract_case!($suite, $room, $case, $make, $arguments);)*
            })*
        }
    };
}

/// One test; see the suites' own macros.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_case {
    ($suite:ident, $room:ident, $case:ident, $make:ident, ()) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (store, _guard) = super::super::$make().await;
            $crate::contract::$suite::$room::$case(store).await;
        }
    };
    ($suite:ident, $room:ident, $case:ident, $make:ident, (clock)) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let clock = ::std::sync::Arc::new($crate::memory::ManualClock::default());
            let (control, _guard) = super::super::$make(::std::sync::Arc::clone(&clock)).await;
            $crate::contract::$suite::$room::$case(control, clock).await;
        }
    };
}
