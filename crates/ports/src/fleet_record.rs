//! How facts and settings of drains are written down by every control plane; see [`crate::record`].

use rehome_domain::drain::{
    BadWindow, Fact, Limits, Order, Placement, Settings, Stay, Target, TenantState, Window,
};
use rehome_domain::ids::{InvalidStoreId, StoreId};
use serde::{Deserialize, Serialize};

use crate::record::{OptionsRecord, Unreadable, unreadable, write};

const SETTINGS: &str = "settings of a drain";
const FACT: &str = "drain's log entry";

#[derive(Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
enum FactRecord {
    Started { settings: SettingsRecord, tenants: u64, events: u64, stays: u64 },
    Paused,
    Resumed,
    Tuned { settings: SettingsRecord },
    Cancelled,
    Finished { left: u64 },
    TenantStarted { tenant: String, migration: String, target: String, by: String },
    TenantTaken { tenant: String, by: String },
    TenantReleased { tenant: String },
    TenantMoved { tenant: String },
    TenantSetAside { tenant: String, why: String },
    TenantPutBack { tenant: String },
    TenantStays { tenant: String, stay: String, why: String },
    TenantRetried { tenant: String },
}

#[derive(Serialize, Deserialize)]
struct SettingsRecord {
    sources: Vec<String>,
    targets: Vec<TargetRecord>,
    order: String,
    placement: String,
    at_once: u32,
    per_source: u32,
    per_target: u32,
    cutovers_per_minute: u32,
    copy_rate_max: u32,
    copy_bytes_rate_max: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<String>,
    tries_max: u32,
    retry_after_ms: u64,
    failures_max: u32,
    patience_ms: u64,
    cutovers_max: u32,
    options: OptionsRecord,
}

#[derive(Serialize, Deserialize)]
struct TargetRecord {
    store: String,
    weight: u32,
}

/// A fact as one line of JSON.
pub fn write_drain_fact(fact: &Fact) -> String {
    let tenant = || fact.tenant().map(|tenant| tenant.to_string()).unwrap_or_default();
    write(&match fact {
        Fact::Started { settings, tenants, events, stays } => FactRecord::Started {
            settings: settings.into(),
            tenants: *tenants,
            events: *events,
            stays: *stays,
        },
        Fact::Paused => FactRecord::Paused,
        Fact::Resumed => FactRecord::Resumed,
        Fact::Tuned { settings } => FactRecord::Tuned { settings: settings.into() },
        Fact::Cancelled => FactRecord::Cancelled,
        Fact::Finished { left } => FactRecord::Finished { left: *left },
        Fact::TenantStarted { migration, target, by, .. } => FactRecord::TenantStarted {
            tenant: tenant(),
            migration: migration.to_string(),
            target: target.to_string(),
            by: by.to_string(),
        },
        Fact::TenantTaken { by, .. } => {
            FactRecord::TenantTaken { tenant: tenant(), by: by.to_string() }
        }
        Fact::TenantReleased { .. } => FactRecord::TenantReleased { tenant: tenant() },
        Fact::TenantMoved { .. } => FactRecord::TenantMoved { tenant: tenant() },
        Fact::TenantSetAside { why, .. } => {
            FactRecord::TenantSetAside { tenant: tenant(), why: why.to_string() }
        }
        Fact::TenantPutBack { .. } => FactRecord::TenantPutBack { tenant: tenant() },
        Fact::TenantStays { stay, why, .. } => FactRecord::TenantStays {
            tenant: tenant(),
            stay: stay.as_str().to_owned(),
            why: why.to_string(),
        },
        Fact::TenantRetried { .. } => FactRecord::TenantRetried { tenant: tenant() },
    })
}

/// Reads what [`write_drain_fact`] wrote.
pub fn read_drain_fact(text: &str) -> Result<Fact, Unreadable> {
    let record: FactRecord = serde_json::from_str(text).map_err(|why| unreadable(FACT, why))?;
    let id = |text: String| text.parse().map_err(|why| unreadable(FACT, why));
    Ok(match record {
        FactRecord::Started { settings, tenants, events, stays } => {
            Fact::Started { settings: settings.try_into()?, tenants, events, stays }
        }
        FactRecord::Paused => Fact::Paused,
        FactRecord::Resumed => Fact::Resumed,
        FactRecord::Tuned { settings } => Fact::Tuned { settings: settings.try_into()? },
        FactRecord::Cancelled => Fact::Cancelled,
        FactRecord::Finished { left } => Fact::Finished { left },
        FactRecord::TenantStarted { tenant, migration, target, by } => Fact::TenantStarted {
            tenant: id(tenant)?,
            migration: migration.parse().map_err(|why| unreadable(FACT, why))?,
            target: target.parse().map_err(|why| unreadable(FACT, why))?,
            by: by.into(),
        },
        FactRecord::TenantTaken { tenant, by } => {
            Fact::TenantTaken { tenant: id(tenant)?, by: by.into() }
        }
        FactRecord::TenantReleased { tenant } => Fact::TenantReleased { tenant: id(tenant)? },
        FactRecord::TenantMoved { tenant } => Fact::TenantMoved { tenant: id(tenant)? },
        FactRecord::TenantSetAside { tenant, why } => {
            Fact::TenantSetAside { tenant: id(tenant)?, why: why.into() }
        }
        FactRecord::TenantPutBack { tenant } => Fact::TenantPutBack { tenant: id(tenant)? },
        FactRecord::TenantStays { tenant, stay, why } => Fact::TenantStays {
            tenant: id(tenant)?,
            stay: Stay::parse(&stay).ok_or_else(|| unreadable(FACT, format!("{stay:?}")))?,
            why: why.into(),
        },
        FactRecord::TenantRetried { tenant } => Fact::TenantRetried { tenant: id(tenant)? },
    })
}

/// Settings as one line of JSON.
pub fn write_settings(settings: &Settings) -> String {
    write(&SettingsRecord::from(settings))
}

/// Reads what [`write_settings`] wrote.
pub fn read_settings(text: &str) -> Result<Settings, Unreadable> {
    let record: SettingsRecord =
        serde_json::from_str(text).map_err(|why| unreadable(SETTINGS, why))?;
    record.try_into()
}

impl From<&Settings> for SettingsRecord {
    fn from(settings: &Settings) -> Self {
        let target = |target: &Target| TargetRecord {
            store: target.store.to_string(),
            weight: target.weight,
        };
        let limits = settings.limits;
        Self {
            sources: settings.sources.iter().map(ToString::to_string).collect(),
            targets: settings.targets.iter().map(target).collect(),
            order: settings.order.as_str().to_owned(),
            placement: settings.placement.as_str().to_owned(),
            at_once: limits.at_once,
            per_source: limits.per_source,
            per_target: limits.per_target,
            cutovers_per_minute: limits.cutovers_per_minute,
            copy_rate_max: limits.copy_rate_max,
            copy_bytes_rate_max: limits.copy_bytes_rate_max,
            window: settings.window.as_ref().map(Window::to_string),
            tries_max: settings.tries_max,
            retry_after_ms: settings.retry_after_ms,
            failures_max: settings.failures_max,
            patience_ms: settings.patience_ms,
            cutovers_max: settings.cutovers_max,
            options: (&settings.options).into(),
        }
    }
}

impl TryFrom<SettingsRecord> for Settings {
    type Error = Unreadable;

    fn try_from(record: SettingsRecord) -> Result<Self, Unreadable> {
        let bad_store = |why: InvalidStoreId| unreadable(SETTINGS, why);
        let store = |name: &String| name.parse::<StoreId>().map_err(bad_store);
        let targets = record
            .targets
            .iter()
            .map(|target| Ok(Target { store: store(&target.store)?, weight: target.weight }));
        let unknown = |word: &str| unreadable(SETTINGS, format!("{word:?}"));
        let window = record.window.as_deref().map(Window::parse).transpose();
        Ok(Self {
            sources: record.sources.iter().map(store).collect::<Result<_, _>>()?,
            targets: targets.collect::<Result<_, Unreadable>>()?,
            order: Order::parse(&record.order).ok_or_else(|| unknown(&record.order))?,
            placement: Placement::parse(&record.placement)
                .ok_or_else(|| unknown(&record.placement))?,
            limits: Limits {
                at_once: record.at_once,
                per_source: record.per_source,
                per_target: record.per_target,
                cutovers_per_minute: record.cutovers_per_minute,
                copy_rate_max: record.copy_rate_max,
                copy_bytes_rate_max: record.copy_bytes_rate_max,
            },
            window: window.map_err(|why: BadWindow| unreadable(SETTINGS, why))?,
            tries_max: record.tries_max,
            retry_after_ms: record.retry_after_ms,
            failures_max: record.failures_max,
            patience_ms: record.patience_ms,
            cutovers_max: record.cutovers_max,
            options: record.options.try_into()?,
        })
    }
}

/// The state of a tenant from its two words: [`TenantState::as_str`], and [`Stay::as_str`] of one that stays.
pub fn read_tenant_state(state: &str, stay: Option<&str>) -> Result<TenantState, Unreadable> {
    const WHAT: &str = "state of a drain's tenant";
    let plain = [
        TenantState::Waiting,
        TenantState::Again,
        TenantState::Moving,
        TenantState::Moved,
        TenantState::SetAside,
    ];
    if let Some(found) = plain.into_iter().find(|plain| plain.as_str() == state) {
        return Ok(found);
    }
    let stay = stay.and_then(Stay::parse).ok_or_else(|| unreadable(WHAT, format!("{state:?}")))?;
    Ok(TenantState::Stays(stay))
}

/// The word of why a tenant stays, if it stays.
pub const fn stay_word(state: TenantState) -> Option<&'static str> {
    match state {
        TenantState::Stays(stay) => Some(stay.as_str()),
        _ => None,
    }
}
