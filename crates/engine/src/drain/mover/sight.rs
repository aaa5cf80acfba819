//! Monitors a move beside the work on it: carries out orders, and detects a migration that must be
//! aborted.

use std::time::Duration;

use rehome_domain::migration::{Migration, Options, Phase, State as Migrating, Undone, Working};
use rehome_ports::{ControlError, Marks};
use tokio::time::Instant;

use crate::config::Backoff;

use super::{End, LOOK_EVERY, Look, Mover, Orders, STALLED_AFTER};

/// Maximum time for the source to return its head.
const HEAD_WITHIN: Duration = Duration::from_secs(2);
/// Longest time until a vetoed cutover is requested again.
const REQUEST_AGAIN_MAX: Duration = Duration::from_secs(60);

impl Mover {
    /// Monitors the migration while it is driven: carries out orders, and ends when it has to be
    /// aborted.
    pub(super) async fn look_on(&mut self) -> End {
        let mut watched = Watched::default();
        let mut rates = None;
        let mut requests = Backoff::between(LOOK_EVERY, REQUEST_AGAIN_MAX);
        let mut next_request = Instant::now();
        // Since when a hook has something against the cutover.
        let mut held_since = None;
        loop {
            let orders = self.orders.borrow_and_update().clone();
            let released = *self.released.borrow_and_update();
            if orders.cancelled {
                return End::Cancel;
            }
            if rates.is_some_and(|rates| rates != orders.rates) {
                let (events, bytes) = orders.rates;
                let operations = self.operations();
                let tuned = operations.tune(self.id, |options| Options {
                    copy_rate_max: events,
                    copy_bytes_rate_max: bytes,
                    ..options
                });
                // One that is over has no rates to tune; one that cannot be tuned now is tuned next time.
                if tuned.await.is_ok() {
                    rates = Some(orders.rates);
                }
            } else {
                rates = Some(orders.rates);
            }
            // What the control plane does not answer now it answers the next time.
            if let Ok(seen) = self.see(&orders).await {
                let held = seen.is_held_up();
                let age = if held {
                    held_since.get_or_insert_with(Instant::now).elapsed()
                } else {
                    watched.age(&seen)
                };
                let works = !seen.ready || held;
                let look = Look { stalled: age > STALLED_AFTER && works, ready: seen.ready };
                self.look.send_if_modified(|known| std::mem::replace(known, look) != look);
                if let Some(why) = seen.hopeless(&orders, age) {
                    return End::GiveUp(why);
                }
                let due = !held || Instant::now() >= next_request;
                if seen.ready && released && orders.may_cut_over && !seen.requested && due {
                    next_request = Instant::now() + requests.next();
                    // A request that is lost, or that a hook vetoed, is repeated at a later poll.
                    let _ = self.operations().request_cutover(self.id).await;
                }
            }
            tokio::select! {
                biased;
                _ = self.released.changed() => {}
                _ = self.orders.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn see(&self, orders: &Orders) -> Result<Seen, ControlError> {
        let migration = self.engine.control.migration(self.id).await?;
        let marks = self.engine.control.marks(self.id).await?;
        let requested = match migration.state {
            Migrating::Working(Working::DualWrite { cutover_requested }) => Some(cutover_requested),
            _ => None,
        };
        let waits = requested.is_some() && orders.settings.bounds_cutovers();
        let ready = waits && self.is_ready(&migration, &marks).await;
        Ok(Seen { migration, marks, ready, requested: requested == Some(true) })
    }

    /// Whether the remaining work in the pause of a cutover is bounded.
    async fn is_ready(&self, migration: &Migration, marks: &Marks) -> bool {
        let Some(mark) = marks.read_back.filter(|mark| mark.m == migration.m) else { return false };
        let Ok(source) = self.engine.stores.get(&migration.source) else { return false };
        let ledger = tokio::time::timeout(HEAD_WITHIN, source.ledger(migration.tenant)).await;
        let bound = u64::from(migration.options.lag_events_max);
        migration.violations.open.is_none()
            && matches!(ledger, Ok(Ok(ledger)) if ledger.head.seq.saturating_sub(mark.head.seq) <= bound)
    }
}

/// An observation.
struct Seen {
    migration: Migration,
    marks: Marks,
    ready: bool,
    requested: bool,
}

impl Seen {
    /// A hook vetoed its cutover.
    fn is_held_up(&self) -> bool {
        self.migration.undone() == Some(Undone::Vetoed)
    }

    /// Why the migration must be aborted, if so. `age` is the time since it made progress.
    fn hopeless(&self, orders: &Orders, age: Duration) -> Option<String> {
        let settings = &orders.settings;
        let (migration, phase) = (&self.migration, self.migration.state.phase());
        if phase.is_terminal() {
            return None;
        }
        let attempts = migration.cutover_attempts;
        if attempts >= settings.cutovers_max && phase != Phase::CutoverPaused {
            let last = migration.error.as_deref().unwrap_or("unknown reason");
            return Some(format!("its cutover was rolled back {attempts} times: {last}"));
        }
        if let Some(open) = &migration.violations.open {
            let what = &open.finding.first;
            return Some(format!("a verification found a difference: {what}"));
        }
        let patience = Duration::from_millis(settings.patience_ms);
        if migration.undone() == Some(Undone::Withdrawn) {
            return Some("an operator withdrew its cutover".to_owned());
        }
        // One that waits for its turn to cut over does nothing wrong.
        let held = self.is_held_up();
        ((!self.ready || held) && age >= patience).then(|| {
            let seconds = age.as_secs();
            if let Some(why) = migration.error.as_deref().filter(|_| held) {
                return format!("{why}, for {seconds} s");
            }
            format!("it made no progress in {phase} for {seconds} s; see `migration watch`")
        })
    }
}

/// When a migration made progress last.
#[derive(Default)]
struct Watched {
    last: Option<(Phase, u32, Option<u64>, i64, Instant)>,
}

impl Watched {
    /// How long ago it made progress.
    fn age(&mut self, seen: &Seen) -> Duration {
        let phase = seen.migration.state.phase();
        let attempts = seen.migration.cutover_attempts;
        let read_back = seen.marks.read_back.map(|mark| mark.head.seq);
        // Marks of a copy move with every batch; in dual write they also move when nothing does.
        let copied = match phase {
            Phase::BulkCopy => seen.marks.updated_at.micros(),
            _ => 0,
        };
        let now = (phase, attempts, read_back, copied);
        match self.last {
            Some((a, b, c, d, since)) if (a, b, c, d) == now => since.elapsed(),
            _ => {
                self.last = Some((now.0, now.1, now.2, now.3, Instant::now()));
                Duration::ZERO
            }
        }
    }
}
