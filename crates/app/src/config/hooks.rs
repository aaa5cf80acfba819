//! `[[hooks]]`: hooks that are called before and after the steps of a migration.
//!
//! ```toml
//! [[hooks]]
//! name = "change-freeze"             # in vetoes, logs and the order of deliveries
//! on = ["before_start", "before_cutover"]
//! kind = "http"
//! url = "https://calendar.example/may-we"
//! key_file = "hooks.key"             # signs the document, as for [[publish]]
//! within = "5s"
//! on_error = "veto"                  # the meaning of an error or timeout; or "ignore"
//!
//! [[hooks]]
//! name = "chat"
//! on = ["after_switch", "failed", "rolled_back"]
//! kind = "command"
//! command = ["/usr/local/bin/tell-the-team", "--channel", "storage"]
//! ```

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use rehome_engine::On;

use super::ConfigError;
use super::draft::Row;
use super::keys::hooks;
use crate::http::Endpoint;

/// One hook.
#[derive(Clone, Debug)]
pub struct HookConfig {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub on: Vec<On>,
    /// How it is reached.
    pub way: HookWay,
    /// Longest time of a call.
    pub within: Duration,
    /// Whether an error or timeout of a `before_` hook is a veto.
    pub error_vetoes: bool,
}

/// How a hook is reached.
#[derive(Clone, Debug)]
pub enum HookWay {
    /// By a request with a JSON document.
    Http {
        /// To whom.
        endpoint: Endpoint,
        /// The file with the key by which the document is signed.
        key_file: Option<PathBuf>,
    },
    /// By a program.
    Command(Vec<String>),
}

impl HookConfig {
    /// Whether there is a password in it.
    pub(super) fn holds_secret(&self) -> bool {
        matches!(&self.way, HookWay::Http { endpoint, .. } if endpoint.has_password())
    }

    /// The file with the key, where it has one.
    pub(super) fn key_file(&self) -> Option<&std::path::Path> {
        match &self.way {
            HookWay::Http { key_file, .. } => key_file.as_deref(),
            HookWay::Command(_) => None,
        }
    }
}

/// One entry.
pub(super) fn of(Row { place, values }: &Row) -> Result<HookConfig, ConfigError> {
    let missing = |key: &str| place.refuse(format!("hooks.{key} is missing"));
    let name = values.value(&hooks::NAME)?.ok_or_else(|| missing("name"))?;
    let on = values.value(&hooks::ON)?.ok_or_else(|| missing("on"))?;
    let kind = values.given(&hooks::KIND)?.ok_or_else(|| missing("kind"))?;
    let stray = |key: &str, is_set: bool| {
        if is_set {
            let why = format!("hooks.{key} does not apply to kind \"{}\"", kind.value);
            return Err(kind.place.refuse(why));
        }
        Ok(())
    };
    let url = values.value(&hooks::URL)?;
    let key_file = values.value(&hooks::KEY_FILE)?;
    let command = values.value(&hooks::COMMAND)?;
    let way = match kind.value.as_str() {
        "http" => {
            stray("command", command.is_some())?;
            HookWay::Http { endpoint: url.ok_or_else(|| missing("url"))?, key_file }
        }
        "command" => {
            stray("url", url.is_some())?;
            stray("key_file", key_file.is_some())?;
            HookWay::Command(command.ok_or_else(|| missing("command"))?)
        }
        _ => return Err(kind.place.refuse("hooks.kind must be \"http\" or \"command\"")),
    };
    let on_error = values.given(&hooks::ON_ERROR)?;
    if let Some(set) = on_error.as_ref().filter(|_| !on.iter().any(|on| on.is_before())) {
        let why = "hooks.on_error applies to before_ hooks only: what has happened is delivered until it is \
                   acknowledged";
        return Err(set.place.refuse(why));
    }
    let within = values.effective(&hooks::WITHIN)?;
    let error_vetoes = values.effective(&hooks::ON_ERROR)?;
    Ok(HookConfig { name, on, way, within, error_vetoes })
}

/// Refuses two hooks of one name.
pub(super) fn are_apart(entries: &[HookConfig], rows: &[Row]) -> Result<(), ConfigError> {
    let mut names = HashSet::new();
    for (entry, row) in entries.iter().zip(rows) {
        if !names.insert(entry.name.as_str()) {
            return Err(row.place.refuse(format!("hooks.name \"{}\" appears twice", entry.name)));
        }
    }
    Ok(())
}
