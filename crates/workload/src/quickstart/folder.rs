//! The folder of a quickstart.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use rehome_ports::private;
use uuid::Uuid;

use super::{SOURCE, Step, TARGET};
use rehome_app::error::AppError;

/// A folder that holds nothing but a configuration, and soon the stores that it names.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) config: PathBuf,
    /// The databases that were made for it.
    pub(super) databases: Vec<String>,
}

/// The stores of a quickstart.
pub(super) struct Stores {
    pub(super) layout: Option<String>,
    /// Of the source and the target; files are beside the configuration.
    pub(super) urls: [String; 2],
    /// Their databases, if they are in some.
    pub(super) databases: Vec<String>,
}

impl Stores {
    /// Files; with a layout those of another program.
    pub(super) fn files(layout: Option<&str>) -> Self {
        let urls = [SOURCE, TARGET].map(|store| format!("sqlite:{store}.db"));
        Self { layout: layout.map(str::to_owned), urls, databases: Vec::new() }
    }
}

impl Folder {
    /// Uses an empty folder, or creates one; writes the configuration.
    pub(super) fn prepare(named: Option<&Path>, stores: Stores) -> Result<Self, AppError> {
        let path = named.map_or_else(temporary, Path::to_owned);
        let io = |error: std::io::Error| {
            AppError::failed("folder", format!("the folder {}: {error}", path.display()))
        };
        private::create_folder(&path).map_err(io)?;
        let path = std::path::absolute(&path).map_err(io)?;
        if std::fs::read_dir(&path).map_err(io)?.next().is_some() {
            return Err(AppError::refused(format!(
                "the folder {0} is not empty, but quickstart needs an empty one; nothing was \
                 changed. Name another with --dir{1}",
                path.display(),
                go_on(&path)
            )));
        }
        let config = path.join(rehome_app::config::DEFAULT_FILE);
        let mut file = private::options().write(true).create_new(true).open(&config).map_err(io)?;
        file.write_all(configuration(&stores).as_bytes()).map_err(io)?;
        Ok(Self { path, config, databases: stores.databases })
    }

    /// The step.
    pub(super) fn opened(&self) -> Step {
        let (folder, config) = (self.path.clone(), self.config.clone());
        Step::Opened { folder, config, databases: self.databases.clone() }
    }
}

/// A new folder with a unique name.
fn temporary() -> PathBuf {
    let unique = Uuid::new_v4().simple().to_string();
    std::env::temp_dir().join(format!("rehome-quickstart-{}", &unique[..8]))
}

/// A hint how to continue in that folder.
fn go_on(folder: &Path) -> String {
    let config = folder.join(rehome_app::config::DEFAULT_FILE);
    if config.exists() {
        format!(", or continue there: rehome --config {} migration list", config.display())
    } else {
        String::new()
    }
}

fn configuration(stores: &Stores) -> String {
    let Stores { layout, urls: [source, target], .. } = stores;
    let layout = layout.as_ref().map_or_else(String::new, |name| format!("layout = \"{name}\"\n"));
    format!(
        "# Created by `rehome quickstart`. The files are beside this one.\n\
         \n\
         [control_plane]\n\
         url = \"sqlite:control.db\"\n\
         \n\
         [[stores]]\n\
         id = \"{SOURCE}\"\n\
         url = \"{source}\"\n{layout}\
         default = true\n\
         \n\
         [[stores]]\n\
         id = \"{TARGET}\"\n\
         url = \"{target}\"\n{layout}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rehome_app::Config;
    use rehome_app::error::Kind;

    #[test]
    fn the_configuration_is_one_and_names_both_stores() {
        let folder = tempfile::tempdir().unwrap();
        let made = Folder::prepare(Some(&folder.path().join("a/b")), Stores::files(None)).unwrap();
        let config = Config::load_from(Some(&made.config), []).unwrap();
        let names: Vec<_> = config.stores.iter().map(|store| store.id.as_str()).collect();
        assert_eq!(names, [SOURCE, TARGET]);
        assert_eq!(config.default_store.as_str(), SOURCE);
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("control.db"), "mine").unwrap();
        let refused = Folder::prepare(Some(folder.path()), Stores::files(None)).err().unwrap();
        assert_eq!(refused.kind(), Kind::Refused);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
