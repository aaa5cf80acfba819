//! Operators' requests about drains, stores and tenants. Each is a fact or a row; workers act on it.

use std::sync::Arc;

use rehome_domain::drain::{
    Drain, Fact, InvalidSettings, Notice, Settings, State, Tenant, TenantState,
};
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_ports::{Class, ControlError, DrainChange, DrainTenants, Fleet, NewDrain, StoreError};

use super::WindowError;
use super::plan::{DrainPlan, DrainRequest};
use crate::{Engine, UnknownStore};

/// Why something about a drain was not done.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The settings cannot work.
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    /// The window is unusable.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A target accepts no tenants.
    #[error("store {store} cannot be a target: {why}")]
    Target {
        /// The store.
        store: StoreId,
        /// The reason.
        why: String,
    },
    /// The plan is not of this deployment, or not of what it is now.
    #[error("the plan is outdated: {0}; plan again")]
    OldPlan(String),
    /// There is no tenant to move.
    #[error("there is nothing to move: {0}")]
    Nothing(String),
    /// A store is not configured.
    #[error(transparent)]
    UnknownStore(#[from] UnknownStore),
    /// The control plane failed or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A source failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The operator's side of drains, in the name of one actor.
#[derive(Clone)]
pub struct Drains {
    pub(super) engine: Engine,
    pub(super) fleet: Arc<dyn Fleet>,
    actor: String,
}

/// How often a change is decided anew because others changed the drain.
const TRIES: usize = 16;

impl Drains {
    /// Operations recorded as done by `actor`.
    pub fn new(engine: &Engine, fleet: Arc<dyn Fleet>, actor: impl Into<String>) -> Self {
        Self { engine: engine.clone(), fleet, actor: actor.into() }
    }

    /// What a drain would do. Changes nothing.
    pub async fn plan(&self, request: DrainRequest) -> Result<DrainPlan, DrainError> {
        super::plan::plan(self, request).await
    }

    /// Starts a drain as it was planned, under an id that was never used. Refused where the deployment is
    /// not as it was when the plan was made.
    pub async fn start(&self, id: DrainId, plan: DrainPlan) -> Result<Drain, DrainError> {
        if let Ok(known) = self.fleet.drain(id).await {
            return Ok(known);
        }
        super::plan::check(self, &plan).await?;
        let (settings, tenants) = (plan.settings, plan.tenants);
        let new = NewDrain { id, settings, tenants, actor: self.actor.clone() };
        let drain = self.fleet.start_drain(&new).await?;
        self.engine.drains_asked.notify_waiters();
        Ok(drain)
    }

    /// Begins nothing more, until it is resumed.
    pub async fn pause(&self, id: DrainId) -> Result<Drain, DrainError> {
        self.fact(id, Fact::Paused).await
    }

    /// Resumes the drain; resets the budget of failures.
    pub async fn resume(&self, id: DrainId) -> Result<Drain, DrainError> {
        self.fact(id, Fact::Resumed).await
    }

    /// Starts no further move and aborts running ones.
    pub async fn cancel(&self, id: DrainId) -> Result<Drain, DrainError> {
        self.fact(id, Fact::Cancelled).await
    }

    /// Changes what it runs with.
    pub async fn tune(
        &self,
        id: DrainId,
        change: impl Fn(Settings) -> Settings,
    ) -> Result<Drain, DrainError> {
        let drain = self.fleet.drain(id).await?;
        let settings = change(drain.settings.clone()).check()?;
        if let Some(window) = &settings.window {
            super::Calendar::still_to_come(window, self.engine.control.now().await?)?;
        }
        for target in &settings.targets {
            self.engine.stores.get(&target.store)?;
        }
        self.fact(id, Fact::Tuned { settings }).await
    }

    /// Tries tenants again that were set aside: these, or all. Answers how many.
    pub async fn retry(&self, id: DrainId, only: &[TenantId]) -> Result<u64, DrainError> {
        const PAGE: usize = 500;
        let mut which = DrainTenants {
            drain: id,
            state: Some(TenantState::SetAside.as_str()),
            after: 0,
            limit: PAGE,
        };
        let mut retried = 0;
        loop {
            let page = self.fleet.drain_tenants(which).await?;
            which.after = page.last().map_or(u64::MAX, |row| row.place);
            let wanted = |row: &&Tenant| only.is_empty() || only.contains(&row.tenant);
            let facts: Vec<_> = page
                .iter()
                .filter(wanted)
                .map(|row| Fact::TenantRetried { tenant: row.tenant })
                .collect();
            retried += facts.len() as u64;
            if !facts.is_empty() {
                self.record(id, facts).await?;
            }
            if page.len() < PAGE {
                break;
            }
        }
        if retried == 0 {
            let none = "none of the tenants is set aside; waiting tenants need no retry";
            return Err(DrainError::Nothing(none.to_owned()));
        }
        self.engine.drains_asked.notify_waiters();
        Ok(retried)
    }

    /// Keeps new tenants and arrivals out of a store, or removes the cordon.
    pub async fn cordon(&self, store: &StoreId, why: Option<&str>) -> Result<(), DrainError> {
        self.engine.stores.get(store)?;
        let notice = self.notice(why).await?;
        Ok(self.fleet.set_cordon(store, notice.as_ref()).await?)
    }

    /// Keeps a tenant where it is, or removes the pin.
    pub async fn pin(&self, tenant: TenantId, why: Option<&str>) -> Result<(), DrainError> {
        self.engine.control.known_route(tenant).await?;
        let notice = self.notice(why).await?;
        Ok(self.fleet.set_pin(tenant, notice.as_ref()).await?)
    }

    async fn notice(&self, why: Option<&str>) -> Result<Option<Notice>, ControlError> {
        let Some(why) = why else { return Ok(None) };
        let (at, by) = (self.engine.control.now().await?, self.actor.clone());
        Ok(Some(Notice { at, by, why: why.to_owned() }))
    }

    /// Records a fact about the whole drain. One that was recorded already is no change.
    async fn fact(&self, id: DrainId, fact: Fact) -> Result<Drain, DrainError> {
        let drain = self.fleet.drain(id).await?;
        let is_done = match (&fact, drain.state) {
            (Fact::Paused, State::Paused(_)) | (Fact::Resumed, State::Running) => true,
            (Fact::Cancelled, State::Cancelling | State::Cancelled) => true,
            (Fact::Tuned { settings }, _) => *settings == drain.settings,
            _ => false,
        };
        if is_done {
            return Ok(drain);
        }
        let drain = self.record(id, vec![fact]).await?;
        self.engine.drains_asked.notify_waiters();
        Ok(drain)
    }

    async fn record(&self, drain: DrainId, facts: Vec<Fact>) -> Result<Drain, ControlError> {
        let change = DrainChange { drain, facts, actor: self.actor.clone() };
        let mut last = None;
        for _ in 0..TRIES {
            match self.fleet.record_drain(&change).await {
                Err(error) if error.class() == Class::Conflict => last = Some(error),
                recorded => return recorded,
            }
        }
        Err(last.expect("at least one try"))
    }
}
