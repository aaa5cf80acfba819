//! Passwords that are not in the URL: from the environment, or from a passfile as libpq reads it.

use std::path::{Path, PathBuf};

use crate::error::ServerError;

use super::PostgresUrl;
use super::url::Place;

/// In a passfile: the server at the default socket folder.
const LOCAL: &str = "localhost";

/// The password of `url` at `place`, from outside of the URL; `None` if there is none.
pub(super) fn find(url: &PostgresUrl, place: &Place) -> Result<Option<Vec<u8>>, ServerError> {
    if url.config.get_password().is_some() {
        return Ok(None);
    }
    if let Some(name) = &url.password_env {
        return match std::env::var(name) {
            Ok(password) if !password.is_empty() => Ok(Some(password.into_bytes())),
            _ => Err(ServerError::unreachable(format!(
                "its URL takes the password from the environment variable {name}, which is not set"
            ))),
        };
    }
    if let Some(password) = std::env::var("PGPASSWORD").ok().filter(|it| !it.is_empty()) {
        return Ok(Some(password.into_bytes()));
    }
    let named = url
        .passfile
        .clone()
        .or_else(|| std::env::var_os("PGPASSFILE").filter(|it| !it.is_empty()).map(PathBuf::from));
    if let Some(file) = named {
        return read(&file, url, place).map_err(|why| {
            ServerError::unreachable(format!("its passfile {} {why}", file.display()))
        });
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pgpass"));
    // A default passfile that cannot be used is ignored.
    Ok(home.and_then(|file| read(&file, url, place).ok()).flatten())
}

fn read(file: &Path, url: &PostgresUrl, place: &Place) -> Result<Option<Vec<u8>>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(file).map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    if is_open_to_others(&metadata) {
        return Err("can be read by others; it needs the mode 0600".to_owned());
    }
    let text = std::fs::read_to_string(file).map_err(cannot)?;
    let (port, host) = (place.port.to_string(), place.name());
    let find = |host: &str| find_line(&text, &[host, &port, url.database(), url.user()]);
    let found = find(&host).or_else(|| place.is_socket().then(|| find(LOCAL)).flatten());
    Ok(found.map(String::into_bytes))
}

#[cfg(unix)]
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}

/// The password of the first line whose four fields are these or `*`.
fn find_line(text: &str, wanted: &[&str; 4]) -> Option<String> {
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [is @ .., password] = fields.as_slice() else { return None };
        let fits = is.len() == 4 && is.iter().zip(wanted).all(|(is, want)| is == "*" || is == want);
        fits.then(|| password.clone())
    })
}

/// Fields between colons; a backslash escapes the next character. The fifth extends to the end.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut signs = line.chars();
    while let Some(sign) = signs.next() {
        let last = fields.len() - 1;
        match sign {
            '\\' => fields[last].extend(signs.next()),
            ':' if last < 4 => fields.push(String::new()),
            sign => fields[last].push(sign),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use proptest::prop_assert_eq;
    use proptest::test_runner::{Config, TestRunner};

    use super::find_line;

    const FILE: &str = "# a comment\n\
        other:5432:d:u:no\n\
        h:5432:d:u:p\\:a\\\\s:s\n\
        h:*:d:u:any port\n\
        \\:\\:1:5432:*:u:v6\n\
        too:short\n\
        *:*:*:*:last";

    /// Whatever the fields are: a line that is written by the rules gives its password back, and a file of
    /// anything gives an answer.
    #[test]
    fn any_password_is_found_as_it_was_written_and_any_file_is_read() {
        let written = |field: &str| field.replace('\\', "\\\\").replace(':', "\\:");
        let field = || "[^\r\n]{0,12}";
        let fields = (field(), field(), field(), field(), field(), ".{0,60}");
        let config = Config { failure_persistence: None, ..Config::default() };
        let ended = TestRunner::new(config).run(&fields, |(h, p, d, u, password, noise)| {
            let wanted = [h.as_str(), &p, &d, &u];
            let line = wanted.map(written).join(":") + ":" + &written(&password);
            let is_comment = line.starts_with('#');
            let found = find_line(&line, &wanted);
            prop_assert_eq!(found, (!is_comment).then(|| password.clone()));
            // Noise around it neither hides it nor matches for it, unless it fits too.
            drop(find_line(&noise, &wanted));
            let file = format!("too:short\n{line}\n{noise}");
            prop_assert_eq!(is_comment || find_line(&file, &wanted) == Some(password), true);
            Ok(())
        });
        assert_eq!(ended, Ok(()));
    }

    #[test]
    fn the_first_line_that_fits_has_the_password() {
        let find = |host, port, database, user| find_line(FILE, &[host, port, database, user]);
        assert_eq!(find("h", "5432", "d", "u").as_deref(), Some("p:a\\s:s"));
        assert_eq!(find("h", "6000", "d", "u").as_deref(), Some("any port"));
        assert_eq!(find("::1", "5432", "x", "u").as_deref(), Some("v6"));
        assert_eq!(find("h", "5432", "d", "v").as_deref(), Some("last"));
        assert_eq!(find_line("h:1:d:u:p", &["h", "2", "d", "u"]), None);
    }
}
