//! `rehome.toml`: where the control plane and the stores are, and what migrations run with.
//!
//! ```toml
//! [control_plane]
//! url = "sqlite:control.db"          # relative to this file
//!
//! [[stores]]
//! id = "shared"
//! url = "sqlite:shared.db"
//! default = true                     # where new tenants go
//!
//! [[stores]]
//! id = "orders"
//! url = "postgres://rehome@db/orders"
//! layout = "orders.layout.toml"      # events in a table of another library (docs/layouts.md); relative
//!                                    # to this file, or the name of a layout that comes with rehome
//!
//! [[publish]]                        # who is told that a tenant was switched (docs/adopting.md)
//! kind = "eventsource-py"            # or "sql", "http", "command"
//! url = "postgres://rehome@db/routing"
//!
//! [migration]                        # what a migration runs with unless it is told otherwise
//! copy_rate_max = 5000
//! rollback_window = "1h"
//! ```
//!
//! **Nothing is passed over.** An unknown key and a bad value are refused with the key, the file
//! and the line.
//!
//! **The environment** overrides the file, key by key:
//!
//! | variable | key |
//! |---|---|
//! | `REHOME_CONTROL_PLANE_URL` | `control_plane.url` |
//! | `REHOME_STORES_<ID>_URL` | `url` of the store `<id>`; capitals, `-` written as `_` |
//! | `REHOME_STORES_<ID>_DEFAULT` | `default` of the store `<id>` |
//! | `REHOME_STORES_<ID>_LAYOUT` | `layout` of the store `<id>` |
//! | `REHOME_MIGRATION_<KEY>` | `migration.<key>`, for example `REHOME_MIGRATION_COPY_RATE_MAX` |
//! | `REHOME_MONITORING_RUNBOOK_URL` | `monitoring.runbook_url` |
//! | `REHOME_MONITORING_THRESHOLDS_<KEY>` | `monitoring.thresholds.<key>` |
//! | `REHOME_TELEMETRY_<KEY>` | `telemetry.<key>`, for example `REHOME_TELEMETRY_LOG` |
//! | `REHOME_CLIENT_<KEY>` | `client.<key>`; `REHOME_SERVER` is `client.url` too, and goes before it |
//! | `REHOME_TOKEN` | the token itself, instead of `client.token_file` |
//! | `REHOME_SERVER_<KEY>` | `server.bind`, `server.tls_cert`, `server.tls_key` |
//! | `REHOME_AUDIT_KEY_FILE` | `audit.key_file` |
//! | `REHOME_MONITORING_<KEY>` | `monitoring.<key>`, for example `REHOME_MONITORING_PROMETHEUS_URL` |
//!
//! Without a file the environment is the whole configuration; relative paths in it are relative to
//! the working directory. A variable that begins like these and names no key is refused too.
//!
//! A url may hold a password: it is never shown, [`Url`]'s `Debug` and `Display` leave it out.

mod alerts;
mod audit;
mod check;
mod client;
mod environment;
mod file;
mod migration;
mod monitoring;
mod network;
mod private;
mod publish;
mod server;
pub(crate) mod table;
mod telemetry;
#[cfg(test)]
mod tests;
mod url;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rehome_domain::ids::StoreId;
use rehome_domain::layout::Layout;
use rehome_engine::metrics::RETENTION;

use crate::layouts::LayoutSource;
use crate::tokens::Token;
use client::ClientDraft;
use server::ServerDraft;
use telemetry::TelemetryDraft;

pub use client::{ClientConfig, ServerUrl, TokenText};
pub use migration::MigrationDefaults;
pub use monitoring::MonitoringConfig;
pub use network::{Network, first_bits};
pub use publish::{PublishConfig, PublishWay};
pub use server::{CallerLimits, DEFAULT_PORT, ServerConfig, ServerLimits, TlsFiles};
pub use telemetry::{OtlpProtocol, TracesConfig};
pub use url::Url;

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "rehome.toml";

/// Everything that was configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the control plane is.
    pub control_plane: Url,
    /// The stores, in the order of the file.
    pub stores: Vec<StoreConfig>,
    /// The store that new tenants go to: one of `stores`.
    pub default_store: StoreId,
    /// What a migration runs with unless it is told otherwise.
    pub migration: MigrationDefaults,
    /// How log lines look.
    pub log: LogFormat,
    /// How long the metrics of a migration stay after it ended.
    pub metrics_retention: Duration,
    /// Where spans go.
    pub traces: TracesConfig,
    /// How the server listens.
    pub server: ServerConfig,
    /// Whom the server believes.
    pub tokens: Vec<Token>,
    /// Where the tools are that watch the deployment, and what is asked of it.
    pub monitoring: MonitoringConfig,
    /// When the alerts fire that `monitoring export` writes, and where their runbook is.
    pub alerts: rehome_monitoring::Settings,
    /// The key by which exported logs are signed.
    pub audit_key: Option<PathBuf>,
    /// Who is told of a switch.
    pub publish: Vec<PublishConfig>,
    /// The file itself, if there is a password in it.
    pub(crate) secret: Option<PathBuf>,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Its name.
    pub id: StoreId,
    /// Where it is.
    pub url: Url,
    /// Which column is what, if its events are in a table of another library.
    pub layout: Option<Layout>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// The format of that name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "pretty" => Some(Self::Pretty),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "the configuration file {} does not exist; name one with --config, or set \
         REHOME_CONTROL_PLANE_URL and REHOME_STORES_<ID>_URL", .0.display()
    )]
    NoFile(PathBuf),
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key or a value is not what it must be.
    #[error("{place}: {problem}")]
    Invalid {
        /// `file:line`, or the variable.
        place: String,
        /// The key and what is wrong with it.
        problem: String,
    },
}

/// Where a setting comes from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of a file.
    Line(PathBuf, usize),
    /// The file as a whole.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// The environment as a whole.
    Environment,
    /// An argument of the command.
    Argument(&'static str),
}

impl Place {
    pub(crate) fn refuse(&self, problem: impl Into<String>) -> ConfigError {
        let place = match self {
            Self::Line(path, line) => format!("{}:{line}", path.display()),
            Self::File(path) => path.display().to_string(),
            Self::Variable(name) => format!("environment variable {name}"),
            Self::Environment => "environment".to_owned(),
            Self::Argument(name) => (*name).to_owned(),
        };
        ConfigError::Invalid { place, problem: problem.into() }
    }
}

/// A setting and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Set<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// The configuration before it was looked at as a whole.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) control_plane: Option<Set<Url>>,
    pub(crate) stores: Vec<StoreDraft>,
    pub(crate) migration: MigrationDefaults,
    telemetry: TelemetryDraft,
    pub(crate) server: ServerDraft,
    pub(crate) client: ClientDraft,
    pub(crate) tokens: Vec<Token>,
    pub(crate) monitoring: MonitoringConfig,
    pub(crate) alerts: rehome_monitoring::Settings,
    pub(crate) audit_key: Option<PathBuf>,
    publish: Vec<PublishConfig>,
    pub(crate) secret: Option<PathBuf>,
}

impl Draft {
    /// Whether there is a password in it.
    fn holds_secret(&self) -> bool {
        let stores = self.stores.iter().filter_map(|store| store.url.as_ref());
        let mut urls = stores.chain(&self.control_plane);
        urls.any(|url| url.value.has_password())
            || self.monitoring.tools.hold_secret()
            || self.publish.iter().any(PublishConfig::holds_secret)
    }
}

#[derive(Debug)]
pub(crate) struct StoreDraft {
    pub(crate) id: Set<StoreId>,
    pub(crate) url: Option<Set<Url>>,
    pub(crate) default: bool,
    pub(crate) layout: Option<Set<LayoutSource>>,
}

impl Config {
    /// Reads `file`, or `./rehome.toml` if there is one, and then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_from(file, unicode_variables())
    }

    /// The same with the variables given.
    pub fn load_from(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (draft, whole) = draft(file, variables)?;
        check::whole(draft, &whole)
    }

    /// Stores in files of one folder, with the first as the default one: for a first look and for
    /// tests.
    pub fn embedded(folder: &Path, stores: &[StoreId]) -> Option<Self> {
        let file = |name: &str| Url::sqlite(folder.join(format!("{name}.db")));
        Some(Self {
            control_plane: file("control"),
            stores: stores
                .iter()
                .map(|id| {
                    let url = file(&format!("store-{id}"));
                    StoreConfig { id: id.clone(), url, layout: None }
                })
                .collect(),
            default_store: stores.first()?.clone(),
            migration: MigrationDefaults::default(),
            log: LogFormat::default(),
            metrics_retention: RETENTION,
            traces: TracesConfig::default(),
            server: ServerConfig::default(),
            tokens: Vec::new(),
            monitoring: MonitoringConfig::default(),
            alerts: rehome_monitoring::Settings::default(),
            audit_key: None,
            publish: Vec::new(),
            secret: None,
        })
    }
}

/// The environment; what is no Unicode can name no key of ours.
fn unicode_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// What the file says, and then the environment; and where it comes from as a whole.
fn draft(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(Draft, Place), ConfigError> {
    let variables = environment::ours(variables);
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let mut draft = Draft::default();
    let whole = match std::fs::read_to_string(path) {
        Ok(text) => {
            draft = file::read(path, &text)?;
            draft.secret = draft.holds_secret().then(|| path.to_owned());
            Place::File(path.to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if file.is_some() || variables.is_empty() {
                return Err(ConfigError::NoFile(path.to_owned()));
            }
            Place::Environment
        }
        Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    };
    let may_add = whole == Place::Environment;
    environment::apply(&mut draft, &variables, may_add)?;
    Ok((draft, whole))
}
