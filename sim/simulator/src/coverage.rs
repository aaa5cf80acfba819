//! Which states the runs came to, counted by name.

use std::collections::BTreeMap;

/// How often each state was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(pub BTreeMap<String, u64>);

impl Coverage {
    pub(crate) fn count(&mut self, state: impl Into<String>) {
        *self.0.entry(state.into()).or_default() += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (state, times) in &other.0 {
            *self.0.entry(state.clone()).or_default() += times;
        }
    }

    /// The states of [`REQUIRED`] that were never reached.
    pub fn missing(&self) -> Vec<&'static str> {
        REQUIRED.iter().copied().filter(|state| !self.0.contains_key(*state)).collect()
    }
}

/// What a few hundred seeds have to come to, or they show little.
pub const REQUIRED: &[&str] = &[
    // Each phase, as a driver saw it.
    "phase pending",
    "phase bulk_copy",
    "phase dual_write",
    "phase cutover_paused",
    "phase migrated",
    "phase rolled_back",
    "phase paused",
    // Another process takes over in each phase with a driver.
    "taken over in pending",
    "taken over in bulk_copy",
    "taken over in dual_write",
    "taken over in cutover_paused",
    "taken over in migrated",
    "taken over in rolled_back",
    // Each way out of a cutover.
    "switched by a driver",
    "rolled back by a router",
    "rolled back by a driver, too late",
    "rolled back by a driver, failed",
    "cutover not ready",
    // A store keeps how far a log was seen.
    "an anchor of a log",
    // What operators do.
    "fact paused",
    "fact resumed",
    "fact aborted",
    "fact tuned",
    "fact window_closed",
    "fact cutover_requested",
    "fact cutover_withdrawn",
    "fact purged",
    "fact replica_dropped",
    "fact repair_requested",
    "fact cut_back",
    "a repair",
    "a second migration",
    "a return",
    // Refusals of the stores, and of the control plane's compare-and-set.
    "append refused: StaleEpoch",
    "append refused: Fenced",
    "append refused: WrongRole",
    "activate refused: StaleEpoch",
    "extend refused: NotAtHead",
    "extend refused: StaleEpoch",
    "fence refused: StaleEpoch",
    "fence refused: WrongRole",
    "switched refused: stale",
    "cutover_rolled_back refused: stale",
    // A lost reply of each step.
    "append: reply lost",
    "extend: reply lost",
    "fence: reply lost",
    "activate: reply lost",
    "adopt: reply lost",
    "drop_replica: reply lost",
    "purge: reply lost",
    "create_route: reply lost",
    "mark_created: reply lost",
    "started: reply lost",
    "copy_started: reply lost",
    "copy_completed: reply lost",
    "cutover_started: reply lost",
    "switched: reply lost",
    "cutover_rolled_back: reply lost",
    "replica_dropped: reply lost",
    // Death and sleep at the steps of a cutover.
    "cutover_started: killed after",
    "fence: killed after",
    "switched: killed before",
    "switched: killed after",
    "activate: asleep before",
    "fence: late",
    "switched: late",
    // The replies to clients.
    "told: acknowledged",
    "told: acknowledged at another process than first asked",
    "told: acknowledged after a doubt",
    "told: version conflict",
    "told: writes paused",
    "told: outcome unknown",
    "told: unavailable",
    "told: busy",
    "a read answered by a fenced store",
    "a read answered by a replica store",
    "a read of a store that was left",
    "a subscriber that began again",
];
