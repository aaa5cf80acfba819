//! The audit chain: whether the logs of migrations are as they were recorded.
//!
//! ```text
//! logs ──▶ check: entries one by one, each with the one before ──▶ marked in what is shown
//!            │
//!            │      beside what has seen the log from outside: anchors
//!            │
//!            ├─▶ verify: all logs, at once          ──▶ report
//!            ├─▶ pass: all logs, a few at a time    ──▶ findings ──▶ health
//!            └─▶ export: as lines, signed, followed ──▶ another system
//! ```
//!
//! The chain reveals an entry that was changed or removed. What has seen the log reveals missing entries at its end,
//! and a log that was rewritten: the migration's row, which has its state, and [`anchors`].

mod anchors;
mod drains;
mod export;
mod pass;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use rehome_domain::ids::{DrainId, MigrationId, TenantId};
use rehome_domain::migration::{Fact, Migration, Phase, State, transition};
use rehome_ports::log_chain::{Break, BrokenChain, Followed, follows};
use rehome_ports::{ControlError, ControlPlane, Fault, FaultKind, LogEntry};

pub(crate) use export::export;
pub use export::{AuditExport, Exported};
pub(crate) use pass::Pass;
pub(crate) use verify::Verification;

/// Entries read at once.
const PAGE: usize = 500;
/// Maximum number of findings in a process.
const KEPT: usize = 1_000;

/// What this process knows to be broken. Once known it is reported until the log is seen to be whole.
#[derive(Default)]
pub(crate) struct Findings {
    chains: Mutex<BTreeMap<MigrationId, (TenantId, BrokenChain)>>,
    /// By migration and the anchor's place.
    anchors: Mutex<BTreeMap<(MigrationId, String), BrokenChain>>,
    drains: Mutex<BTreeMap<DrainId, BrokenChain>>,
}

impl Findings {
    /// Records the result for a log; returns whether it is newly broken.
    fn looked_at(&self, id: MigrationId, tenant: TenantId, broken: Option<BrokenChain>) -> bool {
        let mut known = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        match broken {
            Some(broken) if known.len() < KEPT || known.contains_key(&id) => {
                known.insert(id, (tenant, broken)).is_none()
            }
            Some(_) => false,
            None => {
                known.remove(&id);
                false
            }
        }
    }

    /// What came of comparing a log with the anchor of a place; whether it is news that they differ.
    fn compared(&self, id: MigrationId, place: &str, broken: Option<BrokenChain>) -> bool {
        let mut known = self.anchors.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (id, place.to_owned());
        match broken {
            Some(broken) if known.len() < KEPT || known.contains_key(&key) => {
                known.insert(key, broken).is_none()
            }
            Some(_) => false,
            None => {
                known.remove(&key);
                false
            }
        }
    }

    /// What came of looking at the log of a drain.
    fn looked_at_drain(&self, id: DrainId, broken: Option<BrokenChain>) {
        let mut known = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        match broken {
            Some(broken) if known.len() < KEPT => drop(known.insert(id, broken)),
            Some(_) => {}
            None => drop(known.remove(&id)),
        }
    }

    /// After a walk over all anchors: what it did not find again holds no more, but for places that it could
    /// not read.
    fn walked(&self, found: &BTreeSet<(MigrationId, String)>, unread: &BTreeSet<String>) {
        let mut known = self.anchors.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, _| found.contains(key) || unread.contains(&key.1));
    }

    /// A sentence for each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let anchors = self.anchors.lock().unwrap_or_else(PoisonError::into_inner);
        let chains_of = chains.iter().map(|(id, (_, broken))| (id, broken));
        let anchors = anchors.iter().map(|((id, _), broken)| (id, broken));
        let sentence = |(id, broken): (&MigrationId, &BrokenChain)| {
            format!("Migration {id}: {broken}; `rehome audit verify` checks all logs")
        };
        let drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        let of_drain = |(id, broken): (&DrainId, &BrokenChain)| {
            format!("Drain {id}: {broken}; `rehome audit verify` checks all logs")
        };
        // A log that is broken by itself is reported once.
        let of_migrations = chains_of.chain(anchors.filter(|(id, _)| !chains.contains_key(id)));
        of_migrations.map(sentence).chain(drains.iter().map(of_drain)).collect()
    }
}

/// A log that was followed to its end.
struct Whole {
    entries: u64,
    /// The first entry that is not as it was recorded.
    broken: Option<BrokenChain>,
    /// The migration's state after it.
    stand: Stand,
}

/// The state of a migration, by its log alone.
#[derive(Clone, Copy, Debug, Default)]
struct Stand {
    state: Option<State>,
    cutovers: u32,
    /// An operator chose the authority: the facts alone do not determine the rest.
    recovered: bool,
}

impl Stand {
    fn after(&mut self, fact: &Fact) {
        self.state = match (self.state, fact) {
            (None, Fact::Started { .. }) => Some(State::Pending),
            (Some(state), fact) => transition(state, fact).ok().or(Some(state)),
            (None, _) => None,
        };
        self.cutovers += u32::from(matches!(fact, Fact::CutoverStarted { .. }));
        self.recovered |= matches!(fact, Fact::Recovered { .. });
    }

    /// What the row has and the log lacks.
    fn missing(&self, row: &Migration) -> Option<String> {
        let phase = self.state.map(State::phase);
        let fits = self.recovered
            || phase == Some(row.state.phase()) && self.cutovers == row.cutover_attempts;
        (!fits).then(|| {
            format!(
                "its row has the migration in {} after {} cutovers, its log in {} after {}",
                row.state.phase(),
                row.cutover_attempts,
                phase.map_or("nothing", Phase::as_str),
                self.cutovers
            )
        })
    }
}

/// Follows the log of a migration to its end, and compares where it ends with the row, which is written with
/// each entry. `row` may be older than the log.
async fn look(control: &dyn ControlPlane, row: &Migration) -> Result<Whole, ControlError> {
    let id = row.id;
    let mut whole = follow(control, id, Followed::START, |_, _, _| true).await?;
    if whole.broken.is_some() || whole.stand.missing(row).is_none() {
        return Ok(whole);
    }
    // More may have been recorded meanwhile, to the log and to the row.
    let row = control.migration(id).await?;
    let Some(why) = whole.stand.missing(&row) else { return Ok(whole) };
    if control.log(id, whole.entries, 1).await?.is_empty() {
        let index = whole.entries + 1;
        whole.broken = Some(BrokenChain { index, how: Break::CutOff(why) });
    }
    Ok(whole)
}

/// Follows a log to its end; `seen` gets each entry, with its problem if any, and returns whether to continue.
async fn follow(
    control: &dyn ControlPlane,
    id: MigrationId,
    mut before: Followed,
    mut seen: impl FnMut(Followed, &LogEntry, Option<&BrokenChain>) -> bool,
) -> Result<Whole, ControlError> {
    let mut whole = Whole { entries: 0, broken: None, stand: Stand::default() };
    loop {
        let (page, over) = page(control, id, before.index).await?;
        let Some(page) = page else {
            let why = over.unwrap_or_default();
            let index = before.index + 1;
            whole.broken.get_or_insert(BrokenChain { index, how: Break::Unreadable(why) });
            return Ok(whole);
        };
        for entry in &page {
            let broken = follows(before, entry).err();
            whole.entries += 1;
            whole.stand.after(&entry.fact);
            let go_on = seen(before, entry, broken.as_ref());
            before = Followed::to(entry);
            whole.broken = whole.broken.or(broken);
            if !go_on {
                return Ok(whole);
            }
        }
        if page.is_empty() {
            // The first entry of a log is a start.
            if before == Followed::START {
                whole.broken = Some(BrokenChain { index: 1, how: Break::Missing });
            }
            return Ok(whole);
        }
    }
}

/// The next entries; where one of them cannot be read, those before it, and then why it cannot be.
async fn page(
    control: &dyn ControlPlane,
    id: MigrationId,
    after: u64,
) -> Result<(Option<Vec<LogEntry>>, Option<String>), ControlError> {
    let mut limit = PAGE;
    loop {
        match control.log(id, after, limit).await {
            Ok(page) => return Ok((Some(page), None)),
            Err(ControlError::Fault(Fault { kind: FaultKind::Corrupt(why), .. })) if limit == 1 => {
                return Ok((None, Some(why)));
            }
            Err(ControlError::Fault(Fault { kind: FaultKind::Corrupt(_), .. })) => limit /= 2,
            Err(error) => return Err(error),
        }
    }
}
