//! The lengths of the two histories of a migration, as far as they are known, for the lag while a store does
//! not answer.
//!
//! The process that drives a migration reads the authority's head once a second, in a task of its own, whatever the driver waits
//! for. The replica's head is known from the driver's work, because only it extends the replica. Both are stored here, and in a
//! memo in the control plane, for other processes and for a process that takes over.
//!
//! ```text
//! authority ──ledger, every second──▶ Signal::Head ──┐
//! copy, mirror, cutover ─────────────▶ Signal::Progress ──▶ Heads ──▶ memo ──▶ other processes
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Migration, OldSource, State};
use rehome_ports::clock::Clock;
use rehome_ports::{LedgerStore, Memo};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::Engine;
use crate::migration::OperationError;
use crate::signal::{Observer, Signal, Way};

/// Maximum time that a store may take to answer for a document of a migration.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The name of the memo.
const MEMO: &str = "heads";

/// The lengths of two histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Which of the two stores is the replica.
    pub way: Way,
    /// Of the authority's.
    pub source_seq: u64,
    /// When that was read.
    pub source_at: Timestamp,
    /// Of the replica's, when it answered last; `None`: not known here.
    pub target_seq: Option<u64>,
}

impl Heads {
    /// Whether it is worth to be written after `written`: another length, or one that was read so much later.
    fn is_news(&self, written: &Self, later: Duration) -> bool {
        let lengths = |heads: &Self| (heads.way, heads.source_seq, heads.target_seq);
        let later = i64::try_from(later.as_micros()).unwrap_or(i64::MAX);
        let due = written.source_at.micros().saturating_add(later);
        lengths(self) != lengths(written) || self.source_at.micros() > due
    }

    /// As one line of JSON: `["there", source_seq, source_at, target_seq]`.
    fn write(&self) -> String {
        let way = match self.way {
            Way::There => "there",
            Way::Back => "back",
        };
        let Self { source_seq, source_at, .. } = self;
        let target = self.target_seq.map_or_else(|| "null".to_owned(), |seq| seq.to_string());
        format!("[\"{way}\",{source_seq},{},{target}]", source_at.micros())
    }

    /// What [`Heads::write`] wrote; `None` for anything else.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('[')?.strip_suffix(']')?.split(',');
        let way = match parts.next()? {
            "\"there\"" => Way::There,
            "\"back\"" => Way::Back,
            _ => return None,
        };
        let source_seq = parts.next()?.parse().ok()?;
        let source_at = Timestamp::from_micros(parts.next()?.parse().ok()?);
        let target_seq = match parts.next()? {
            "null" => None,
            seq => Some(seq.parse().ok()?),
        };
        parts.next().is_none().then_some(Self { way, source_seq, source_at, target_seq })
    }
}

/// Whether the old source follows the target.
pub(crate) fn is_window(migration: &Migration) -> bool {
    matches!(migration.state, State::Migrated { old_source: OldSource::Window { .. }, .. })
}

/// The lengths for the migrations that this process drives, from their signals.
#[derive(Clone)]
pub(crate) struct Known {
    migrations: Arc<Mutex<HashMap<MigrationId, Heads>>>,
    clock: Arc<dyn Clock>,
}

impl Known {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { migrations: Arc::default(), clock }
    }

    pub(crate) fn of(&self, id: MigrationId) -> Option<Heads> {
        self.lock().get(&id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MigrationId, Heads>> {
        self.migrations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Neither history gets shorter while the way is the same.
    fn learn(&self, id: MigrationId, news: Heads) {
        let mut migrations = self.lock();
        let kept = migrations.entry(id).or_insert(news);
        if kept.way == news.way {
            kept.source_seq = kept.source_seq.max(news.source_seq);
            kept.source_at = kept.source_at.max(news.source_at);
            kept.target_seq = kept.target_seq.max(news.target_seq);
        } else {
            *kept = news;
        }
    }
}

impl Observer for Known {
    fn hear(&self, signal: &Signal<'_>) {
        match *signal {
            Signal::Progress { migration, way, source_seq, target_seq, .. } => {
                let source_at = self.of(migration.id).map(|known| known.source_at);
                let source_at = source_at.unwrap_or_else(|| self.clock.now());
                let target_seq = Some(target_seq);
                self.learn(migration.id, Heads { way, source_seq, source_at, target_seq });
            }
            Signal::Head { migration, heads } => self.learn(migration.id, heads),
            Signal::Left { migration, .. } => {
                self.lock().remove(&migration.id);
            }
            _ => {}
        }
    }
}

impl Engine {
    /// The last known lengths of the two histories of a migration, from this process
    /// if it drives, else from the memo of the process that does. `None`: unknown.
    pub async fn heads(
        &self,
        id: MigrationId,
    ) -> Result<Option<Heads>, rehome_ports::ControlError> {
        if let Some(heads) = self.heads.of(id).filter(|heads| heads.target_seq.is_some()) {
            return Ok(Some(heads));
        }
        let memo = self.control.memo(id, MEMO).await?;
        Ok(memo.and_then(|memo| Heads::read(&memo.text)))
    }

    /// The lengths of the source's and of the target's history: current, or the last known one if a store does not
    /// answer in time. `None`: unknown.
    pub(crate) async fn lengths(
        &self,
        migration: &Migration,
    ) -> Result<Option<(u64, u64)>, OperationError> {
        let (source, target) =
            (self.stores.get(&migration.source)?, self.stores.get(&migration.target)?);
        let seq = async |store: &Arc<dyn LedgerStore>| {
            let asked = timeout(ANSWER_WITHIN, store.ledger(migration.tenant)).await;
            asked.ok()?.ok().map(|ledger| ledger.head.seq)
        };
        // The target first: a write in between makes the lag too large, never too small.
        let (target, source) = tokio::join!(biased; seq(target), seq(source));
        if let (Some(source), Some(target)) = (source, target) {
            return Ok(Some((source, target)));
        }
        let (mut known_source, mut known_target) = (None, None);
        if let Some(heads) = self.heads(migration.id).await? {
            (known_source, known_target) = match heads.way {
                Way::There => (Some(heads.source_seq), heads.target_seq),
                Way::Back => (heads.target_seq, Some(heads.source_seq)),
            };
        }
        Ok(source.max(known_source).zip(target.max(known_target)))
    }

    /// The store that has the authority and the way to the other, while one follows the other.
    fn authority(&self, migration: &Migration) -> Option<(Way, Arc<dyn LedgerStore>)> {
        let (way, store) = match migration.state {
            State::Working(_) | State::CutoverPaused => (Way::There, &migration.source),
            State::Migrated { old_source: OldSource::Window { .. }, .. } => {
                (Way::Back, &migration.target)
            }
            _ => return None,
        };
        Some((way, Arc::clone(self.stores.get(store).ok()?)))
    }

    /// Reads the authority's head periodically, and writes the memo. Runs beside the work on the
    /// migration, and waits for none of it.
    pub(crate) async fn watch_heads(
        &self,
        seen: &watch::Receiver<Migration>,
    ) -> std::convert::Infallible {
        let id = seen.borrow().id;
        let asked = async {
            self.recall_heads(seen).await;
            loop {
                sleep(self.config.head_poll).await;
                // In a window it is read for all windows of the process together.
                if !is_window(&seen.borrow()) {
                    self.ask_head(seen).await;
                }
            }
        };
        let kept = async {
            let mut written: Option<Heads> = None;
            loop {
                sleep(self.config.head_poll).await;
                let rests =
                    if is_window(&seen.borrow()) { self.config.rest_poll } else { Duration::ZERO };
                let Some(heads) = self.heads.of(id) else { continue };
                if written.is_some_and(|written| !heads.is_news(&written, rests)) {
                    continue;
                }
                let memo = Memo { at: self.clock.now(), text: heads.write() };
                // What cannot be written now is written the next time.
                let keeping = self.control.set_memo(id, MEMO, &memo);
                if let Ok(Ok(())) = timeout(self.config.head_within, keeping).await {
                    written = Some(heads);
                }
            }
        };
        tokio::select! {
            biased;
            never = asked => never,
            never = kept => never,
        }
    }

    /// The lengths from before this process took the migration: the only ones while the replica does not
    /// answer.
    async fn recall_heads(&self, seen: &watch::Receiver<Migration>) {
        let migration = seen.borrow().clone();
        let Some((way, _)) = self.authority(&migration) else { return };
        let memo = timeout(self.config.head_within, self.control.memo(migration.id, MEMO)).await;
        let Ok(Ok(Some(memo))) = memo else { return };
        if let Some(heads) = Heads::read(&memo.text).filter(|heads| heads.way == way) {
            self.tell(&Signal::Head { migration: &migration, heads });
        }
    }

    async fn ask_head(&self, seen: &watch::Receiver<Migration>) {
        let migration = seen.borrow().clone();
        let Some((way, store)) = self.authority(&migration) else { return };
        let source_at = self.clock.now();
        let asked = timeout(self.config.head_within, store.ledger(migration.tenant)).await;
        let Ok(Ok(ledger)) = asked else { return };
        let known = self.heads.of(migration.id).filter(|known| known.way == way);
        let target_seq = known.and_then(|known| known.target_seq);
        let heads = Heads { way, source_seq: ledger.head.seq, source_at, target_seq };
        self.tell(&Signal::Head { migration: &migration, heads });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_written_again_when_it_has_changed_or_the_one_written_is_old() {
        let at = |micros| Timestamp::from_micros(micros);
        let heads = |source_seq, micros| Heads {
            way: Way::Back,
            source_seq,
            source_at: at(micros),
            target_seq: Some(5),
        };
        let later = Duration::from_micros(10);
        assert!(!heads(5, 110).is_news(&heads(5, 100), later));
        assert!(heads(5, 111).is_news(&heads(5, 100), later));
        assert!(heads(6, 101).is_news(&heads(5, 100), later));
        assert!(!heads(5, 100).is_news(&heads(5, 100), Duration::ZERO));
    }

    #[test]
    fn what_was_written_is_read_and_what_is_not_ours_says_nothing() {
        let source_at = Timestamp::from_micros(1_700_000_000_000_000);
        for target_seq in [None, Some(7)] {
            for way in [Way::There, Way::Back] {
                let heads = Heads { way, source_seq: 12, source_at, target_seq };
                assert_eq!(Heads::read(&heads.write()), Some(heads));
            }
        }
        for text in ["", "[]", "[\"there\",1,2]", "[\"there\",1,2,3,4]", "[\"up\",1,2,3]"] {
            assert_eq!(Heads::read(text), None, "{text}");
        }
    }
}
