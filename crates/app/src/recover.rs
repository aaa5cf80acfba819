//! `recover`: after the control plane lost time.
//!
//! A store that has seen an epoch which the control plane never handed out says that the control
//! plane was restored from a backup, or failed over with a loss. Nothing is written to such a
//! tenant until an operator has looked and said where its authority is.

use std::collections::BTreeSet;

use rehome_api as api;
use rehome_domain::ids::{Epoch, StoreId, TenantId};
use rehome_domain::ledger::{Ledger, Role};
use rehome_domain::route::Route;
use rehome_ports::ControlError;

use crate::deployment::Deployment;
use crate::documents;
use crate::error::AppError;
use crate::routes::{PairError, Pairs};

/// What to recover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverRequest {
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// Where the authority is, for tenants of which the stores do not say it clearly.
    pub store: Option<StoreId>,
    /// Whether to change anything.
    pub apply: bool,
}

type Ledgers = Vec<(StoreId, Ledger)>;

impl Deployment {
    /// Finds the tenants whose stores are ahead of the control plane, and, if that is asked for,
    /// raises the control plane to them. Every store has to answer: one that is silent may be the
    /// one that is ahead.
    pub async fn recover(&self, request: &RecoverRequest) -> Result<Vec<api::Recovery>, AppError> {
        if let Some(store) = &request.store {
            self.store(store)?;
        }
        let ahead = match request.tenant {
            Some(tenant) => vec![tenant],
            None => self.ahead().await?,
        };
        let mut found = Vec::new();
        for tenant in ahead {
            let route = self.engine().control().route(tenant).await?;
            let ledgers = self.ledgers(tenant).await?;
            let n = highest(&ledgers);
            if n <= route.as_ref().map_or(Epoch::ZERO, |route| route.n) {
                if request.tenant.is_some() && route.is_none() {
                    return Err(ControlError::UnknownTenant(tenant).into());
                }
                continue;
            }
            found.push(self.recover_tenant(request, tenant, route, &ledgers, n).await?);
        }
        self.add_losses(request, &mut found).await?;
        Ok(found)
    }

    /// Adds the tenants whose store is behind: of those a recovery of the control plane mends nothing.
    async fn add_losses(
        &self,
        request: &RecoverRequest,
        found: &mut Vec<api::Recovery>,
    ) -> Result<(), AppError> {
        let losses = match request.tenant {
            Some(tenant) => self.losses_of(tenant).await?,
            None => self.losses().await?.0,
        };
        for loss in losses {
            let tenant = loss.tenant;
            let known = found.iter().position(|one| one.tenant_id == tenant.uuid());
            let one = if let Some(index) = known {
                &mut found[index]
            } else {
                let route = self.engine().control().route(tenant).await?;
                let routed = route.as_ref().map(|route| &route.store);
                let ledgers = self.ledgers(tenant).await?;
                let stores = ledgers.iter().map(|(id, ledger)| {
                    documents::tenant_in_store(tenant, id, ledger, routed == Some(id))
                });
                found.push(api::Recovery {
                    tenant_id: tenant.uuid(),
                    route_epoch: route.as_ref().map_or(0, |route| route.n.0),
                    route_store: routed.map(StoreId::to_string),
                    stores: stores.collect(),
                    store: routed.map(StoreId::to_string),
                    undecided: None,
                    recovered: false,
                    losses: Vec::new(),
                    checkpoints: Vec::new(),
                });
                let last = found.len() - 1;
                &mut found[last]
            };
            one.losses.push(loss.sentence());
            one.checkpoints.extend(loss.checkpoint());
        }
        Ok(())
    }

    /// The tenants with a ledger that is ahead.
    async fn ahead(&self) -> Result<Vec<TenantId>, AppError> {
        let mut ahead = BTreeSet::new();
        for store in self.engine().stores().iter() {
            let mut pairs = Pairs::new(&**store, &**self.engine().control());
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
        Ok(ahead.into_iter().collect())
    }

    async fn ledgers(&self, tenant: TenantId) -> Result<Ledgers, AppError> {
        let mut ledgers = Vec::new();
        for store in self.engine().stores().iter() {
            let ledger = store.ledger(tenant).await?;
            if ledger.epoch > Epoch::ZERO {
                ledgers.push((store.id().clone(), ledger));
            }
        }
        Ok(ledgers)
    }

    async fn recover_tenant(
        &self,
        request: &RecoverRequest,
        tenant: TenantId,
        route: Option<Route>,
        ledgers: &Ledgers,
        n: Epoch,
    ) -> Result<api::Recovery, AppError> {
        let chosen = choose(ledgers, request.store.as_ref());
        let routed = route.as_ref().map(|route| &route.store);
        let mut found = api::Recovery {
            tenant_id: tenant.uuid(),
            route_epoch: route.as_ref().map_or(0, |route| route.n.0),
            route_store: routed.map(StoreId::to_string),
            stores: ledgers
                .iter()
                .map(|(id, ledger)| {
                    documents::tenant_in_store(tenant, id, ledger, routed == Some(id))
                })
                .collect(),
            store: chosen.as_ref().ok().map(|(id, _)| id.to_string()),
            undecided: chosen.as_ref().err().cloned(),
            recovered: false,
            losses: Vec::new(),
            checkpoints: Vec::new(),
        };
        if let (true, Ok((store, ledger))) = (request.apply, chosen) {
            let control = self.engine().control();
            let route = match route {
                Some(route) => route,
                None => control.create_route(tenant, &store).await?,
            };
            let actor = self.actor().to_owned();
            control.recover(tenant, route.rev, &store, n, ledger.head.seq, &actor).await?;
            found.recovered = true;
        }
        Ok(found)
    }
}

fn highest(ledgers: &Ledgers) -> Epoch {
    ledgers.iter().map(|(_, ledger)| ledger.epoch).max().unwrap_or_default()
}

/// The store that has the authority: the one that was named, or else the active one, if it is
/// beyond doubt: no other is active, none was fenced after it, and none holds more.
fn choose(ledgers: &Ledgers, named: Option<&StoreId>) -> Result<(StoreId, Ledger), String> {
    if let Some(named) = named {
        return ledgers
            .iter()
            .find(|(id, ledger)| id == named && ledger.role != Role::Absent)
            .cloned()
            .ok_or_else(|| format!("store \"{named}\" holds nothing of the tenant"));
    }
    let mut active = ledgers.iter().filter(|(_, ledger)| ledger.role == Role::Active);
    let (Some((id, ledger)), None) = (active.next(), active.next()) else {
        return Err(
            "not exactly one store is active for it; name the right one with --store".to_owned()
        );
    };
    let doubt = ledgers.iter().find(|(other, found)| {
        other != id
            && (found.role == Role::Fenced && found.epoch > ledger.epoch
                || found.head.seq > ledger.head.seq)
    });
    match doubt {
        None => Ok((id.clone(), *ledger)),
        Some((other, _)) => Err(format!(
            "store \"{id}\" is active, but \"{other}\" was fenced later or holds more; look, and \
             name the right one with --store"
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
        let nowhere = "c".parse().unwrap();
        assert!(choose(&two, Some(&nowhere)).is_err());
    }
}
