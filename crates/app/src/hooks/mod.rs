//! Runs `[[hooks]]`: calls before a step, and notifications after one.

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use rehome_engine::{Hooks, Occasion, On, Veto};
use rehome_ports::TenantNames;
use serde_json::json;

use crate::config::{HookConfig, HookWay};
use crate::delivery::{Carrier, Taken};
use crate::error::AppError;
use crate::key::Key;

/// All entries of `[[hooks]]`.
pub(crate) struct ConfiguredHooks {
    entries: Vec<Entry>,
    deployment: String,
    names: TenantNames,
}

struct Entry {
    name: String,
    on: Vec<On>,
    carrier: Carrier,
    error_vetoes: bool,
}

impl ConfiguredHooks {
    /// Those that are configured; `None`: there are none.
    pub(crate) fn new(
        entries: &[HookConfig],
        deployment: &str,
        names: &TenantNames,
    ) -> Result<Option<Self>, AppError> {
        if entries.is_empty() {
            return Ok(None);
        }
        let entries = entries.iter().map(Entry::new).collect::<Result<_, _>>()?;
        Ok(Some(Self { entries, deployment: deployment.to_owned(), names: names.clone() }))
    }

    async fn carry(&self, entry: &Entry, occasion: &Occasion) -> Result<Taken, String> {
        let tenant = occasion.tenant.to_string();
        let name = self.names.of(occasion.tenant).unwrap_or_else(|| tenant.clone());
        let document = json!({
            "id": format!("{}/{}/{}", occasion.migration, occasion.entry, occasion.on),
            "on": occasion.on.as_str(),
            "hook": entry.name,
            "deployment": self.deployment,
            "tenant": tenant,
            "name": name,
            "from": occasion.from.as_str(),
            "to": occasion.to.as_str(),
            "migration": occasion.migration.to_string(),
            "epoch": occasion.epoch.0,
            "entry": occasion.entry,
            "at": rehome_api::Time(occasion.at.micros()),
            "actor": occasion.actor,
            "reason": occasion.why,
        });
        let values = [
            ("REHOME_ON", occasion.on.to_string()),
            ("REHOME_DEPLOYMENT", self.deployment.clone()),
            ("REHOME_TENANT", tenant),
            ("REHOME_TENANT_NAME", name),
            ("REHOME_FROM", occasion.from.to_string()),
            ("REHOME_TO", occasion.to.to_string()),
            ("REHOME_EPOCH", occasion.epoch.to_string()),
            ("REHOME_MIGRATION", occasion.migration.to_string()),
        ];
        entry.carrier.carry(Bytes::from(document.to_string()), &values).await
    }
}

impl Entry {
    fn new(config: &HookConfig) -> Result<Self, AppError> {
        let within = config.within;
        let carrier = match &config.way {
            HookWay::Http { endpoint, key_file } => {
                let key = key_file.as_deref();
                let key = key.map(|file| Key::read("hooks.key_file", file)).transpose()?;
                Carrier::Http { endpoint: Box::new(endpoint.clone()), key, within }
            }
            HookWay::Command(command) => Carrier::Command { command: command.clone(), within },
        };
        Ok(Self {
            name: config.name.clone(),
            on: config.on.clone(),
            carrier,
            error_vetoes: config.error_vetoes,
        })
    }
}

#[async_trait]
impl Hooks for ConfiguredHooks {
    async fn ask(&self, occasion: &Occasion) -> Result<(), Veto> {
        for entry in self.entries.iter().filter(|entry| entry.on.contains(&occasion.on)) {
            let why = match self.carry(entry, occasion).await {
                Ok(Taken::Done) => continue,
                Ok(Taken::Conflict(why) | Taken::NotNow(why)) => why,
                Err(error) if entry.error_vetoes => format!("it gave no answer ({error})"),
                Err(error) => {
                    tracing::warn!(hook = entry.name, on = %occasion.on, %error, "Hook ignored");
                    continue;
                }
            };
            return Err(Veto { hook: entry.name.clone(), why });
        }
        Ok(())
    }

    fn listeners(&self) -> Vec<String> {
        let listens = |entry: &&Entry| entry.on.iter().any(|on| !on.is_before());
        self.entries.iter().filter(listens).map(|entry| entry.name.clone()).collect()
    }

    fn hears(&self, name: &str, on: On) -> bool {
        self.entries.iter().any(|entry| entry.name == name && entry.on.contains(&on))
    }

    async fn notify(&self, name: &str, occasion: &Occasion) -> Result<(), String> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else {
            return Ok(());
        };
        match self.carry(entry, occasion).await? {
            // It knows a later step.
            Taken::Done | Taken::Conflict(_) => Ok(()),
            Taken::NotNow(why) => Err(format!("not now: {why}")),
        }
    }
}
