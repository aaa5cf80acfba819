//! The contract of [`Fleet`]; [`fleet_contract!`] runs it.
//!
//! [`fleet_contract!`]: crate::fleet_contract

pub mod drains;
pub mod lists;
pub mod notices;

use std::sync::Arc;

use rehome_domain::drain::{Fact, Limits, Settings, Stay, Target, Tenant, Window};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::DrainId;

use super::kit::{event_id, migration_id, store_id, tenant};
use crate::{ControlError, ControlPlane, DrainChange, Fleet, NewDrain};

/// A control plane with its fleet.
pub trait Subject: ControlPlane + Fleet {}

impl<T: ControlPlane + Fleet> Subject for T {}

/// What is under test.
pub type Plane = Arc<dyn Subject>;

/// The `n`th drain.
pub fn drain_id(n: u64) -> DrainId {
    DrainId::new(event_id(n).uuid())
}

/// Settings with all that settings can have.
pub fn settings() -> Settings {
    let target = |name, weight| Target { store: store_id(name), weight };
    let base = Settings::new(vec![store_id("shared")], vec![target("a", 1), target("b", 3)]);
    let limits = Limits { cutovers_per_minute: 1_000, ..Limits::default() };
    let window = Some(Window::parse("Mon-Fri 01:00-05:00 Europe/Berlin").unwrap());
    Settings { limits, window, ..base }
}

/// A drain of so many tenants, of which the last one stays.
pub fn new(n: u64, tenants: u64) -> NewDrain {
    let row = |at: u64| {
        let id = tenant(100 - at);
        let row = Tenant::waiting(id, store_id("shared"), 10 * at, Timestamp::from_micros(5));
        let row = Tenant { place: at, ..row };
        if at == tenants { row.staying(Stay::Excluded, "by --exclude") } else { row }
    };
    let (id, actor) = (drain_id(n), "ada at a host".to_owned());
    NewDrain { id, settings: settings(), tenants: (1..=tenants).map(row).collect(), actor }
}

/// The start of a tenant's move.
pub fn started(row: &Tenant, n: u64, by: &str) -> Fact {
    let (tenant, migration) = (row.tenant, migration_id(n));
    Fact::TenantStarted { tenant, migration, target: store_id("a"), by: by.into() }
}

/// Records facts of the `n`th drain.
pub async fn record(
    plane: &Plane,
    n: u64,
    facts: impl IntoIterator<Item = Fact>,
) -> Result<(), ControlError> {
    let (facts, actor) = (facts.into_iter().collect(), "a process".to_owned());
    plane.record_drain(&DrainChange { drain: drain_id(n), facts, actor }).await.map(drop)
}
