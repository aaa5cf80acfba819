//! The logs of drains: chained as those of migrations, and their rows say how many entries they have.

use rehome_domain::drain::Drain;
use rehome_ports::log_chain::{Break, BrokenChain, Followed, drain_follows};
use rehome_ports::{ControlError, DrainEntry, Drains, Fault, FaultKind, Fleet};

/// Entries read at once.
const PAGE: usize = 500;

/// Follows the log of a drain to its end: how many entries it has, and the first that is not as it was recorded.
/// `row` may be older than the log.
pub(super) async fn look(
    fleet: &dyn Fleet,
    row: &Drain,
) -> Result<(u64, Option<BrokenChain>), ControlError> {
    let mut before = Followed::START;
    let broken = look_on(fleet, row, &mut before).await?;
    Ok((before.index, broken))
}

/// The same from `before` on, which is how far it came: a look that is cut off continues there.
pub(super) async fn look_on(
    fleet: &dyn Fleet,
    row: &Drain,
    before: &mut Followed,
) -> Result<Option<BrokenChain>, ControlError> {
    follow(fleet, row, before, |_, _| true).await
}

/// The same; `each` gets every entry that is as it was recorded, with what was before it, and returns
/// whether to continue.
pub(super) async fn follow(
    fleet: &dyn Fleet,
    row: &Drain,
    before: &mut Followed,
    mut each: impl FnMut(Followed, &DrainEntry) -> bool,
) -> Result<Option<BrokenChain>, ControlError> {
    loop {
        let page = match fleet.drain_log(row.id, before.index, PAGE).await {
            Ok(page) => page,
            Err(ControlError::Fault(Fault { kind: FaultKind::Corrupt(why), .. })) => {
                let index = before.index + 1;
                let broken = BrokenChain { index, how: Break::Unreadable(why) };
                return Ok(Some(broken));
            }
            Err(error) => return Err(error),
        };
        for entry in &page {
            if let Err(broken) = drain_follows(*before, entry) {
                return Ok(Some(broken));
            }
            if !each(*before, entry) {
                return Ok(None);
            }
            *before = Followed { index: entry.index, hash: entry.hash };
        }
        if page.is_empty() {
            break;
        }
    }
    let cut_off = (before.index < row.entries).then(|| {
        let why = format!("by its row the log has {} entries", row.entries);
        BrokenChain { index: before.index + 1, how: Break::CutOff(why) }
    });
    Ok(cut_off)
}

/// All drains, or the newest ones, oldest first.
pub(super) async fn oldest_first(
    fleet: &dyn Fleet,
    only_newest: bool,
) -> Result<Vec<Drain>, ControlError> {
    let mut which = Drains { limit: PAGE, ..Drains::default() };
    let mut found = Vec::new();
    loop {
        let page = fleet.drains(which).await?;
        let is_last = page.len() < PAGE;
        which.before = page.last().map(|drain| drain.id);
        found.extend(page);
        if is_last || only_newest {
            found.reverse();
            return Ok(found);
        }
    }
}
