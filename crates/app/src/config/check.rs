//! The configuration as a whole: what is missing, doubled or at odds.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rehome_engine::metrics::RETENTION;
use rehome_postgres::PostgresUrl;

use super::publish;
use super::{Config, ConfigError, Draft, Place, Set, StoreConfig, StoreDraft, Url};

pub(super) fn whole(draft: Draft, place: &Place) -> Result<Config, ConfigError> {
    let control_plane =
        draft.control_plane.ok_or_else(|| place.refuse("control_plane.url is missing"))?;
    if draft.stores.is_empty() {
        return Err(place.refuse("no store is configured; add [[stores]] with id and url"));
    }
    let default_store = default(&draft.stores, place)?;
    let mut names = HashSet::new();
    let mut places = HashMap::new();
    // A schema has room for a control plane and a store, a file has not.
    if let Some(path) = control_plane.value.file() {
        places.insert(file(path), "the control plane".to_owned());
    }
    let mut stores = Vec::with_capacity(draft.stores.len());
    for StoreDraft { id, url, layout, .. } in draft.stores {
        let Some(Set { value: url, place }) = url else {
            return Err(id.place.refuse(format!("stores.url of \"{}\" is missing", id.value)));
        };
        if !names.insert(id.value.clone()) {
            return Err(id.place.refuse(format!("stores.id \"{}\" is there twice", id.value)));
        }
        let what = format!("store \"{}\"", id.value);
        if let Some(other) = places.insert(url.key(), what.clone()) {
            let thing = if url.file().is_some() { "file" } else { "schema" };
            let why = format!("stores.url: {what} and {other} are the same {thing}");
            return Err(place.refuse(why));
        }
        let layout = layout.map(|Set { value, place }| value.layout(&place)).transpose()?;
        stores.push(StoreConfig { id: id.value, url, layout });
    }
    Ok(Config {
        control_plane: control_plane.value,
        stores,
        default_store,
        migration: draft.migration,
        log: draft.telemetry.log,
        monitoring: draft.monitoring,
        metrics_retention: draft.telemetry.metrics_retention.unwrap_or(RETENTION),
        traces: draft.telemetry.traces,
        server: draft.server.whole()?,
        tokens: draft.tokens,
        alerts: draft.alerts,
        audit_key: draft.audit_key,
        publish: publish::whole(draft.publish, &names)?,
        secret: draft.secret,
    })
}

fn default(
    stores: &[StoreDraft],
    place: &Place,
) -> Result<rehome_domain::ids::StoreId, ConfigError> {
    let mut marked = stores.iter().filter(|store| store.default);
    match (marked.next(), marked.next(), stores) {
        (Some(one), None, _) | (None, _, [one]) => Ok(one.id.value.clone()),
        (Some(_), Some(second), _) => {
            Err(second.id.place.refuse("stores.default is true for more than one store"))
        }
        (None, ..) => Err(place.refuse(
            "no store is the default one, where new tenants go; set stores.default = true for one",
        )),
    }
}

/// What two urls have in common that name the same place.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    #[cfg(unix)]
    Inode(u64, u64),
    Path(PathBuf),
    Schema(Box<PostgresUrl>),
}

fn file(path: &Path) -> Key {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(path) {
        use std::os::unix::fs::MetadataExt;
        return Key::Inode(metadata.dev(), metadata.ino());
    }
    // Not there yet: its folder, with all links followed, and its name.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let folder = folder.canonicalize().or_else(|_| std::path::absolute(folder));
    Key::Path(match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    })
}

impl Url {
    fn key(&self) -> Key {
        match self {
            Self::Sqlite(path) => file(path),
            Self::Postgres(url) => Key::Schema(url.clone()),
        }
    }

    /// Whether two urls name the same file, or the same schema.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
