//! The file, section by section.

use std::path::Path;
use std::time::Duration;

use rehome_api::duration::Millis;
use rehome_domain::ids::StoreId;
use toml::de::DeTable;

use super::alerts;
use super::server::{self, ServerDraft};
use super::table::{Source, Table};
use super::{
    ConfigError, Draft, LogFormat, MigrationDefaults, MonitoringConfig, Place, Set, StoreDraft, Url,
};

pub(super) fn read(path: &Path, text: &str) -> Result<Draft, ConfigError> {
    let source = Source { path, text };
    let root = DeTable::parse(text).map_err(|error| {
        let place = error.span().map_or(Place::File(path.to_owned()), |span| source.at(span.start));
        // Only the parser's words: its display would repeat the line, which may hold a secret.
        place.refuse(format!("not TOML: {}", error.message()))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut root = Table::new(source, "", root.into_inner());
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
        telemetry(table, &mut draft)?;
    }
    if let Some(table) = root.table("server")? {
        draft.server = ServerDraft::read(table, folder)?;
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
    })
}

fn telemetry(mut table: Table<'_>, draft: &mut Draft) -> Result<(), ConfigError> {
    if let Some(set) = table.text("log")? {
        draft.log = log_format(&set)?;
    }
    if let Some(set) = table.text("metrics_retention")? {
        draft.metrics_retention = Some(metrics_retention(&set)?);
    }
    let endpoint = table.text("otlp_endpoint")?.map(|set| set.place);
    let protocol = table.text("otlp_protocol")?;
    if let Some(set) = &protocol
        && !["grpc", "http"].contains(&set.value.as_str())
    {
        return Err(set.place.refuse("telemetry.otlp_protocol must be \"grpc\" or \"http\""));
    }
    table.end()?;
    no_effect(draft, "telemetry.otlp_*", endpoint.or(protocol.map(|set| set.place)));
    Ok(())
}

pub(super) fn log_format(set: &Set<String>) -> Result<LogFormat, ConfigError> {
    LogFormat::parse(&set.value)
        .ok_or_else(|| set.place.refuse("telemetry.log must be \"json\" or \"pretty\""))
}

pub(super) fn metrics_retention(set: &Set<String>) -> Result<Duration, ConfigError> {
    let millis = set.value.parse::<Millis>().map_err(|_| {
        set.place.refuse("telemetry.metrics_retention must be a duration like \"15m\"")
    })?;
    Ok(Duration::from_millis(millis.0))
}

fn no_effect(draft: &mut Draft, what: &str, place: Option<Place>) {
    if let Some(place) = place {
        let warning = place.refuse(format!("{what} has no effect in this version of rehome"));
        draft.warnings.push(warning.to_string());
    }
}
