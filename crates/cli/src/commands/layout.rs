//! `rehome store layout ...`

use std::fmt::Write as _;

use rehome_api::LayoutCheck;
use rehome_app::{AppError, layouts};

use crate::args::LayoutCommand;
use crate::output::{Out, count, table};

pub(super) async fn run(out: Out, command: LayoutCommand) -> Result<(), AppError> {
    match command {
        LayoutCommand::Check { file, url } => {
            let layout = layouts::load(&file)?;
            let check = layouts::check(&layout, url.as_deref()).await?;
            out.show(&check, words)?;
            if check.ok {
                return Ok(());
            }
            let refused = check.findings.iter().filter(|finding| finding.severity == "refuse");
            let why = format!(
                "table \"{}\".\"{}\" cannot be adopted by layout \"{}\": {} obstacles",
                check.schema,
                check.table,
                check.name,
                refused.count()
            );
            Err(AppError::refused(why))
        }
        LayoutCommand::List => out.show(&layouts::list(), |layouts| {
            let rows = layouts.iter().map(|layout| {
                [layout.name.clone(), format!("\"{}\".\"{}\"", layout.schema, layout.table)]
            });
            table(["LAYOUT", "TABLE"], &[], rows)
        }),
        LayoutCommand::Show { name } => {
            out.show_file(&layouts::show(&name)?, "", |layout| &layout.toml)
        }
        LayoutCommand::Guess { url, table } => {
            let guess = layouts::guess(&url, &table).await?;
            guess.open.iter().for_each(|open| out.remark(format!("not guessed: {open}")));
            out.show_file(&guess, "", |guess| &guess.toml)
        }
    }
}

fn words(check: &LayoutCheck) -> String {
    let mut text = format!("layout \"{}\": the file is valid\n", check.name);
    let rows = check.columns.iter().map(|column| {
        [
            format!("  {}", column.name),
            column.part.clone().unwrap_or_default(),
            match (&column.kind, &check.database) {
                (Some(kind), _) if column.nullable => format!("{kind}, may be NULL"),
                (Some(kind), _) => kind.clone(),
                (None, Some(_)) => "not there".to_owned(),
                (None, None) => String::new(),
            },
        ]
    });
    text += &table(["  COLUMN", "PART", "TYPE"], &[], rows);
    text.push('\n');
    let Some(database) = &check.database else {
        text += "name the database with --url to check its table\n";
        return text;
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "table \"{}\".\"{}\" of {database}", check.schema, check.table);
    if let (Some(rows), Some(streams), Some(tenants)) = (check.rows, check.streams, check.tenants) {
        let (rows, streams, tenants) = (count(rows), count(streams), count(tenants));
        let _ = writeln!(text, "  {rows} rows, {streams} streams, {tenants} tenants");
    }
    for finding in &check.findings {
        let word = if finding.severity == "refuse" { "NO" } else { "note" };
        let _ = writeln!(text, "  {word:<5} {}", finding.text);
    }
    if check.ok {
        text += "the table can be adopted\n";
    }
    text
}
