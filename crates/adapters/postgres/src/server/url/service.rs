//! Services of `pg_service.conf`: named connection parameters on the machine.

use std::path::PathBuf;

use super::InvalidUrl;
use super::forms::Pairs;

/// Reads a variable of the environment.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The parameters of the service called `name`: from the user's file, else from the system's.
pub(super) fn find(name: &str, variables: Variables<'_>) -> Result<Pairs, InvalidUrl> {
    let users = variables("PGSERVICEFILE")
        .map(PathBuf::from)
        .or_else(|| variables("HOME").map(|home| PathBuf::from(home).join(".pg_service.conf")));
    let folder = variables("PGSYSCONFDIR").map(PathBuf::from);
    let systems = folder.unwrap_or_else(|| "/etc/postgresql-common".into()).join("pg_service.conf");
    for file in users.into_iter().chain([systems]) {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let section = section(&text, name)
            .map_err(|why| InvalidUrl(format!("names a service, and {} {why}", file.display())))?;
        if let Some(pairs) = section {
            return Ok(pairs);
        }
    }
    Err(InvalidUrl(
        "names a service that neither ~/.pg_service.conf (PGSERVICEFILE) nor the system's pg_service.conf \
         (PGSYSCONFDIR) has"
            .to_owned(),
    ))
}

fn section(text: &str, name: &str) -> Result<Option<Pairs>, String> {
    let mut found: Option<Pairs> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            if title == name {
                found = Some(Pairs::new());
            }
            continue;
        }
        let Some(pairs) = &mut found else { continue };
        let bad = |why: &str| Err(format!("has a line {} {why}", number + 1));
        match line.split_once('=') {
            Some((key, _)) if key.trim() == "service" => {
                return bad("that names another service");
            }
            Some((key, value)) => pairs.push((key.trim().to_owned(), value.trim().to_owned())),
            None => return bad("that is not KEY=VALUE"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn a_section_has_what_stands_below_its_name() {
        let file = "# ours\n[a]\nhost=h\nport = 1\n\n[b]\ndbname=x=y\n[a]\nhost=other\n";
        let pairs = |name| {
            section(file, name).unwrap().map(|pairs| {
                pairs
                    .iter()
                    .map(|(key, value)| format!("{key}:{value}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        assert_eq!(pairs("a").as_deref(), Some("host:h port:1"));
        assert_eq!(pairs("b").as_deref(), Some("dbname:x=y"));
        assert_eq!(pairs("c"), None);
        assert!(section("[a]\nservice=b", "a").unwrap_err().contains("line 2"));
        assert!(section("[a]\nldap://x", "a").unwrap_err().contains("not KEY=VALUE"));
    }
}
