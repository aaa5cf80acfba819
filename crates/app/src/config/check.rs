//! The configuration as a whole: missing, duplicate and contradictory values.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rehome_domain::ids::StoreId;

use super::draft::{Draft, Row};
use super::keys::{self, audit, telemetry};
use super::otlp::Standard;
use super::values::Values;
use super::{ClientConfig, Config, ConfigError, MigrationDefaults, MonitoringConfig, Place};
use super::{
    OtlpConfig, ServerConfig, Set, StoreConfig, Url, alerts, client, hooks, issuers, publish,
    server,
};

/// The configuration, or everything that is wrong with it.
pub(super) fn whole(draft: &mut Draft) -> Result<Config, Vec<ConfigError>> {
    let mut found = Found { problems: std::mem::take(&mut draft.problems) };
    let draft = &*draft;
    let control_plane = found.ok(control_plane(draft)).flatten();
    let stores = stores(draft, control_plane.as_ref(), &mut found);
    let ids: HashSet<_> = stores.iter().map(|store| store.id.clone()).collect();
    let default_store = found.ok(default_store(draft.rows("stores"), &draft.place)).flatten();
    let values = &draft.values;
    let migration = found.ok(MigrationDefaults::of(values));
    let log = found.ok(values.effective(&telemetry::LOG));
    let metrics_retention = found.ok(values.effective(&telemetry::METRICS_RETENTION));
    let otlp = found.ok(OtlpConfig::of(values, &draft.standard));
    let server = found.ok(ServerConfig::of(values));
    let (tokens, problems) = server::tokens(draft.rows("auth.tokens"));
    for problem in problems {
        found.add(problem);
    }
    let (issuers, certificates, problems) = issuers::of(draft);
    for problem in problems {
        found.add(problem);
    }
    let monitoring = found.ok(MonitoringConfig::of(values));
    let alerts = found.ok(alerts::settings(draft));
    let audit_key = found.ok(values.value(&audit::KEY_FILE));
    let entries = draft.rows("publish").iter().map(|row| {
        let entry = publish::of(row)?;
        publish::knows(&entry, &ids)?;
        Ok(entry)
    });
    let publish: Vec<_> = entries.filter_map(|entry| found.ok(entry)).collect();
    let rows = draft.rows("hooks");
    let hooks: Vec<_> = rows.iter().filter_map(|row| found.ok(hooks::of(row))).collect();
    if hooks.len() == rows.len() {
        found.ok(hooks::are_apart(&hooks, rows));
    }
    let config = || {
        let mut config = Config {
            control_plane: control_plane?,
            stores,
            default_store: default_store?,
            migration: migration?,
            log: log?,
            metrics_retention: metrics_retention?,
            otlp: otlp?,
            server: server?,
            tokens,
            issuers,
            certificates,
            monitoring: monitoring?,
            alerts: alerts?,
            audit_key: audit_key?,
            publish,
            hooks,
            secret: None,
        };
        config.secret = draft.file().filter(|_| config.holds_secret()).cloned();
        Some(config)
    };
    match config() {
        Some(config) if found.problems.is_empty() => Ok(config),
        _ => Err(found.problems),
    }
}

/// The problems, each reported once.
struct Found {
    problems: Vec<ConfigError>,
}

impl Found {
    fn add(&mut self, problem: ConfigError) {
        let text = problem.to_string();
        if self.problems.iter().all(|known| known.to_string() != text) {
            self.problems.push(problem);
        }
    }

    fn ok<T>(&mut self, read: Result<T, ConfigError>) -> Option<T> {
        read.map_err(|problem| self.add(problem)).ok()
    }
}

/// Everything that is wrong with a configuration: of stores and the control plane, and of the client's
/// section. A file that only names a server needs no stores. Empty: nothing is wrong.
pub fn problems(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<ConfigError> {
    let variables: Vec<_> = variables.into_iter().collect();
    let token = variables.iter().find(|(name, value)| name == client::TOKEN && !value.is_empty());
    let token = token.map(|(_, value)| value.clone());
    let mut draft = match Draft::read(file, variables) {
        Ok(draft) => draft,
        Err(problem) => return vec![problem],
    };
    let is_client = draft.values.raw_of(&keys::client::URL).is_some()
        && draft.values.raw_of(&keys::control_plane::URL).is_none()
        && draft.rows("stores").is_empty();
    let problems = if is_client {
        std::mem::take(&mut draft.problems)
    } else {
        whole(&mut draft).err().unwrap_or_default()
    };
    let mut found = Found { problems };
    found.ok(ClientConfig::of(&draft.values, None, token.as_deref()));
    found.problems
}

/// Everything but the control plane and the stores, by default.
pub(super) fn defaults(control_plane: Url, stores: Vec<StoreConfig>, default: StoreId) -> Config {
    let values = Values::default();
    let read = || -> Result<Config, ConfigError> {
        Ok(Config {
            control_plane,
            stores,
            default_store: default,
            migration: MigrationDefaults::of(&values)?,
            log: values.effective(&telemetry::LOG)?,
            metrics_retention: values.effective(&telemetry::METRICS_RETENTION)?,
            otlp: OtlpConfig::of(&values, &Standard::default())?,
            server: ServerConfig::of(&values)?,
            tokens: Vec::new(),
            issuers: Vec::new(),
            certificates: Vec::new(),
            monitoring: MonitoringConfig::of(&values)?,
            alerts: alerts::settings(&Draft::default())?,
            audit_key: None,
            publish: Vec::new(),
            hooks: Vec::new(),
            secret: None,
        })
    };
    read().expect("a test reads the default of every key")
}

/// Nothing only where a problem was found already.
fn control_plane(draft: &Draft) -> Result<Option<Url>, ConfigError> {
    let url = draft.values.value(&keys::control_plane::URL)?;
    url.map(Some).ok_or_else(|| draft.place.refuse("control_plane.url is missing"))
}

/// The stores that nothing is wrong with.
fn stores(draft: &Draft, control_plane: Option<&Url>, found: &mut Found) -> Vec<StoreConfig> {
    let mut names = HashSet::new();
    let mut places = HashMap::new();
    // A schema has room for a control plane and a store, a file has not.
    if let Some(path) = control_plane.and_then(Url::file) {
        places.insert(file(path), "the control plane".to_owned());
    }
    let mut stores = Vec::new();
    for row in draft.rows("stores") {
        let read = store(row).and_then(|(store, place)| {
            let id = &store.id;
            if !names.insert(id.clone()) {
                let set = row.values.given(&keys::stores::ID)?;
                let place = set.map_or_else(|| row.place.clone(), |set| set.place);
                return Err(place.refuse(format!("stores.id \"{id}\" is defined twice")));
            }
            let what = format!("store \"{id}\"");
            if let Some(other) = places.insert(store.url.key(), what.clone()) {
                let thing = if store.url.file().is_some() { "file" } else { "schema" };
                let why = format!("stores.url: {what} and {other} are the same {thing}");
                return Err(place.refuse(why));
            }
            Ok(store)
        });
        stores.extend(found.ok(read));
    }
    stores
}

/// A store, and where its url was set.
fn store(row: &Row) -> Result<(StoreConfig, Place), ConfigError> {
    let id = row.values.given(&keys::stores::ID)?;
    let Set { value: id, place } = id.ok_or_else(|| row.place.refuse("stores.id is missing"))?;
    let url = row.values.given(&keys::stores::URL)?;
    let url = url.ok_or_else(|| place.refuse(format!("stores.url of \"{id}\" is missing")))?;
    let layout = row.values.given(&keys::stores::LAYOUT)?;
    let layout = layout.map(|Set { value, place }| value.layout(&place)).transpose()?;
    let size_max_bytes = row.values.value(&keys::stores::SIZE_MAX_BYTES)?;
    Ok((StoreConfig { id, url: url.value, layout, size_max_bytes }, url.place))
}

/// Where new tenants go. Nothing only where a problem was found already.
fn default_store(rows: &[Row], place: &Place) -> Result<Option<StoreId>, ConfigError> {
    if rows.is_empty() {
        return Err(place.refuse("no store is configured; add [[stores]] with id and url"));
    }
    let mut marked = Vec::new();
    for row in rows {
        if row.values.effective(&keys::stores::DEFAULT)? {
            marked.push(row);
        }
    }
    let id = |row: &Row| row.values.given(&keys::stores::ID);
    match (&*marked, rows) {
        ([one], _) => Ok(id(one)?.map(|set| set.value)),
        ([], [one]) => Ok(id(one)?.map(|set| set.value)),
        ([_, second, ..], _) => {
            let place = id(second)?.map_or_else(|| second.place.clone(), |set| set.place);
            Err(place.refuse("stores.default is true for more than one store"))
        }
        ([], _) => Err(place.refuse(
            "no store is the default, where new tenants are created; set stores.default = true for one",
        )),
    }
}

/// What two urls have in common that name the same place.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    #[cfg(unix)]
    Inode(u64, u64),
    Path(PathBuf),
    Schema(String),
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
            Self::Postgres(url) => Key::Schema(url.to_string()),
        }
    }

    /// Whether two urls name the same file, or the same schema.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
