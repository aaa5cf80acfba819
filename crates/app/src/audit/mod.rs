//! The audit chain: whether the logs of migrations are those that were recorded.
//!
//! ```text
//! logs ──▶ look: entries one by one, each beside the one before ──▶ what is shown says so
//!            │
//!            ├─▶ verify: all logs, at once          ──▶ report
//!            ├─▶ pass: all logs, a few at a time    ──▶ findings ──▶ health
//!            └─▶ export: as lines, signed, followed ──▶ another system
//! ```
//!
//! The chain shows an entry that was changed or taken out. It does not show that entries are missing at the
//! end of a log: for that, another system has to have had them (see [`export`]).

pub mod export;
mod pass;
mod verify;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rehome_domain::ids::{MigrationId, TenantId};
use rehome_ports::log_chain::{Break, BrokenChain, Followed, follows};
use rehome_ports::{ControlError, ControlPlane, Fault, FaultKind, LogEntry};

pub use export::{AuditExport, Exported};
pub(crate) use pass::Pass;

/// Entries read at once.
const PAGE: usize = 500;
/// Findings that are kept by a process.
const KEPT: usize = 1_000;

/// What this process knows to be broken. Once known it is reported until the log is seen to be whole.
#[derive(Default)]
pub(crate) struct Findings(Mutex<BTreeMap<MigrationId, (TenantId, BrokenChain)>>);

impl Findings {
    /// What came of looking at a log; whether it is news that it is broken.
    fn looked_at(&self, id: MigrationId, tenant: TenantId, broken: Option<BrokenChain>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// A sentence for each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sentence = |(id, (_, broken)): (&MigrationId, &(TenantId, BrokenChain))| {
            format!("Migration {id}: {broken}; `rehome audit verify` checks all logs")
        };
        known.iter().map(sentence).collect()
    }
}

/// A log that was followed to its end.
struct Whole {
    entries: u64,
    /// The first entry that is not as it was recorded.
    broken: Option<BrokenChain>,
}

/// Follows a log to its end; `seen` has each entry, with what is wrong with it, and says whether to go on.
async fn follow(
    control: &dyn ControlPlane,
    id: MigrationId,
    mut before: Followed,
    mut seen: impl FnMut(Followed, &LogEntry, Option<&BrokenChain>) -> bool,
) -> Result<Whole, ControlError> {
    let mut whole = Whole { entries: 0, broken: None };
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
            let go_on = seen(before, entry, broken.as_ref());
            before = Followed::to(entry);
            whole.broken = whole.broken.or(broken);
            if !go_on {
                return Ok(whole);
            }
        }
        if page.is_empty() {
            // Each began with an entry that says so.
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
