//! `REHOME_*`: what the environment sets, key by key.

use std::path::PathBuf;

use rehome_domain::ids::StoreId;

use super::draft::{Draft, Row};
use super::keys::{self, Entry, Shape, stores};
use super::values::{Given, Values};
use super::{ConfigError, Place};

const STORES: &str = "REHOME_STORES_";

/// What the variables of a section begin with.
fn prefixes() -> impl Iterator<Item = String> {
    let sections = keys::sections().filter(|section| !section.repeats || section.name == "stores");
    sections
        .map(|section| format!("REHOME_{}_", section.name.to_ascii_uppercase().replace('.', "_")))
}

/// The variables that name a part of the configuration, in the order of their names.
pub(super) fn ours(variables: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let prefixes: Vec<_> = prefixes().collect();
    let mut ours: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix.as_str())))
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

/// Overrides values of the file. Without a file a store may also be defined here only.
pub(super) fn apply(draft: &mut Draft, variables: &[(String, String)]) {
    let single: Vec<_> = keys::entries().filter(|entry| entry.section != "stores").collect();
    for (name, value) in variables {
        let place = Place::Variable(name.clone());
        let applied = if let Some(rest) = name.strip_prefix(STORES) {
            store(draft, rest, value, &place)
        } else {
            match single.iter().find(|entry| entry.variable().as_ref() == Some(name)) {
                Some(entry) => {
                    draft.values.set(entry, given(entry, value, &place));
                    Ok(())
                }
                None => Err(unknown(&place)),
            }
        };
        draft.problems.extend(applied.err());
    }
}

/// The value of a variable; a list is separated by commas.
fn given(entry: &Entry, value: &str, place: &Place) -> Given {
    let raw = match entry.shape {
        Shape::List => value.split(',').map(|text| text.trim().to_owned()).collect(),
        _ => vec![value.to_owned()],
    };
    Given { raw, place: place.clone(), folder: PathBuf::new() }
}

fn unknown(place: &Place) -> ConfigError {
    place.refuse("names no key of the configuration")
}

fn store(draft: &mut Draft, rest: &str, value: &str, place: &Place) -> Result<(), ConfigError> {
    let named = keys::of("stores").filter(|entry| entry.variable().is_some()).find_map(|entry| {
        let suffix = format!("_{}", entry.name.to_ascii_uppercase());
        Some((entry, rest.strip_suffix(&suffix)?.to_owned()))
    });
    let (entry, name) = named.ok_or_else(|| unknown(place))?;
    let index = match matching(draft, &name, place)? {
        Some(index) => index,
        None if draft.place == Place::Environment => {
            let id = name.to_ascii_lowercase();
            id.parse::<StoreId>().map_err(|problem| place.refuse(problem.to_string()))?;
            let mut values = Values::default();
            for entry in keys::of("stores").filter(|entry| entry.name == stores::ID.name) {
                values.set(&entry, given(&entry, &id, place));
            }
            stores_of(draft).push(Row { place: place.clone(), values });
            stores_of(draft).len() - 1
        }
        None => return Err(place.refuse("names a store that is not in the file")),
    };
    // The environment has the last word on which one is the default store.
    if entry.name == stores::DEFAULT.name && value == "true" {
        for store in stores_of(draft) {
            store.values.unset(&stores::DEFAULT);
        }
    }
    stores_of(draft)[index].values.set(&entry, given(&entry, value, place));
    Ok(())
}

fn stores_of(draft: &mut Draft) -> &mut Vec<Row> {
    draft.rows.entry("stores").or_default()
}

/// The store that a variable means.
fn matching(draft: &Draft, name: &str, place: &Place) -> Result<Option<usize>, ConfigError> {
    let written = |row: &Row| {
        let id = row.values.value(&stores::ID).ok().flatten()?;
        Some(id.as_str().to_ascii_uppercase().replace('-', "_"))
    };
    let named = |(_, row): &(usize, &Row)| written(row).as_deref() == Some(name);
    let mut found = draft.rows("stores").iter().enumerate().filter(named).map(|(index, _)| index);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(place.refuse("matches more than one store; rename one of them")),
        (first, None) => Ok(first),
    }
}
