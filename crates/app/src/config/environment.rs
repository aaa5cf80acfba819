//! `REHOME_*`: the environment's say, key by key.

use std::path::Path;

use rehome_domain::ids::StoreId;

use super::client::ClientDraft;
use super::server::ServerDraft;
use super::telemetry::TelemetryDraft;
use super::{
    ConfigError, Draft, MigrationDefaults, MonitoringConfig, Place, Set, StoreDraft, Url, alerts,
    audit,
};
use crate::layouts::LayoutSource;

const CONTROL_PLANE: &str = "REHOME_CONTROL_PLANE_";
const STORES: &str = "REHOME_STORES_";
const MIGRATION: &str = "REHOME_MIGRATION_";
const THRESHOLDS: &str = "REHOME_MONITORING_THRESHOLDS_";
const TELEMETRY: &str = "REHOME_TELEMETRY_";
const SERVER: &str = "REHOME_SERVER_";
const CLIENT: &str = "REHOME_CLIENT_";
const MONITORING: &str = "REHOME_MONITORING_";
const AUDIT: &str = "REHOME_AUDIT_";

/// The variables that name a part of the configuration, in the order of their names.
pub(super) fn ours(variables: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let prefixes = [CONTROL_PLANE, STORES, MIGRATION, TELEMETRY, SERVER, CLIENT, MONITORING, AUDIT];
    let mut ours: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        // An empty variable is one that is not set.
        .filter(|(name, value)| !value.is_empty() && !is_platforms(name, value))
        .collect();
    ours.sort();
    ours
}

/// Whether Kubernetes, or a container link, sets the variable: it announces each service of a namespace
/// as `NAME_SERVICE_HOST`, `NAME_PORT_80_TCP_ADDR` and the like, and a service may be named as rehome's
/// keys are.
fn is_platforms(name: &str, value: &str) -> bool {
    let protocols = ["TCP", "UDP", "SCTP"];
    if name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") {
        return true;
    }
    let scheme = value.split_once("://").map(|(scheme, _)| scheme.to_ascii_uppercase());
    if name.ends_with("_PORT") && scheme.is_some_and(|it| protocols.contains(&it.as_str())) {
        return true;
    }
    // ..._PORT_7411_TCP, ..._PORT_7411_TCP_ADDR
    let mut parts = name.split('_').rev().skip_while(|part| !protocols.contains(part));
    let (protocol, number, port) = (parts.next(), parts.next(), parts.next());
    protocol.is_some()
        && number.is_some_and(|number| number.parse::<u16>().is_ok())
        && port == Some("PORT")
}

/// Overrides what the file says. Without a file (`may_add`) a store may also be named here only.
pub(super) fn apply(
    draft: &mut Draft,
    variables: &[(String, String)],
    may_add: bool,
) -> Result<(), ConfigError> {
    for (name, value) in variables {
        let set = Set { value: value.clone(), place: Place::Variable(name.clone()) };
        if name == "REHOME_CONTROL_PLANE_URL" {
            draft.control_plane = Some(url(&set)?);
        } else if name == "REHOME_MONITORING_RUNBOOK_URL" {
            draft.alerts.runbook.clone_from(&set.value);
        } else if let Some(key) = name.strip_prefix(THRESHOLDS) {
            alerts::threshold(&mut draft.alerts, &key.to_ascii_lowercase(), &set)?;
        } else if let Some(key) = name.strip_prefix(TELEMETRY) {
            let key = TelemetryDraft::key(&key.to_ascii_lowercase());
            draft.telemetry.set(key.ok_or_else(|| unknown(&set))?, &set)?;
        } else if let Some(key) = name.strip_prefix(MIGRATION) {
            let key = MigrationDefaults::key(&key.to_ascii_lowercase());
            draft.migration.set(key.ok_or_else(|| unknown(&set))?, &set)?;
        } else if let Some(key) = name.strip_prefix(SERVER) {
            let key = ServerDraft::key(&key.to_ascii_lowercase());
            draft.server.set(key.ok_or_else(|| unknown(&set))?, &set, Path::new(""))?;
        } else if let Some(key) = name.strip_prefix(CLIENT) {
            let key = ClientDraft::key(&key.to_ascii_lowercase());
            draft.client.set(key.ok_or_else(|| unknown(&set))?, &set, Path::new(""))?;
        } else if let Some(key) = name.strip_prefix(MONITORING) {
            let key = MonitoringConfig::key(&key.to_ascii_lowercase());
            draft.monitoring.set(key.ok_or_else(|| unknown(&set))?, &set)?;
        } else if name
            .strip_prefix(AUDIT)
            .is_some_and(|key| audit::is_key(&key.to_ascii_lowercase()))
        {
            draft.audit_key = Some(set.value.into());
        } else if let Some(rest) = name.strip_prefix(STORES) {
            store(draft, rest, &set, may_add)?;
        } else {
            return Err(unknown(&set));
        }
    }
    Ok(())
}

fn unknown(set: &Set<String>) -> ConfigError {
    set.place.refuse("names no key of the configuration")
}

fn url(set: &Set<String>) -> Result<Set<Url>, ConfigError> {
    let value =
        Url::parse(&set.value, Path::new("")).map_err(|problem| set.place.refuse(problem))?;
    Ok(Set { value, place: set.place.clone() })
}

fn store(
    draft: &mut Draft,
    rest: &str,
    set: &Set<String>,
    may_add: bool,
) -> Result<(), ConfigError> {
    let keys = [StoreKey::Url, StoreKey::Default, StoreKey::Layout];
    let named = keys.into_iter().find_map(|key| Some((key, rest.strip_suffix(key.suffix())?)));
    let (key, name) = named.ok_or_else(|| unknown(set))?;
    let index = match matching(draft, name, set)? {
        Some(index) => index,
        None if may_add => {
            let id: StoreId = name
                .to_ascii_lowercase()
                .parse()
                .map_err(|problem| set.place.refuse(format!("{problem}")))?;
            let id = Set { value: id, place: set.place.clone() };
            draft.stores.push(StoreDraft { id, url: None, default: false, layout: None });
            draft.stores.len() - 1
        }
        None => return Err(set.place.refuse("names a store that the file does not")),
    };
    match key {
        StoreKey::Url => draft.stores[index].url = Some(url(set)?),
        StoreKey::Layout => {
            let value = LayoutSource::parse(&set.value, Path::new(""));
            draft.stores[index].layout = Some(Set { value, place: set.place.clone() });
        }
        StoreKey::Default => {
            let value = set.value.parse().map_err(|_| set.place.refuse("must be true or false"))?;
            // The environment has the last word on which one it is.
            if value {
                draft.stores.iter_mut().for_each(|store| store.default = false);
            }
            draft.stores[index].default = value;
        }
    }
    Ok(())
}

/// A key of a store.
#[derive(Clone, Copy)]
enum StoreKey {
    Url,
    Default,
    Layout,
}

impl StoreKey {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Url => "_URL",
            Self::Default => "_DEFAULT",
            Self::Layout => "_LAYOUT",
        }
    }
}

/// The store that a variable means.
fn matching(draft: &Draft, name: &str, set: &Set<String>) -> Result<Option<usize>, ConfigError> {
    let written = |id: &StoreId| id.as_str().to_ascii_uppercase().replace('-', "_");
    let mut found = draft
        .stores
        .iter()
        .enumerate()
        .filter(|(_, store)| written(&store.id.value) == name)
        .map(|(index, _)| index);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(set.place.refuse("could mean more than one store; rename one of them")),
        (first, None) => Ok(first),
    }
}
