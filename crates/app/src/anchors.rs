//! Whether logs are those that were seen from outside: by route rows, and by the stores of a migration.

use std::collections::{BTreeMap, BTreeSet};

use rehome_domain::ids::TenantId;
use rehome_ports::log_chain::{Break, BrokenChain, Followed, LogAnchor};
use rehome_ports::{ControlError, ControlPlane};

use crate::deployment::Deployment;
use crate::error::AppError;

/// Entries, or anchors, read at once.
const PAGE: usize = 500;

/// Whether the log is the one that `place` has seen; if not, where it is another.
pub async fn compare(
    control: &dyn ControlPlane,
    place: &str,
    anchor: &LogAnchor,
) -> Result<Option<BrokenChain>, ControlError> {
    let id = anchor.migration;
    let found = match control.log(id, anchor.seen.index.saturating_sub(1), 1).await {
        Ok(found) => found.first().map(Followed::to),
        Err(ControlError::UnknownMigration(_)) => {
            let why = match anchor.seen.index {
                0 => format!("{place} names it"),
                index => format!("{place} has seen it up to entry {index}"),
            };
            return Ok(Some(BrokenChain { index: 1, how: Break::Gone(why) }));
        }
        // What cannot be read is reported where the log is followed.
        Err(ControlError::Fault(fault)) if fault.is_damage() => return Ok(None),
        Err(error) => return Err(error),
    };
    let broken = anchor.check(place, found, 0).err();
    if !matches!(broken, Some(BrokenChain { how: Break::CutOff(_), .. })) {
        return Ok(broken);
    }
    let (mut end, mut entries) = (0, 0);
    loop {
        let page = match control.log(id, end, PAGE).await {
            Ok(page) => page,
            Err(ControlError::Fault(fault)) if fault.is_damage() => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(last) = page.last() else { break };
        (end, entries) = (last.index, entries + page.len() as u64);
    }
    Ok(anchor.check(place, None, entries).err())
}

/// How logs of these tenants' migrations are not those that stores have seen, a sentence each. One walk over
/// the anchors, for however many tenants.
pub(crate) async fn missed_logs(
    deployment: &Deployment,
    tenants: &BTreeSet<TenantId>,
) -> Result<BTreeMap<TenantId, Vec<String>>, AppError> {
    let mut missed: BTreeMap<TenantId, Vec<String>> = BTreeMap::new();
    if tenants.is_empty() {
        return Ok(missed);
    }
    for store in deployment.engine().stores().iter() {
        let place = format!("store \"{}\"", store.id());
        let mut after = None;
        loop {
            let page = store.anchors(after, PAGE).await?;
            for anchor in page.iter().filter(|anchor| tenants.contains(&anchor.tenant)) {
                let control = &**deployment.engine().control();
                if let Some(broken) = compare(control, &place, anchor).await? {
                    let sentence = format!("Migration {}: {broken}", anchor.migration);
                    missed.entry(anchor.tenant).or_default().push(sentence);
                }
            }
            after = page.last().map(|last| last.migration);
            if page.len() < PAGE {
                break;
            }
        }
    }
    Ok(missed)
}

/// Takes the logs of the tenant's migrations for what they are: stores forget what they have seen of others.
pub(crate) async fn accept_logs(deployment: &Deployment, tenant: TenantId) -> Result<(), AppError> {
    for store in deployment.engine().stores().iter() {
        store.forget_anchors(tenant).await?;
    }
    Ok(())
}
