//! The file, section by section.

use std::path::Path;

use rehome_domain::ids::StoreId;

use super::client::ClientDraft;
use super::server::{self, ServerDraft};
use super::table::{Source, Table};
use super::telemetry::TelemetryDraft;
use super::{ConfigError, Draft, MigrationDefaults, MonitoringConfig, Place, Set, StoreDraft, Url};
use super::{alerts, audit, publish};
use crate::layouts::LayoutSource;

pub(super) fn read(path: &Path, text: &str) -> Result<Draft, ConfigError> {
    let source = Source { path, text };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut root = source.root()?;
    let mut draft = Draft::default();

    if let Some(mut table) = root.table("control_plane")? {
        draft.control_plane = url(&mut table, "control_plane.url", folder)?;
        table.end()?;
    }
    for (place, mut table) in root.tables("stores")? {
        draft.stores.push(store(&place, &mut table, folder)?);
        table.end()?;
    }
    if let Some(table) = root.table("migration")? {
        draft.migration = MigrationDefaults::read(table)?;
    }
    if let Some(mut table) = root.table("monitoring")? {
        if let Some(set) = table.text("runbook_url")? {
            draft.alerts.runbook = set.value;
        }
        alerts::thresholds(table.table("thresholds")?, &mut draft.alerts)?;
        draft.monitoring = MonitoringConfig::read(table)?;
    }
    if let Some(table) = root.table("telemetry")? {
        draft.telemetry = TelemetryDraft::read(table)?;
    }
    if let Some(table) = root.table("server")? {
        draft.server = ServerDraft::read(table, folder)?;
    }
    if let Some(table) = root.table("client")? {
        draft.client = ClientDraft::read(table, folder)?;
    }
    if let Some(table) = root.table("audit")? {
        draft.audit_key = audit::read(table, folder)?;
    }
    for (place, table) in root.tables("publish")? {
        draft.publish.push(publish::read(&place, table, folder)?);
    }
    if let Some(table) = root.table("auth")? {
        draft.tokens = server::tokens(table)?;
    }
    root.end()?;
    Ok(draft)
}

fn url(table: &mut Table<'_>, name: &str, folder: &Path) -> Result<Option<Set<Url>>, ConfigError> {
    let Some(set) = table.text("url")? else { return Ok(None) };
    let value = Url::parse(&set.value, folder)
        .map_err(|problem| set.place.refuse(format!("{name} {problem}")))?;
    Ok(Some(Set { value, place: set.place }))
}

fn store(place: &Place, table: &mut Table<'_>, folder: &Path) -> Result<StoreDraft, ConfigError> {
    let id = table.text("id")?.ok_or_else(|| place.refuse("stores.id is missing"))?;
    let value: StoreId =
        id.value.parse().map_err(|problem| id.place.refuse(format!("stores.id: {problem}")))?;
    Ok(StoreDraft {
        id: Set { value, place: id.place },
        url: url(table, "stores.url", folder)?,
        default: table.flag("default")?.is_some_and(|set| set.value),
        layout: table
            .text("layout")?
            .map(|set| Set { value: LayoutSource::parse(&set.value, folder), place: set.place }),
    })
}
