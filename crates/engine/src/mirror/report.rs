//! What a mirror reports to observers.

use rehome_domain::migration::Migration;
use rehome_ports::{Class, StoreError};
use tokio::time::Instant;

use crate::signal::{Observers, Signal, Way};

/// What one write has in it.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub(super) events: u64,
    /// Written since mirroring began.
    pub(super) written: u64,
}

impl Batch {
    /// Nothing but the question whether the store is there, for the next event.
    pub(super) const PROBE: Self = Self { events: 1, written: 1 };
}

/// Reports the mirror's work to observers.
pub(super) struct Teller {
    pub(super) migration: Migration,
    pub(super) way: Way,
    /// The length of the authority's history when mirroring began.
    pub(super) history: u64,
    pub(super) observers: Observers,
}

impl Teller {
    pub(super) fn batch(&self, events: u64, last: u64) -> Batch {
        Batch { events, written: last.saturating_sub(self.history).min(events) }
    }

    /// How far the replica is behind.
    pub(super) fn progress(&self, source_seq: u64, target_seq: u64) {
        self.observers.tell(&Signal::Progress {
            migration: &self.migration,
            way: self.way,
            source_seq,
            target_seq,
            read_back_seq: None,
        });
    }

    pub(super) fn mirrored(&self, batch: Batch, upto: u64, began: Instant) {
        let (migration, way, took) = (&self.migration, self.way, began.elapsed());
        let Batch { events, written } = batch;
        self.observers.tell(&Signal::Mirrored { migration, way, events, written, upto, took });
    }

    pub(super) fn failed(&self, batch: Batch, began: Instant, error: &StoreError) {
        // The replica has changed: the refusal was not the target's failure.
        if error.class() != Class::Fenced {
            self.tell_failure(batch, began, &error.to_string());
        }
    }

    pub(super) fn hangs(&self, batch: Batch, began: Instant) {
        let waited = began.elapsed().as_secs_f64();
        let error =
            format!("the store has not answered for {waited:.0} s; the write is still waiting");
        self.tell_failure(batch, began, &error);
    }

    fn tell_failure(&self, batch: Batch, began: Instant, error: &str) {
        let (migration, way, took) = (&self.migration, self.way, began.elapsed());
        let Batch { events, written } = batch;
        let written = written.max(1);
        self.observers.tell(&Signal::MirrorFailed { migration, way, events, written, error, took });
    }
}
