//! What of a table does not go with a layout.

use rehome_api::{LayoutCheck, LayoutColumn, LayoutFinding};
use rehome_domain::layout::{Layout, TenantPart};
use rehome_postgres::catalog::{self, Finding, Severity, Table};

use super::guess::database;
use crate::error::AppError;

/// Checks the layout's table, if a database is named, and its rows if the table matches.
pub async fn check(layout: &Layout, url: Option<&str>) -> Result<LayoutCheck, AppError> {
    let mut check = LayoutCheck {
        name: layout.name.clone(),
        schema: layout.schema.clone(),
        table: layout.table.clone(),
        ok: true,
        database: None,
        columns: columns(layout, None),
        rows: None,
        streams: None,
        tenants: None,
        findings: Vec::new(),
    };
    let Some(url) = url else { return Ok(check) };
    let url = database(url)?;
    check.database = Some(url.to_string());
    let Some(table) = catalog::table(&url, &layout.schema, &layout.table).await? else {
        let there = catalog::tables(&url, &layout.schema).await?;
        let text = missing(&layout.schema, &layout.table, &there);
        check.findings = vec![LayoutFinding { severity: "refuse".to_owned(), column: None, text }];
        check.ok = false;
        return Ok(check);
    };
    check.columns = columns(layout, Some(&table));
    let mut findings = catalog::judge(layout, &table);
    findings.extend(beside(&url, layout).await?);
    if may_look(layout, &table, &findings) {
        let history = catalog::history(&url, layout, &table).await?;
        check.rows = Some(history.rows);
        check.streams = Some(history.streams);
        check.tenants = Some(history.tenants);
        findings.extend(history.findings);
    }
    findings.sort_by_key(|finding| finding.severity);
    check.ok = !findings.iter().any(|finding| finding.severity == Severity::Refuse);
    check.findings = findings.into_iter().map(document).collect();
    Ok(check)
}

/// Whether statements over the rows can be made of the layout: its columns are there and of their types, and
/// may be read.
fn may_look(layout: &Layout, table: &Table, findings: &[Finding]) -> bool {
    let named: Vec<String> = parts(layout).into_iter().map(|(name, _)| name).collect();
    let stands_in_the_way = |finding: &Finding| {
        finding.severity == Severity::Refuse
            && finding.column.as_ref().is_some_and(|column| {
                named.contains(column)
                    && table
                        .column(column)
                        .is_none_or(|it| !catalog::is_integer(it) && !catalog::is_name(it))
            })
    };
    table.rights.use_schema
        && !table.rights.lacks.contains(&"SELECT")
        && !table.columns.is_empty()
        && !findings.iter().any(stands_in_the_way)
        && named.iter().all(|name| table.column(name).is_some())
        && table.column(&layout.version).is_some_and(catalog::is_integer)
        && layout
            .position
            .as_ref()
            .is_none_or(|name| table.column(name).is_some_and(catalog::is_integer))
}

fn document(finding: Finding) -> LayoutFinding {
    let severity = match finding.severity {
        Severity::Refuse => "refuse",
        Severity::Warn => "warn",
    };
    LayoutFinding { severity: severity.to_owned(), column: finding.column, text: finding.text }
}

/// The message about a missing table.
pub(super) fn missing(schema: &str, name: &str, there: &[String]) -> String {
    let alike = there.iter().find(|other| other.to_lowercase() == name.to_lowercase());
    match (alike, there) {
        (Some(alike), _) => format!(
            "schema \"{schema}\" has no table \"{name}\"; it has \"{alike}\": names are case-sensitive"
        ),
        (None, []) => {
            format!(
                "there is no table \"{name}\": schema \"{schema}\" does not exist, or has no table"
            )
        }
        (None, some) => {
            let some: Vec<_> = some.iter().take(20).map(|name| format!("\"{name}\"")).collect();
            format!("schema \"{schema}\" has no table \"{name}\"; it has {}", some.join(", "))
        }
    }
}

/// The layout's columns with their parts.
fn parts(layout: &Layout) -> Vec<(String, &'static str)> {
    let mut parts = Vec::new();
    match &layout.tenant {
        TenantPart::Column(name) => parts.push((name.clone(), "tenant")),
        TenantPart::Json { column, .. } => parts.push((column.clone(), "tenant")),
        TenantPart::Prefix { .. } => {}
    }
    parts.extend(layout.stream_type.iter().map(|name| (name.clone(), "stream type")));
    parts.extend(layout.stream_id.iter().map(|name| (name.clone(), "stream id")));
    parts.push((layout.version.clone(), "version"));
    parts.extend(layout.position.iter().map(|name| (name.clone(), "position")));
    parts.extend(layout.event_id.iter().map(|name| (name.clone(), "event id")));
    parts.push((layout.event_type.clone(), "event type"));
    parts.extend(layout.occurred_at.iter().map(|name| (name.clone(), "occurred at")));
    parts.extend(layout.recorded_at.iter().map(|name| (name.clone(), "recorded at")));
    parts.push((layout.data.clone(), "data"));
    parts.extend(layout.metadata.iter().map(|name| (name.clone(), "metadata")));
    parts.extend(layout.anew.iter().map(|name| (name.clone(), "given anew")));
    parts
}

/// Each column of the layout in the order of its parts, then those of the table that have none.
fn columns(layout: &Layout, table: Option<&Table>) -> Vec<LayoutColumn> {
    let mut columns: Vec<LayoutColumn> = Vec::new();
    for (name, part) in parts(layout) {
        if let Some(known) = columns.iter_mut().find(|column| column.name == name) {
            known.part = known.part.take().map(|other| format!("{other}, {part}"));
            continue;
        }
        let found = table.and_then(|table| table.column(&name));
        columns.push(LayoutColumn {
            kind: found.map(|column| column.kind.clone()),
            nullable: found.is_some_and(|column| !column.not_null),
            part: Some(part.to_owned()),
            name,
        });
    }
    let others = table.into_iter().flat_map(|table| &table.columns);
    for column in others {
        if !columns.iter().any(|known| known.name == column.name) {
            columns.push(LayoutColumn {
                name: column.name.clone(),
                kind: Some(column.kind.clone()),
                part: None,
                nullable: !column.not_null,
            });
        }
    }
    columns
}

/// Whether the tables beside the events are there, with their columns.
async fn beside(
    url: &rehome_postgres::PostgresUrl,
    layout: &Layout,
) -> Result<Vec<Finding>, AppError> {
    let mut findings = Vec::new();
    let warn = |column: Option<&String>, text: String| Finding {
        severity: Severity::Warn,
        column: column.cloned(),
        text,
    };
    for beside in &layout.beside {
        let name = format!("\"{}\".\"{}\"", layout.schema, beside.table);
        let table = catalog::table(url, &layout.schema, &beside.table).await?;
        if beside.heads.is_some() {
            findings.extend(catalog::judge_heads(layout, table.as_ref()));
            continue;
        }
        let Some(table) = table else {
            findings.push(warn(None, format!("there is no table {name}; it is ignored")));
            continue;
        };
        for (column, part) in [(&beside.tenant, "tenant"), (&beside.position, "position")] {
            if let Some(column) = column
                && table.column(column).is_none()
            {
                let text = format!("{name} has no column \"{column}\" for the {part}");
                findings.push(warn(Some(column), text));
            }
        }
    }
    Ok(findings)
}
