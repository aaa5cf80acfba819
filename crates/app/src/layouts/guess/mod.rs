//! Drafts a layout from a table's description: every guess has its reason, and every failed guess is listed.

mod columns;
mod draft;
mod words;

use rehome_api::LayoutGuess;
use rehome_domain::layout::{Beside, BesideKind};
use rehome_postgres::PostgresUrl;
use rehome_postgres::catalog::{self, Table};

use super::check::missing;
use super::text;
use crate::error::{AppError, Kind};
use columns::Columns;
use draft::{Draft, draft};
use words::{TENANT_WORDS, has_word};

/// Maximum number of tables beside the events that are examined.
const BESIDE_MAX: usize = 8;

/// The place of a database; the message never repeats it.
pub(super) fn database(url: &str) -> Result<PostgresUrl, AppError> {
    if url.starts_with("sqlite:") {
        let why = "this command examines tables in PostgreSQL; `rehome store adopt ID --dry-run` examines the table of a \
                   store in SQLite";
        return Err(AppError::new(Kind::Usage, "bad_url", why));
    }
    url.parse().map_err(|problem| {
        let why = format!("the url {problem}; write it like \"postgres://USER@HOST/DATABASE\"");
        AppError::new(Kind::Usage, "bad_url", why)
    })
}

/// Drafts the layout of a table. Its name is `TABLE` or `SCHEMA.TABLE`; what has dots in it is put in double
/// quotes.
pub async fn guess(url: &str, name: &str) -> Result<LayoutGuess, AppError> {
    let url = database(url)?;
    let (schema, name) =
        table_name(name).map_err(|why| AppError::new(Kind::Usage, "bad_table", why))?;
    let there = catalog::tables(&url, &schema).await?;
    let Some(table) = catalog::table(&url, &schema, &name).await? else {
        let why = missing(&schema, &name, &there);
        return Err(AppError::new(Kind::NotFound, "unknown_table", why));
    };
    let mut names =
        [&table.name, &table.schema].into_iter().chain(table.columns.iter().map(|it| &it.name));
    if let Some(name) = names.find(|name| name.contains(['{', '}'])) {
        let why =
            format!("the name \"{name}\" contains a brace, which no layout may contain; rename it");
        return Err(AppError::refused(why));
    }
    let mut columns = Columns::of(&table);
    if let Some(version) = columns.known_version()
        && !table.rights.lacks.contains(&"SELECT")
        && let Some(lowest) = catalog::lowest(&url, &table, version).await?
    {
        columns.lowest(lowest);
    }
    let mut draft = draft(columns);
    for other in there.iter().filter(|other| **other != table.name) {
        if draft.layout.beside.len() == BESIDE_MAX {
            break;
        }
        if let Some(kind) = kind_of(other)
            && let Some(other) = catalog::table(&url, &schema, other).await?
            && let Some(beside) = beside(kind, &other)
        {
            draft.layout.beside.push(beside);
        }
    }
    Ok(document(&table, &draft))
}

/// The draft as a file, with its reasons.
fn document(table: &Table, draft: &Draft) -> LayoutGuess {
    let mut head = text::Text::default();
    head.remark(&format!(
        "Drafted from the description of {}. Every value is a guess: read the reasons, correct the errors, and",
        table.quoted()
    ));
    head.remark("check it with: rehome store layout check FILE --url URL");
    if !draft.open.is_empty() {
        head.remark("");
        head.remark("Not guessed:");
        draft.open.iter().for_each(|open| head.remark(&format!("  {open}")));
    }
    head.line("");
    let body = text::layout(&draft.layout, |key| {
        if key.starts_with("beside.") {
            return "by its name; delete it if it is wrong".to_owned();
        }
        let why = draft.why.iter().find(|(known, _)| *known == key);
        why.map(|(_, why)| why.clone()).unwrap_or_default()
    });
    LayoutGuess {
        toml: head.into_string() + &body,
        complete: draft.complete,
        open: draft.open.clone(),
    }
}

fn kind_of(name: &str) -> Option<BesideKind> {
    let name = name.to_lowercase();
    let kinds = [
        (BesideKind::Checkpoints, &["checkpoint", "progress", "subscription"][..]),
        (BesideKind::Snapshots, &["snapshot"]),
        (BesideKind::Outbox, &["outbox"]),
        (BesideKind::Streams, &["streams"]),
    ];
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    kinds.into_iter().find(|(_, words)| has(words)).map(|(kind, _)| kind)
}

/// A table of checkpoints without a position is none.
fn beside(kind: BesideKind, table: &Table) -> Option<Beside> {
    let named = |words: &[&str], fits: fn(&catalog::Column) -> bool| {
        let columns = || table.columns.iter().filter(|column| fits(column));
        let of = |word: &&str| columns().find(|column| has_word(&column.name, &[word]));
        words.iter().find_map(of).map(|column| column.name.clone())
    };
    let tenant = named(TENANT_WORDS, catalog::is_name);
    let position = match kind {
        BesideKind::Checkpoints => Some(named(
            &[
                "globalposition",
                "position",
                "lastposition",
                "lastseqid",
                "sequence",
                "checkpoint",
                "notificationid",
            ],
            catalog::is_integer,
        )?),
        BesideKind::Snapshots | BesideKind::Outbox | BesideKind::Streams => None,
    };
    let table = table.name.clone();
    Some(Beside { kind, table, tenant, position, heads: None })
}

/// Schema and table: names are case-sensitive.
fn table_name(text: &str) -> Result<(String, String), String> {
    let how = "write it as TABLE or SCHEMA.TABLE, a name that contains a dot in double quotes";
    let mut parts = vec![String::new()];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                parts.last_mut().ok_or(how)?.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            letter => parts.last_mut().ok_or(how)?.push(letter),
        }
    }
    let is_bad = |part: &String| part.is_empty() || part.contains('\0');
    if quoted || parts.iter().any(is_bad) {
        return Err(format!("\"{text}\" is not the name of a table; {how}"));
    }
    match <[String; 2]>::try_from(parts) {
        Ok([schema, table]) => Ok((schema, table)),
        Err(mut one) if one.len() == 1 => Ok(("public".to_owned(), one.remove(0))),
        Err(_) => Err(format!("\"{text}\" contains more than one dot; {how}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_are() {
        for (text, schema, table) in [
            ("events", "public", "events"),
            ("App.Events", "App", "Events"),
            ("\"a.b\".\"c \"\"d\"\"\"", "a.b", "c \"d\""),
            ("Order Events", "public", "Order Events"),
        ] {
            assert_eq!(table_name(text), Ok((schema.to_owned(), table.to_owned())), "{text}");
        }
        for bad in ["", ".", "a.", "a.b.c", "\"a", "a..b"] {
            assert!(table_name(bad).is_err(), "{bad}");
        }
    }
}
