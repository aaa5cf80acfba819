//! A layout from TOML.

use std::path::Path;

use rehome_domain::layout::{Beside, BesideKind, Heads, Layout, TenantPart};

use crate::config::table::{Source, Table, TextOrTable};
use crate::config::{ConfigError, Place, Set};

/// Maximum length of a name in PostgreSQL, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Reads a layout from the text of a file.
pub(super) fn read(path: &Path, text: &str) -> Result<Layout, ConfigError> {
    let whole = Place::File(path.to_owned());
    let mut root = Source { path, text }.root()?;
    let layout_name = required(&mut root, &whole, "name", "name")?;
    let schema = optional(&mut root, "schema", "schema")?;
    let table = required(&mut root, &whole, "table", "table")?;
    let first_version = first_version(&mut root)?;
    let locks_table = root.boolean("locks_table")?.is_some_and(|set| set.value);
    let missing = || whole.refuse("columns is missing; write [columns] with the columns below it");
    let mut columns = root.table("columns")?.ok_or_else(missing)?;
    let mut used = Used::default();

    let tenant = tenant(&mut columns, &whole)?;
    let stream_type = optional(&mut columns, "stream_type", "columns.stream_type")?;
    let stream_id = names(&mut columns, "stream_id", "columns.stream_id")?;
    let stream_id = stream_id.ok_or_else(|| whole.refuse("columns.stream_id is missing"))?;
    if stream_id.value.is_empty() {
        return Err(stream_id.place.refuse("columns.stream_id names no column"));
    }
    let version = required(&mut columns, &whole, "version", "columns.version")?;
    let position = optional(&mut columns, "position", "columns.position")?;
    let event_id = optional(&mut columns, "event_id", "columns.event_id")?;
    let event_type = required(&mut columns, &whole, "event_type", "columns.event_type")?;
    let occurred_at = optional(&mut columns, "occurred_at", "columns.occurred_at")?;
    let recorded_at = optional(&mut columns, "recorded_at", "columns.recorded_at")?;
    let data = required(&mut columns, &whole, "data", "columns.data")?;
    let metadata = optional(&mut columns, "metadata", "columns.metadata")?;
    let anew = names(&mut columns, "anew", "columns.anew")?;
    columns.end()?;

    for name in &stream_id.value {
        used.column("columns.stream_id", name, &stream_id.place)?;
    }
    // A tenant may be a part of its streams' names, and in the metadata.
    if let (TenantPart::Column(name), place) = &tenant
        && !stream_id.value.contains(name)
    {
        used.column("columns.tenant", name, place)?;
    }
    for (key, set) in [
        ("columns.stream_type", stream_type.as_ref()),
        ("columns.version", Some(&version)),
        ("columns.position", position.as_ref()),
        ("columns.event_id", event_id.as_ref()),
        ("columns.event_type", Some(&event_type)),
        ("columns.occurred_at", occurred_at.as_ref()),
        ("columns.recorded_at", recorded_at.as_ref()),
        ("columns.data", Some(&data)),
        ("columns.metadata", metadata.as_ref()),
    ] {
        if let Some(set) = set {
            used.column(key, &set.value, &set.place)?;
        }
    }
    if let TenantPart::Json { column, .. } = &tenant.0 {
        used.0.push(("columns.tenant", column.clone()));
    }
    if let Some(anew) = &anew {
        for name in &anew.value {
            used.anew(name, &anew.place)?;
        }
    }
    let beside = beside(&mut root, &table.value)?;
    root.end()?;
    let layout = Layout {
        name: layout_name.value,
        schema: schema.map_or_else(|| "public".to_owned(), |set| set.value),
        table: table.value,
        tenant: tenant.0,
        stream_type: stream_type.map(|set| set.value),
        stream_id: stream_id.value,
        version: version.value,
        first_version,
        position: position.map(|set| set.value),
        event_id: event_id.map(|set| set.value),
        event_type: event_type.value,
        occurred_at: occurred_at.map(|set| set.value),
        recorded_at: recorded_at.map(|set| set.value),
        data: data.value,
        metadata: metadata.map(|set| set.value),
        anew: anew.map(|set| set.value).unwrap_or_default(),
        beside,
        locks_table,
    };
    if Layout::built_in(&layout.name).is_some_and(|known| known != layout) {
        let name = &layout.name;
        return Err(layout_name.place.refuse(format!(
            "name: \"{name}\" is a built-in layout, and this file differs from it; use another name"
        )));
    }
    Ok(layout)
}

/// Which columns have a part already.
#[derive(Default)]
struct Used(Vec<(&'static str, String)>);

impl Used {
    fn column(&mut self, key: &'static str, name: &str, place: &Place) -> Result<(), ConfigError> {
        if let Some((other, _)) = self.0.iter().find(|(_, used)| used == name) {
            let other = if *other == key { "itself" } else { other };
            return Err(place.refuse(format!(
                "{key} is \"{name}\", and so is {other}; a column is one part of an event"
            )));
        }
        self.0.push((key, name.to_owned()));
        Ok(())
    }

    fn anew(&mut self, name: &str, place: &Place) -> Result<(), ConfigError> {
        if let Some((other, _)) = self.0.iter().find(|(_, used)| used == name) {
            let why = match *other {
                "columns.anew" => "it is listed twice".to_owned(),
                "columns.position" => "the target always computes the position".to_owned(),
                other => format!("it is {other}, which is the same in every store"),
            };
            return Err(place.refuse(format!("columns.anew contains \"{name}\"; {why}")));
        }
        self.0.push(("columns.anew", name.to_owned()));
        Ok(())
    }
}

/// A name as PostgreSQL has them. `key` is the whole key, for messages.
fn name(key: &str, set: Set<String>) -> Result<Set<String>, ConfigError> {
    let problem = match &*set.value {
        "" => "is empty".to_owned(),
        text if text.len() > NAME_BYTES_MAX => {
            format!("has {} bytes, and names have at most {NAME_BYTES_MAX}", text.len())
        }
        text if text.contains('\0') => "contains a NUL".to_owned(),
        text if text.contains(['{', '}']) => {
            "contains a brace, which the guard cannot write; rename it".to_owned()
        }
        _ => return Ok(set),
    };
    Err(set.place.refuse(format!("{key} {problem}")))
}

fn optional(
    table: &mut Table<'_>,
    key: &'static str,
    whole_key: &str,
) -> Result<Option<Set<String>>, ConfigError> {
    table.text(key)?.map(|set| name(whole_key, set)).transpose()
}

fn required(
    table: &mut Table<'_>,
    whole: &Place,
    key: &'static str,
    whole_key: &str,
) -> Result<Set<String>, ConfigError> {
    optional(table, key, whole_key)?.ok_or_else(|| whole.refuse(format!("{whole_key} is missing")))
}

fn names(
    table: &mut Table<'_>,
    key: &'static str,
    whole_key: &str,
) -> Result<Option<Set<Vec<String>>>, ConfigError> {
    let Some(Set { value, place }) = table.texts(key)? else { return Ok(None) };
    let checked = value.into_iter().map(|text| {
        let set = Set { value: text, place: place.clone() };
        name(whole_key, set).map(|set| set.value)
    });
    let value = checked.collect::<Result<_, _>>()?;
    Ok(Some(Set { value, place }))
}

fn first_version(table: &mut Table<'_>) -> Result<u8, ConfigError> {
    let wanted = "0 or 1, the version of a stream's first event";
    let Some(set) = table.number("first_version", wanted)? else { return Ok(1) };
    match &*set.value {
        "0" => Ok(0),
        "1" => Ok(1),
        _ => Err(set.place.refuse(format!("first_version must be {wanted}"))),
    }
}

fn tenant(columns: &mut Table<'_>, whole: &Place) -> Result<(TenantPart, Place), ConfigError> {
    const HOW: &str =
        "write it as \"COLUMN\", { column = \"COLUMN\", key = \"KEY\" } or { prefix = \"-\" }";
    let (place, mut table) = match columns.text_or_table("tenant")? {
        None => return Err(whole.refuse(format!("columns.tenant is missing; {HOW}"))),
        Some(TextOrTable::Text(set)) => {
            let set = name("columns.tenant", set)?;
            return Ok((TenantPart::Column(set.value), set.place));
        }
        Some(TextOrTable::Table(place, table)) => (place, table),
    };
    let column = optional(&mut table, "column", "columns.tenant.column")?;
    let (key, prefix) = (table.text("key")?, table.text("prefix")?);
    table.end()?;
    for (text, which) in [(&key, "key"), (&prefix, "prefix")] {
        if let Some(set) = text
            && (set.value.is_empty() || set.value.contains('\0'))
        {
            return Err(set
                .place
                .refuse(format!("columns.tenant.{which} is empty, or contains a NUL")));
        }
    }
    let part = match (column, key, prefix) {
        (Some(column), Some(key), None) => {
            TenantPart::Json { column: column.value, key: key.value }
        }
        (None, None, Some(prefix)) => TenantPart::Prefix { separator: prefix.value },
        _ => {
            return Err(
                place.refuse(format!("columns.tenant has none of the accepted forms; {HOW}"))
            );
        }
    };
    Ok((part, place))
}

fn beside(root: &mut Table<'_>, events: &str) -> Result<Vec<Beside>, ConfigError> {
    let mut all: Vec<Beside> = Vec::new();
    for (place, mut entry) in root.tables("beside")? {
        let kind = entry.text("kind")?.ok_or_else(|| place.refuse("beside.kind is missing"))?;
        let known = super::KINDS.iter().find(|(_, word)| *word == kind.value);
        let Some((kind, _)) = known else {
            let words: Vec<_> = super::KINDS.iter().map(|(_, word)| *word).collect();
            return Err(kind
                .place
                .refuse(format!("beside.kind must be one of {}", words.join(", "))));
        };
        let table = required(&mut entry, &place, "table", "beside.table")?;
        if table.value == events {
            return Err(table.place.refuse(format!(
                "beside.table is \"{events}\", which is the table of the events"
            )));
        }
        if all.iter().any(|other| other.table == table.value) {
            return Err(table
                .place
                .refuse(format!("beside.table \"{}\" is defined twice", table.value)));
        }
        let tenant = optional(&mut entry, "tenant", "beside.tenant")?;
        let position = optional(&mut entry, "position", "beside.position")?;
        let heads = heads(&mut entry, *kind)?;
        if heads.is_some() && all.iter().any(|other| other.heads.is_some()) {
            return Err(table
                .place
                .refuse("two tables of streams' heads go with the events; there is one"));
        }
        entry.end()?;
        if let (Some(tenant), Some(position)) = (&tenant, &position)
            && tenant.value == position.value
        {
            return Err(position.place.refuse(format!(
                "beside.position is \"{}\", and so is beside.tenant",
                position.value
            )));
        }
        all.push(Beside {
            kind: *kind,
            table: table.value,
            tenant: tenant.map(|set| set.value),
            position: position.map(|set| set.value),
            heads,
        });
    }
    Ok(all)
}

/// How the rows of a table of streams' heads follow the events.
fn heads(entry: &mut Table<'_>, kind: BesideKind) -> Result<Option<Heads>, ConfigError> {
    let stream_id = names(entry, "stream_id", "beside.stream_id")?;
    let version = optional(entry, "version", "beside.version")?;
    let same = names(entry, "same", "beside.same")?;
    let travels = names(entry, "travels", "beside.travels")?;
    let places = [&stream_id, &same, &travels].map(|set| set.as_ref().map(|set| &set.place));
    let place = places.into_iter().flatten().chain(version.as_ref().map(|set| &set.place)).next();
    let Some(place) = place.cloned() else { return Ok(None) };
    if kind != BesideKind::Streams {
        return Err(place.refuse(
            "stream_id, version, same and travels are for [[beside]] of the kind \"streams\"",
        ));
    }
    let (Some(stream_id), Some(version)) = (stream_id, version) else {
        return Err(place.refuse("beside.stream_id and beside.version go together"));
    };
    let values = |set: Option<Set<Vec<String>>>| set.map(|set| set.value).unwrap_or_default();
    let heads = Heads {
        stream_id: stream_id.value,
        version: version.value,
        same: values(same),
        travels: values(travels),
    };
    let all =
        || heads.stream_id.iter().chain([&heads.version]).chain(&heads.same).chain(&heads.travels);
    if let Some(twice) = all().find(|name| all().filter(|other| other == name).count() > 1) {
        return Err(place.refuse(format!("[[beside]] names column \"{twice}\" twice")));
    }
    Ok(Some(heads))
}

/// The word for what a table beside the events holds.
pub(super) fn word(kind: BesideKind) -> &'static str {
    super::KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, word)| word)
}
