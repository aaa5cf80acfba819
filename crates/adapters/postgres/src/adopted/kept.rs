//! Values of a copied row, which may come from a table in SQLite: what the table would not keep as it is, is refused by
//! its column before it is sent. PostgreSQL would refuse it too, but blanks at the end of a text that is too long it drops.

use rehome_domain::event::Event;

use super::installed::Installed;
use super::shape::not_set_up;
use crate::error::ServerError;
use crate::rows::Read;

/// Letters for the storage classes of SQLite, in a row that PostgreSQL cannot have; `v` and `n` are for values that it can.
const LETTERS: &str = "vnirtxb";

/// The texts of an event's row: its own columns, and `heads` that travel with it.
pub(super) fn columns(
    event: &Event,
    installed: &Installed,
    heads: usize,
) -> Read<Vec<Option<String>>> {
    let row = event.row.as_ref().ok_or_else(|| {
        not_set_up(format!(
            "event {} comes from a store of another layout; both stores of a move must have the same layout",
            event.seq
        ))
    })?;
    let columns = row.columns().map_err(|error| ServerError::corrupt(error.to_string()))?;
    let expected = installed.row_columns.len() + heads;
    if let Some(name) = in_sqlite_only(&columns, &installed.row_columns) {
        return Err(cannot_keep(event, name, "PostgreSQL"));
    }
    if columns.len() != expected {
        return Err(not_set_up(format!(
            "rows of the source have {} columns, its table expects {expected}; give both tables the same columns",
            columns.len()
        )));
    }
    for ((text, name), kind) in columns.iter().zip(&installed.row_columns).zip(&installed.row_types)
    {
        if text.as_ref().is_some_and(|text| !fits(text, kind)) {
            return Err(cannot_keep(event, name, kind));
        }
    }
    Ok(columns)
}

fn cannot_keep(event: &Event, column: &str, kind: &str) -> ServerError {
    not_set_up(format!(
        "event {} of the source has a value in column \"{column}\" that {kind} cannot keep as it is; change it at the \
         source while no migration of the tenant is running",
        event.seq
    ))
}

/// The first column of a row from SQLite whose value is as SQLite has it, if there is one.
fn in_sqlite_only<'a>(texts: &[Option<String>], names: &'a [String]) -> Option<&'a str> {
    let (letters, texts) = texts.split_last()?;
    let letters = letters.as_ref().filter(|letters| letters.len() == texts.len())?;
    if texts.len() != names.len() || !letters.chars().all(|letter| LETTERS.contains(letter)) {
        return None;
    }
    let place = letters.chars().position(|letter| !matches!(letter, 'v' | 'n'))?;
    names.get(place).map(String::as_str)
}

/// Whether a text fits a type of limited size.
fn fits(text: &str, kind: &str) -> bool {
    match kind {
        "smallint" => text.parse::<i16>().is_ok(),
        "integer" => text.parse::<i32>().is_ok(),
        "bigint" => text.parse::<i64>().is_ok(),
        _ => {
            let limit = kind.strip_prefix("character varying(").and_then(|it| it.strip_suffix(')'));
            let limit = limit.and_then(|limit| limit.parse::<usize>().ok());
            // A text has no more characters than bytes.
            limit.is_none_or(|limit| text.len() <= limit || text.chars().count() <= limit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_too_large_does_not_fit() {
        for (text, kind, fitting) in [
            ("32767", "smallint", true),
            ("32768", "smallint", false),
            ("2147483648", "integer", false),
            ("9223372036854775808", "bigint", false),
            ("éé", "character varying(2)", true),
            ("é  ", "character varying(2)", false),
            ("anything", "text", true),
            ("[]", "jsonb", true),
        ] {
            assert_eq!(fits(text, kind), fitting, "{text} as {kind}");
        }
    }

    #[test]
    fn a_row_that_only_sqlite_has_is_known_by_its_letters() {
        let names: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let found = |texts: &[Option<&str>]| {
            let texts: Vec<_> = texts.iter().map(|text| text.map(str::to_owned)).collect();
            in_sqlite_only(&texts, &names).map(str::to_owned)
        };
        assert_eq!(found(&[Some("x"), Some("y"), Some("vt")]).as_deref(), Some("b"));
        assert_eq!(found(&[None, Some("y"), Some("nx")]).as_deref(), Some("b"));
        assert_eq!(found(&[Some("x"), Some("vt")]), None, "as many columns as expected");
        assert_eq!(found(&[Some("x"), Some("y"), Some("zz")]), None);
        assert_eq!(found(&[Some("x"), Some("y"), None]), None);
    }
}
