//! Files with data or secrets that others may read: each is warned about, by the one rule of
//! [`rehome_ports::private`].

use std::path::{Path, PathBuf};

use rehome_ports::private::wider;

use super::{Config, PublishWay};

/// A log line for each of these files that others may read or write.
pub(super) fn warn_of_wide<'a>(files: impl IntoIterator<Item = &'a Path>) {
    for told in files.into_iter().filter_map(wider) {
        tracing::warn!("{told}");
    }
}

impl Config {
    /// Warns where others may read stores, the control plane, keys, or a configuration with a password. A file
    /// that is adopted is another program's, and who may read it is that program's business.
    pub(crate) fn warn_of_wide_files(&self) {
        let ours = self.stores.iter().filter(|store| store.layout.is_none());
        let urls = ours.map(|store| &store.url).chain([&self.control_plane]);
        let data: Vec<_> =
            urls.filter_map(|url| url.file()).flat_map(rehome_sqlite::files).collect();
        let key = self.server.tls.as_ref().map(|files| files.key.as_path());
        let signing = self.publish.iter().filter_map(|entry| match &entry.way {
            PublishWay::Http { key_file, .. } => key_file.as_deref(),
            PublishWay::Database { .. } | PublishWay::Command { .. } => None,
        });
        let exporters = self.otlp.traces.iter().chain(&self.otlp.metrics);
        let shown = exporters.filter_map(|to| to.key_file.as_deref());
        let hooks = self.hooks.iter().filter_map(|hook| hook.key_file());
        let secrets = self.secret.as_deref().into_iter().chain(key).chain(signing).chain(hooks);
        let secrets = secrets.chain(shown);
        warn_of_wide(data.iter().map(PathBuf::as_path).chain(secrets));
    }
}
