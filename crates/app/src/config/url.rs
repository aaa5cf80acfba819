//! Where a store or a control plane is: `sqlite:PATH` or `postgres://HOST/DATABASE`.

use std::fmt;
use std::path::{Path, PathBuf};

use rehome_postgres::PostgresUrl;

/// The place of a store or of a control plane.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Url {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database, by any of libpq's connection strings.
    Postgres(Box<PostgresUrl>),
}

impl Url {
    /// A SQLite file.
    pub const fn sqlite(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }

    /// Whether it holds a password itself.
    pub fn has_password(&self) -> bool {
        matches!(self, Self::Postgres(url) if url.has_password())
    }

    /// Parses a URL from the command line; a relative path is relative to the working directory.
    pub fn given(text: &str) -> Result<Self, String> {
        Self::parse(text, Path::new(""))
    }

    /// Reads a url; a relative path is relative to `folder`. The message never repeats the url,
    /// which may hold a password.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let postgres = |text: &str| match text.parse() {
            Ok(url) => Ok(Self::Postgres(Box::new(url))),
            Err(problem) => Err(format!("{problem}")),
        };
        if PostgresUrl::is_keywords(text) {
            return postgres(text);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err("is not a URL; write it like \"sqlite:shared.db\"".to_owned());
        };
        match scheme {
            "sqlite" => Self::parse_sqlite(rest, folder),
            "postgres" | "postgresql" => postgres(text),
            _ => Err("has an unknown scheme; write it like \"sqlite:shared.db\" or \
                      \"postgres://USER@HOST/DATABASE\""
                .to_owned()),
        }
    }

    fn parse_sqlite(rest: &str, folder: &Path) -> Result<Self, String> {
        // `sqlite:///abs.db` and `sqlite://rel.db` are written too.
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() {
            return Err("names no file; write it like \"sqlite:shared.db\"".to_owned());
        }
        if path == ":memory:" {
            return Err("every process would have its own store in memory; name a file".to_owned());
        }
        if path.contains(['?', '#', '\0']) {
            return Err("has parameters; a \"sqlite:\" URL is only a path".to_owned());
        }
        if path.ends_with('/') {
            return Err("names a folder, not a file".to_owned());
        }
        Ok(Self::Sqlite(folder.join(path)))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => write!(f, "{url}"),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_configuration() {
        let path = |text| match Url::parse(text, Path::new("/etc/rehome")) {
            Ok(url) => url.file().unwrap().to_str().unwrap().to_owned(),
            Err(problem) => panic!("{problem}"),
        };
        assert_eq!(path("sqlite:shared.db"), "/etc/rehome/shared.db");
        assert_eq!(path("sqlite://data/shared.db"), "/etc/rehome/data/shared.db");
        assert_eq!(path("sqlite:/var/shared.db"), "/var/shared.db");
        assert_eq!(path("sqlite:///var/shared.db"), "/var/shared.db");
        assert_eq!(path("sqlite:a b%20:c.db"), "/etc/rehome/a b%20:c.db");
    }

    #[test]
    fn what_is_no_place_is_refused_without_repeating_it() {
        for text in [
            "hunter2",
            "",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:hunter2?mode=ro",
            "sqlite:hunter2/",
            "postgres://u:hunter2@h/db?sslcrlfile=x",
            "postgresql://u:hunter2@h:0/db",
            "host=h password=hunter2 sslmode=none",
            "mysql://u:hunter2@h/db",
        ] {
            let problem = Url::parse(text, Path::new("")).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn a_server_is_a_place_too_and_is_shown_without_its_password() {
        let url = Url::parse("postgres://u:hunter2@h/db?schema=a", Path::new("/etc")).unwrap();
        assert_eq!(url.to_string(), "postgres://u@h:5432/db?schema=a");
        assert_eq!(url.file(), None);
        assert!(!format!("{url:?}").contains("hunter2"));
    }
}
