//! `[client]`: the server that a command acts through, and how it reaches it.
//!
//! ```toml
//! [client]
//! url = "https://rehome.example:7411"
//! token_file = "operator.token"      # relative to this file; REHOME_TOKEN overrides it
//! ca_file = "our-ca.pem"             # the authorities that sign the server's certificate, instead of the system's
//! retry_for = "30s"                  # how long to retry while the server does not answer
//! ```
//!
//! A file may have this section alone: a command that acts through a server needs no stores.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::draft::Draft;
use super::keys::{client, telemetry};
use super::private::warn_of_wide;
use super::values::Values;
use super::{ConfigError, LogFormat, Place, Set};
use crate::http::{HttpUrl, NoUrl};

/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 1_024;

/// How a command reaches a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The server; `None`: commands act on the stores and the control plane themselves.
    pub server: Option<HttpUrl>,
    /// The token.
    pub token: Option<TokenText>,
    /// The certificates (PEM) that vouch for the server, instead of those that the system knows.
    pub ca_file: Option<PathBuf>,
    /// How long to retry while the server does not answer.
    pub retry_for: Duration,
    /// The format of log lines.
    pub log: LogFormat,
    /// The file that the token was read from.
    token_file: Option<PathBuf>,
}

/// The text of a token. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || !printable || text.len() > TOKEN_BYTES_MAX {
            return Err("holds no token; a token is one word");
        }
        Ok(Self(text.to_owned()))
    }

    /// The text, for a header and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(..)")
    }
}

/// Parses the URL of a server of rehome. The message never repeats it, because it may contain a password.
pub(super) fn server_url(text: &str) -> Result<HttpUrl, &'static str> {
    HttpUrl::parse(text).map_err(|why| match why {
        NoUrl::User => {
            "must be a URL without a user; the token comes from REHOME_TOKEN or client.token_file"
        }
        why => why.or("must be a URL like \"https://rehome.example:7411\""),
    })
}

/// `[client]` before it is validated as a whole.
struct Section {
    server: Option<Set<HttpUrl>>,
    token_file: Option<Set<PathBuf>>,
    ca_file: Option<PathBuf>,
    retry_for: Duration,
    without_tls: bool,
}

impl Section {
    fn of(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            server: values.given(&client::URL)?,
            token_file: values.given(&client::TOKEN_FILE)?,
            ca_file: values.value(&client::CA_FILE)?,
            retry_for: values.effective(&client::RETRY_FOR)?,
            without_tls: values.effective(&client::WITHOUT_TLS)?,
        })
    }

    /// Validates it as a whole. The token is read now, and only where it will be sent.
    fn whole(
        self,
        said: Option<Set<HttpUrl>>,
        token: Option<&str>,
        log: LogFormat,
    ) -> Result<ClientConfig, ConfigError> {
        let Some(server) = said.or(self.server) else {
            return Ok(ClientConfig { log, ..ClientConfig::default() });
        };
        let by_variable = token.is_some();
        let token = match (token, &self.token_file) {
            (Some(text), _) => Some(
                TokenText::parse(text)
                    .map_err(|problem| Place::Variable(TOKEN.to_owned()).refuse(problem))?,
            ),
            (None, Some(Set { value: path, place })) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let path = path.display();
                    place.refuse(format!("client.token_file: {path} cannot be read: {error}"))
                })?;
                let token = TokenText::parse(&text);
                Some(token.map_err(|problem| {
                    place.refuse(format!("client.token_file: {} {problem}", path.display()))
                })?)
            }
            (None, None) => None,
        };
        let Set { value: server, place } = server;
        if token.is_some() && !server.is_secure() && !server.is_local() && !self.without_tls {
            return Err(place.refuse(
                "others could read the token on the network: use https://, or, where the \
                 network is safe, set client.without_tls = true",
            ));
        }
        Ok(ClientConfig {
            server: Some(server),
            token_file: self.token_file.filter(|_| !by_variable).map(|set| set.value),
            token,
            ca_file: self.ca_file,
            retry_for: self.retry_for,
            log,
        })
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        let section = Section::of(&Values::default());
        let section = section.expect("a test reads the default of every key");
        Self {
            server: None,
            token_file: None,
            token: None,
            ca_file: None,
            retry_for: section.retry_for,
            log: LogFormat::default(),
        }
    }
}

/// The variable that names the server, like `--server`.
pub(super) const SERVER: &str = "REHOME_SERVER";
/// The variable that holds the token.
pub(super) const TOKEN: &str = "REHOME_TOKEN";

impl ClientConfig {
    /// Warns where others may read the token's file.
    pub fn warn_of_wide_files(&self) {
        warn_of_wide(self.token_file.as_deref());
    }

    /// The server and the connection settings: from `said` on the command line, else from `REHOME_SERVER`, else from
    /// `[client]` of `file`, or `./rehome.toml` if it exists. The rest of a configuration may be
    /// missing, and is not validated as a whole.
    pub fn load(file: Option<&Path>, said: Option<&str>) -> Result<Self, ConfigError> {
        Self::load_from(file, said, super::unicode_variables())
    }

    /// The same with the variables given.
    pub fn load_from(
        file: Option<&Path>,
        said: Option<&str>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let variables: Vec<_> = variables.into_iter().collect();
        let value = |name: &str| {
            let found = variables.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let by_flag = said.map(|text| (text.to_owned(), Place::Argument("--server")));
        let by_variable = || Some((value(SERVER)?, Place::Variable(SERVER.to_owned())));
        let said = by_flag.or_else(by_variable).map(|(text, place)| {
            let value = server_url(&text).map_err(|problem| place.refuse(problem))?;
            Ok(Set { value, place })
        });
        let token = value(TOKEN);
        let mut draft = match Draft::read(file, variables) {
            Ok(draft) => draft,
            Err(ConfigError::NoFile(_)) if file.is_none() => Draft::default(),
            Err(error) => return Err(error),
        };
        if !draft.problems.is_empty() {
            return Err(draft.problems.swap_remove(0));
        }
        Self::of(&draft.values, said.transpose()?, token.as_deref())
    }

    /// From the values that were set; `said` and `token` override them.
    pub(super) fn of(
        values: &Values,
        said: Option<Set<HttpUrl>>,
        token: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let log = values.effective(&telemetry::LOG)?;
        Section::of(values)?.whole(said, token, log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        text: &str,
        said: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<ClientConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rehome.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("t"), "rehome_hunter2\n").unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        ClientConfig::load_from(Some(&path), said, variables).map_err(|error| error.to_string())
    }

    const FILE: &str =
        "[client]\nurl = \"https://a.example\"\ntoken_file = \"t\"\nretry_for = \"5s\"\n";

    #[test]
    fn the_section_is_enough() {
        let client = load(FILE, None, &[]).unwrap();
        assert_eq!(client.server.as_ref().unwrap().to_string(), "https://a.example:443");
        assert_eq!(client.token.as_ref().unwrap().expose(), "rehome_hunter2");
        assert_eq!(client.retry_for, Duration::from_secs(5));
        assert!(!format!("{client:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_said_is_before_the_environment_and_that_before_the_file() {
        let server = |said, variables: &[_]| {
            load(FILE, said, variables).unwrap().server.unwrap().host().to_owned()
        };
        assert_eq!(server(None, &[]), "a.example");
        assert_eq!(server(None, &[("REHOME_CLIENT_URL", "https://b.example")]), "b.example");
        let both = [("REHOME_CLIENT_URL", "https://b.example"), (SERVER, "https://c.example")];
        assert_eq!(server(None, &both), "c.example");
        assert_eq!(server(Some("https://d.example"), &both), "d.example");
        let token = load(FILE, None, &[(TOKEN, "rehome_x")]).unwrap().token.unwrap();
        assert_eq!(token.expose(), "rehome_x");
    }

    #[test]
    fn without_a_server_nothing_else_is_looked_at() {
        assert_eq!(load("", None, &[(TOKEN, " ")]).unwrap(), ClientConfig::default());
        let none = ClientConfig::load_from(None, None, []).unwrap();
        assert_eq!(none.server, None);
    }

    #[test]
    fn a_token_does_not_go_in_the_clear_but_to_this_machine() {
        let token = [(TOKEN, "rehome_hunter2")];
        for here in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "https://x:1"] {
            assert!(load("", Some(here), &token).is_ok(), "{here}");
        }
        let refused = load("", Some("http://x.example:1"), &token).unwrap_err();
        assert!(refused.contains("https://") && refused.contains("--server"), "{refused}");
        assert!(load("", Some("http://x.example:1"), &[]).is_ok());
        let told = "[client]\nwithout_tls = true\n";
        assert!(load(told, Some("http://x.example:1"), &token).is_ok());
    }

    #[test]
    fn what_is_no_url_and_no_token_is_refused_without_repeating_it() {
        for bad in ["", "hunter2", "ftp://hunter2", "https://u:hunter2@h", "http://h/?hunter2"] {
            let problem = load("", Some(bad), &[]).unwrap_err();
            assert!(problem.contains("--server") && !problem.contains("hunter2"), "{problem}");
        }
        let problem = load(FILE, None, &[(TOKEN, "hunter2 hunter2")]).unwrap_err();
        assert!(problem.contains(TOKEN) && !problem.contains("hunter2"), "{problem}");
        let problem = load(&FILE.replace("\"t\"", "\"empty\""), None, &[]).unwrap_err();
        assert!(problem.contains("rehome.toml:3") && problem.contains("no token"), "{problem}");
        let problem = load(&FILE.replace("\"t\"", "\"gone\""), None, &[]).unwrap_err();
        assert!(problem.contains("cannot be read"), "{problem}");
        assert!(load("[client]\ntoken = \"x\"", None, &[]).unwrap_err().contains("client.token"));
    }
}
