//! Reporting a tenant's new store to applications with their own routing: `[[publish]]`.
//!
//! A driver reports every switch to every entry, until all have acknowledged. A switch
//! may be reported twice, and late; the epoch orders reports.

#[cfg(test)]
mod tests;
mod way;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::join_all;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_engine::{Moved, Publisher};
use rehome_ports::TenantNames;

use crate::config::PublishConfig;
use crate::error::AppError;
use way::Way;

/// All entries of `[[publish]]`.
pub(crate) struct Publications {
    entries: Vec<Entry>,
    names: TenantNames,
}

struct Entry {
    config: PublishConfig,
    way: Way,
    /// The highest epoch that it acknowledged to this process, by tenant.
    told: Mutex<HashMap<TenantId, Epoch>>,
}

impl Publications {
    /// The configured entries; `None`: there are none.
    pub(crate) fn new(
        entries: &[PublishConfig],
        deployment: &str,
        names: &TenantNames,
    ) -> Result<Option<Self>, AppError> {
        if entries.is_empty() {
            return Ok(None);
        }
        let each = entries.iter().map(|config| {
            let way = Way::new(&config.way, deployment)?;
            Ok(Entry { config: config.clone(), way, told: Mutex::default() })
        });
        let entries = each.collect::<Result<_, AppError>>()?;
        Ok(Some(Self { entries, names: names.clone() }))
    }
}

impl Entry {
    async fn publish(&self, moved: &Moved, name: &str) -> Result<(), String> {
        let lock = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().get(&moved.tenant).is_some_and(|epoch| *epoch >= moved.epoch) {
            return Ok(());
        }
        let (from, to) = (self.config.store(&moved.from), self.config.store(&moved.to));
        self.way.publish(moved, name, (from, to)).await.map_err(|why| self.told_by(&why))?;
        let mut told = lock();
        let epoch = told.entry(moved.tenant).or_insert(moved.epoch);
        *epoch = moved.epoch.max(*epoch);
        Ok(())
    }

    fn told_by(&self, why: &str) -> String {
        format!("[[publish]] {}: {why}", self.way.kind())
    }
}

/// The first problem of each, in one sentence.
fn all(outcomes: Vec<Result<(), String>>) -> Result<(), String> {
    let problems: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

#[async_trait]
impl Publisher for Publications {
    async fn publish(&self, moved: &Moved) -> Result<(), String> {
        let name = self.names.of(moved.tenant).unwrap_or_else(|| moved.tenant.to_string());
        // An entry that does not answer does not delay the others.
        all(join_all(self.entries.iter().map(|entry| entry.publish(moved, &name))).await)
    }

    async fn ready(&self, tenant: TenantId) -> Result<(), String> {
        let each = self
            .entries
            .iter()
            .map(async |entry| entry.way.ready(tenant).await.map_err(|why| entry.told_by(&why)));
        all(join_all(each).await)
    }
}
