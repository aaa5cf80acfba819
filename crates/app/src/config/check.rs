//! The configuration as a whole: what is missing, doubled or at odds.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Draft, Place, Set, StoreConfig, StoreDraft, Url};

pub(super) fn whole(draft: Draft, place: &Place) -> Result<Config, ConfigError> {
    let control_plane =
        draft.control_plane.ok_or_else(|| place.refuse("control_plane.url is missing"))?;
    if draft.stores.is_empty() {
        return Err(place.refuse("no store is configured; add [[stores]] with id and url"));
    }
    let default_store = default(&draft.stores, place)?;
    let mut names = HashSet::new();
    let mut files = HashMap::new();
    files.insert(file(control_plane.value.path()), "the control plane".to_owned());
    let mut stores = Vec::with_capacity(draft.stores.len());
    for StoreDraft { id, url, .. } in draft.stores {
        let Some(Set { value: url, place }) = url else {
            return Err(id.place.refuse(format!("stores.url of \"{}\" is missing", id.value)));
        };
        if !names.insert(id.value.clone()) {
            return Err(id.place.refuse(format!("stores.id \"{}\" is there twice", id.value)));
        }
        let what = format!("store \"{}\"", id.value);
        if let Some(other) = files.insert(file(url.path()), what.clone()) {
            return Err(place.refuse(format!("stores.url: {what} and {other} are the same file")));
        }
        stores.push(StoreConfig { id: id.value, url });
    }
    Ok(Config {
        control_plane: control_plane.value,
        stores,
        default_store,
        migration: draft.migration,
        log: draft.log,
        warnings: draft.warnings,
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

/// What two urls have in common that name the same file.
#[derive(PartialEq, Eq, Hash)]
enum FileKey {
    #[cfg(unix)]
    Inode(u64, u64),
    Path(PathBuf),
}

fn file(path: &Path) -> FileKey {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(path) {
        use std::os::unix::fs::MetadataExt;
        return FileKey::Inode(metadata.dev(), metadata.ino());
    }
    // Not there yet: its folder, with all links followed, and its name.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let folder = folder.canonicalize().or_else(|_| std::path::absolute(folder));
    FileKey::Path(match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    })
}

impl Url {
    /// Whether two urls name the same file.
    pub fn is_same_file(&self, other: &Self) -> bool {
        file(self.path()) == file(other.path())
    }
}
