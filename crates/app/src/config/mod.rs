//! `rehome.toml`: the control plane, the stores, and the defaults of migrations.
//!
//! ```toml
//! [control_plane]
//! url = "sqlite:control.db"          # relative to this file
//!
//! [[stores]]
//! id = "shared"
//! url = "sqlite:shared.db"
//! default = true                     # where new tenants are created
//!
//! [[stores]]
//! id = "orders"
//! url = "postgres://rehome@db/orders"
//! layout = "orders.layout.toml"      # events in a table of another library (docs/layouts.md); relative
//!                                    # to this file, or the name of a built-in layout
//!
//! [[publish]]                        # where to report a tenant's switch (docs/adopting.md)
//! kind = "eventsource-py"            # or "sql", "http", "command"
//! url = "postgres://rehome@db/routing"
//!
//! [migration]                        # defaults of migrations
//! copy_rate_max = 5000
//! rollback_window = "1h"
//! ```
//!
//! **Nothing is ignored.** An unknown key and a bad value are refused with the key, the file
//! and the line.
//!
//! **The environment** overrides the file, key by key: `REHOME_<SECTION>_<KEY>`, and
//! `REHOME_STORES_<ID>_<KEY>` for a store (in capitals, `-` and `.` written as `_`). `keys` has the table of
//! all keys, from which reading, `rehome config show`, `rehome init` and docs/configuration.md are derived.
//!
//! Without a file the environment is the whole configuration; relative paths in it are relative to
//! the working directory. A variable with this prefix that names no key is refused too.
//!
//! A URL may contain a password: it is never shown, [`Url`]'s `Debug` and `Display` omit it.

mod alerts;
mod check;
mod client;
mod documentation;
mod draft;
mod environment;
mod file;
mod hooks;
mod issuers;
mod keys;
mod migration;
mod monitoring;
mod network;
mod otlp;
mod private;
mod publish;
mod report;
mod server;
pub(crate) mod table;
mod template;
#[cfg(test)]
mod tests;
mod url;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rehome_domain::ids::StoreId;
use rehome_domain::layout::Layout;

use crate::certificates::CertificateRule;
use crate::error::{AppError, Kind};
use crate::oidc::IssuerConfig;
use crate::tokens::Token;
use draft::Draft;

pub use check::problems;
pub use client::{ClientConfig, TokenText};
pub use documentation::documentation;
pub use hooks::{HookConfig, HookWay};
pub use migration::MigrationDefaults;
pub use monitoring::{MonitoringConfig, Tools};
pub use network::{Network, first_bits};
pub use otlp::{Destination, Headers, OtlpConfig, OtlpProtocol, Pem};
pub use publish::{PublishConfig, PublishWay};
pub use report::{Origin, Report, Setting, report};
pub use server::{CallerLimits, ServerConfig, ServerLimits, TlsFiles, VerifyStores};
pub use template::{Template, TemplateStore};
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
    /// Defaults of migrations.
    pub migration: MigrationDefaults,
    /// The format of log lines.
    pub log: LogFormat,
    /// How long the metrics of a migration stay after it ended.
    pub metrics_retention: Duration,
    /// Where spans and metrics go.
    pub otlp: OtlpConfig,
    /// How the server listens.
    pub server: ServerConfig,
    /// The tokens that the server accepts.
    pub tokens: Vec<Token>,
    /// Whose tokens it believes besides.
    pub issuers: Vec<IssuerConfig>,
    /// Whose certificates have a role.
    pub certificates: Vec<CertificateRule>,
    /// The tools that watch the deployment, and the limits of the checklists.
    pub monitoring: MonitoringConfig,
    /// When the alerts fire that `monitoring export` writes, and where their runbook is.
    pub alerts: rehome_dashboards::Settings,
    /// The key by which exported logs are signed.
    pub audit_key: Option<PathBuf>,
    /// The receivers of switches.
    pub publish: Vec<PublishConfig>,
    /// The hooks of migrations.
    pub hooks: Vec<HookConfig>,
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
    /// The bytes that it may take.
    pub size_max_bytes: Option<u64>,
}

/// The format of log lines.
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
        /// The file.
        path: PathBuf,
        /// The error.
        #[source]
        source: std::io::Error,
    },
    /// A key or a value is not what it must be.
    #[error("{place}: {problem}")]
    Invalid {
        /// `file:line`, or the variable.
        place: String,
        /// The line, for the order in which mistakes are listed; 0: none.
        line: usize,
        /// The key and its problem.
        problem: String,
    },
}

impl ConfigError {
    /// The line of the file, for sorting; problems without a line come last.
    fn order(&self) -> usize {
        match self {
            Self::Invalid { line, .. } if *line > 0 => *line,
            _ => usize::MAX,
        }
    }
}

impl From<ConfigError> for AppError {
    fn from(error: ConfigError) -> Self {
        Self::caused_by(Kind::Usage, "bad_configuration", error)
    }
}

/// Where a setting comes from, for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: it is the default.
    #[default]
    Default,
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
            Self::Default => "default".to_owned(),
            Self::Line(path, line) => format!("{}:{line}", path.display()),
            Self::File(path) => path.display().to_string(),
            Self::Variable(name) => format!("environment variable {name}"),
            Self::Environment => "environment".to_owned(),
            Self::Argument(name) => (*name).to_owned(),
        };
        let line = if let Self::Line(_, line) = self { *line } else { 0 };
        ConfigError::Invalid { place, line, problem: problem.into() }
    }
}

/// A setting and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Set<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
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
        let mut draft = Draft::read(file, variables)?;
        check::whole(&mut draft).map_err(|mut problems| problems.swap_remove(0))
    }

    /// Whether any token, issuer or certificate is configured.
    pub fn lets_somebody_in(&self) -> bool {
        !(self.tokens.is_empty() && self.issuers.is_empty() && self.certificates.is_empty())
    }

    /// Stores in files of one folder, with the first as the default one: for demonstrations and for
    /// tests.
    pub fn embedded(folder: &Path, stores: &[StoreId]) -> Option<Self> {
        let file = |name: &str| Url::sqlite(folder.join(format!("{name}.db")));
        let configured = |id: &StoreId| {
            let url = file(&format!("store-{id}"));
            StoreConfig { id: id.clone(), url, layout: None, size_max_bytes: None }
        };
        let default = stores.first()?.clone();
        let stores = stores.iter().map(configured).collect();
        Some(check::defaults(file("control"), stores, default))
    }

    /// Whether there is a password in it.
    fn holds_secret(&self) -> bool {
        let stores = self.stores.iter().map(|store| &store.url);
        let mut urls = stores.chain([&self.control_plane]);
        urls.any(Url::has_password)
            || self.monitoring.tools.hold_secret()
            || self.otlp.holds_secret
            || self.publish.iter().any(PublishConfig::holds_secret)
            || self.hooks.iter().any(HookConfig::holds_secret)
    }
}

/// The environment; a name that is not Unicode cannot be a key of rehome.
pub fn unicode_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
