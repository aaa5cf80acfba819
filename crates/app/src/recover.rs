//! `recover`: after the control plane was restored from a backup, or a store has lost events.
//!
//! A store with an epoch that the control plane never issued shows that the control
//! plane was restored from a backup, or failed over with a loss. Nothing is written to such a
//! tenant until an operator has decided which store has the authority.
//!
//! A store that is behind the control plane has lost events: a backup was restored, or a failover to an asynchronous
//! standby lost them. What is lost cannot be recovered here. An operator who restores it elsewhere needs no recovery;
//! one who cannot chooses the store to continue from, and accepts the loss.

use std::collections::BTreeSet;

use rehome_api as api;
use rehome_domain::ids::{Epoch, StoreId, TenantId};
use rehome_domain::ledger::{Ledger, Role};
use rehome_domain::route::Route;
use rehome_ports::ControlError;

use crate::anchors;
use crate::deployment::Deployment;
use crate::documents;
use crate::error::{AppError, Kind};
use crate::losses::{self, Found};
use crate::routes::{PairError, Pairs};

/// What to recover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverRequest {
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// The store with the authority, for tenants where the stores leave it open.
    pub store: Option<StoreId>,
    /// Whether to change anything.
    pub apply: bool,
    /// Whether the tenant continues from the named store, although events are lost.
    pub accept_loss: bool,
}

type Ledgers = Vec<(StoreId, Ledger)>;

/// Finds the tenants whose stores are ahead of the control plane, and, if requested,
/// updates the control plane to match them. Every store has to answer: a store that does not may be the
/// one that is ahead.
pub async fn recover(
    deployment: &Deployment,
    request: &RecoverRequest,
) -> Result<Vec<api::Recovery>, AppError> {
    if let Some(store) = &request.store {
        deployment.store(store)?;
    }
    if request.accept_loss {
        return Ok(vec![accept_loss(deployment, request).await?]);
    }
    let ahead = match request.tenant {
        Some(tenant) => BTreeSet::from([tenant]),
        None => ahead(deployment).await?,
    };
    let mut missed = anchors::missed_logs(deployment, &ahead).await?;
    let mut found = Vec::new();
    for tenant in ahead {
        let missed_logs = missed.remove(&tenant).unwrap_or_default();
        let route = deployment.engine().control().route(tenant).await?;
        let ledgers = ledgers(deployment, tenant).await?;
        let n = highest(&ledgers);
        if n <= route.as_ref().map_or(Epoch::ZERO, |route| route.n) {
            if request.tenant.is_some() && route.is_none() {
                return Err(ControlError::UnknownTenant(tenant).into());
            }
            if request.tenant.is_some() && !missed_logs.is_empty() {
                // Its routes are as its stores have them, and its logs may not be.
                if request.apply {
                    anchors::accept_logs(deployment, tenant).await?;
                }
                let now = as_it_is(tenant, route.as_ref(), &ledgers);
                found.push(api::Recovery { missed_logs, recovered: request.apply, ..now });
            }
            continue;
        }
        let one = recover_tenant(deployment, request, tenant, route, &ledgers, n).await?;
        found.push(api::Recovery { missed_logs, ..one });
    }
    add_losses(deployment, request, &mut found).await?;
    Ok(found)
}

/// A tenant whose store has lost events continues from the named store with what it has. Every other store
/// that would accept appends is fenced first: a process may still have a route to it.
async fn accept_loss(
    deployment: &Deployment,
    request: &RecoverRequest,
) -> Result<api::Recovery, AppError> {
    let (Some(tenant), Some(store)) = (request.tenant, &request.store) else {
        let what = "a loss is accepted for one tenant, and in a store that continues: name both";
        return Err(AppError::new(Kind::Usage, "loss_of_which_tenant", what));
    };
    let control = deployment.engine().control();
    let route = control.route(tenant).await?.ok_or(ControlError::UnknownTenant(tenant))?;
    let losses = losses::of(deployment, tenant).await?;
    if losses.is_empty() {
        let what = format!("store \"{}\" has lost no events of tenant {tenant}", route.store);
        return Err(AppError::new(Kind::Refused, "no_loss", what));
    }
    let ledgers = ledgers(deployment, tenant).await?;
    let chosen = choose(&ledgers, Some(store));
    let mut found = api::Recovery {
        store: Some(store.to_string()),
        undecided: chosen.as_ref().err().cloned(),
        losses: losses.iter().map(Found::sentence).collect(),
        checkpoints: losses.iter().filter_map(Found::checkpoint).collect(),
        ..as_it_is(tenant, Some(&route), &ledgers)
    };
    if let (true, Ok((store, ledger))) = (request.apply, chosen) {
        let n = highest(&ledgers).max(route.n);
        for (other, ledger) in &ledgers {
            if *other != store && ledger.role == Role::Active {
                deployment.store(other)?.fence(tenant, ledger.epoch, n.next()).await?;
            }
        }
        anchors::accept_logs(deployment, tenant).await?;
        let (n, seq) = (n.next(), ledger.head.seq);
        control.recover(tenant, route.rev, &store, n, seq, deployment.actor()).await?;
        found.recovered = true;
    }
    Ok(found)
}

/// Adds the tenants whose store is behind: a recovery of the control plane does not repair these.
async fn add_losses(
    deployment: &Deployment,
    request: &RecoverRequest,
    found: &mut Vec<api::Recovery>,
) -> Result<(), AppError> {
    let losses = match request.tenant {
        Some(tenant) => losses::of(deployment, tenant).await?,
        None => losses::all(deployment).await?.0,
    };
    for loss in losses {
        let tenant = loss.tenant;
        let known = found.iter().position(|one| one.tenant_id == tenant.uuid());
        let one = if let Some(index) = known {
            &mut found[index]
        } else {
            let route = deployment.engine().control().route(tenant).await?;
            let ledgers = ledgers(deployment, tenant).await?;
            found.push(as_it_is(tenant, route.as_ref(), &ledgers));
            let last = found.len() - 1;
            &mut found[last]
        };
        one.losses.push(loss.sentence());
        one.checkpoints.extend(loss.checkpoint());
    }
    Ok(())
}

/// The tenants with a ledger that is ahead.
async fn ahead(deployment: &Deployment) -> Result<BTreeSet<TenantId>, AppError> {
    let mut ahead = BTreeSet::new();
    for store in deployment.engine().stores().iter() {
        let mut pairs = Pairs::new(&**store, &**deployment.engine().control());
        while let Some(pair) = pairs.next().await.map_err(|error| match error {
            PairError::Store(error) => AppError::from(error),
            PairError::Control(error) => error.into(),
        })? {
            let n = pair.route.map_or(Epoch::ZERO, |route| route.n);
            if pair.ledger.is_some_and(|row| row.ledger.epoch > n) {
                ahead.insert(pair.tenant);
            }
        }
    }
    Ok(ahead)
}

async fn ledgers(deployment: &Deployment, tenant: TenantId) -> Result<Ledgers, AppError> {
    let mut ledgers = Vec::new();
    for store in deployment.engine().stores().iter() {
        let ledger = store.ledger(tenant).await?;
        if ledger.epoch > Epoch::ZERO {
            ledgers.push((store.id().clone(), ledger));
        }
    }
    Ok(ledgers)
}

async fn recover_tenant(
    deployment: &Deployment,
    request: &RecoverRequest,
    tenant: TenantId,
    route: Option<Route>,
    ledgers: &Ledgers,
    n: Epoch,
) -> Result<api::Recovery, AppError> {
    let chosen = choose(ledgers, request.store.as_ref());
    let mut found = api::Recovery {
        store: chosen.as_ref().ok().map(|(id, _)| id.to_string()),
        undecided: chosen.as_ref().err().cloned(),
        ..as_it_is(tenant, route.as_ref(), ledgers)
    };
    if let (true, Ok((store, ledger))) = (request.apply, chosen) {
        let control = deployment.engine().control();
        let route = match route {
            Some(route) => route,
            None => control.create_route(tenant, &store).await?,
        };
        let actor = deployment.actor().to_owned();
        // First: an operator repeats a recovery that ends here.
        anchors::accept_logs(deployment, tenant).await?;
        control.recover(tenant, route.rev, &store, n, ledger.head.seq, &actor).await?;
        found.recovered = true;
    }
    Ok(found)
}

/// What there is of a tenant that is not recovered.
fn as_it_is(tenant: TenantId, route: Option<&Route>, ledgers: &Ledgers) -> api::Recovery {
    let routed = route.map(|route| &route.store);
    let in_store = |(id, ledger): &(StoreId, Ledger)| {
        documents::tenant_in_store(tenant, id, ledger, routed == Some(id))
    };
    api::Recovery {
        tenant_id: tenant.uuid(),
        route_epoch: route.map_or(0, |route| route.n.0),
        route_store: routed.map(StoreId::to_string),
        stores: ledgers.iter().map(in_store).collect(),
        store: routed.map(StoreId::to_string),
        undecided: None,
        recovered: false,
        losses: Vec::new(),
        checkpoints: Vec::new(),
        missed_logs: Vec::new(),
    }
}

fn highest(ledgers: &Ledgers) -> Epoch {
    ledgers.iter().map(|(_, ledger)| ledger.epoch).max().unwrap_or_default()
}

/// The store that has the authority: the one that was named, or else the active one, if it is
/// beyond doubt: no other is active, none was fenced after it, and none holds more.
fn choose(ledgers: &Ledgers, named: Option<&StoreId>) -> Result<(StoreId, Ledger), String> {
    if let Some(named) = named {
        // Of a tenant that was removed in the lost time, no store has events.
        let removed = ledgers.iter().all(|(_, ledger)| ledger.role == Role::Absent);
        return ledgers
            .iter()
            .find(|(id, ledger)| id == named && (removed || ledger.role != Role::Absent))
            .cloned()
            .ok_or_else(|| format!("store \"{named}\" has no events of the tenant"));
    }
    let mut active = ledgers.iter().filter(|(_, ledger)| ledger.role == Role::Active);
    let (Some((id, ledger)), None) = (active.next(), active.next()) else {
        return Err("not exactly one store is active for it; choose one with --store".to_owned());
    };
    let doubt = ledgers.iter().find(|(other, found)| {
        other != id
            && (found.role == Role::Fenced && found.epoch > ledger.epoch
                || found.head.seq > ledger.head.seq)
    });
    match doubt {
        None => Ok((id.clone(), *ledger)),
        Some((other, _)) => Err(format!(
            "store \"{id}\" is active, but \"{other}\" was fenced later or has more events; compare them, and \
             choose one with --store"
        )),
    }
}

#[cfg(test)]
mod tests {
    use rehome_domain::digest::Digest;
    use rehome_domain::ledger::Head;

    use super::*;

    fn ledger(name: &str, role: Role, epoch: u64, seq: u64) -> (StoreId, Ledger) {
        let head = Head { seq, digest: Digest::EMPTY };
        (name.parse().unwrap(), Ledger { role, epoch: Epoch(epoch), head })
    }

    #[test]
    fn the_only_active_store_is_chosen_and_doubt_is_left_to_people() {
        let chosen = |ledgers: &Ledgers| choose(ledgers, None).map(|(id, _)| id.to_string());
        let old = ledger("old", Role::Fenced, 4, 10);
        assert_eq!(chosen(&vec![old.clone(), ledger("new", Role::Active, 5, 12)]).unwrap(), "new");
        assert_eq!(
            chosen(&vec![ledger("old", Role::Replica, 6, 12), ledger("new", Role::Active, 5, 12)])
                .unwrap(),
            "new"
        );
        assert!(chosen(&vec![old.clone()]).is_err());
        assert!(chosen(&vec![old.clone(), ledger("new", Role::Active, 3, 12)]).is_err());
        assert!(chosen(&vec![old.clone(), ledger("new", Role::Active, 5, 9)]).is_err());
        let two = vec![ledger("a", Role::Active, 5, 9), ledger("b", Role::Active, 7, 9)];
        assert!(chosen(&two).is_err());
        let named = "a".parse().unwrap();
        assert_eq!(choose(&two, Some(&named)).unwrap().0, named);
        let gone = vec![ledger("a", Role::Absent, 5, 0), ledger("b", Role::Absent, 4, 0)];
        assert!(choose(&gone, None).is_err(), "a store that is not configured may have it");
        assert_eq!(choose(&gone, Some(&named)).unwrap().0, named);
        let left = vec![ledger("a", Role::Absent, 5, 0), ledger("b", Role::Fenced, 4, 7)];
        assert!(choose(&left, Some(&named)).is_err());
        let nowhere = "c".parse().unwrap();
        assert!(choose(&two, Some(&nowhere)).is_err());
    }
}
