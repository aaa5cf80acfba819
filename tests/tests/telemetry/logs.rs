//! Log lines of real processes, held against the guide and its queries.

use anyhow::{Context as _, Result, ensure};
use rehome_tests::history::{IMPORTED, TENANT};
use serde_json::Value;

use crate::harness::{Site, page};
use crate::query;

const LOGGER: &str = "eventsource.migration";
const LEVELS: [&str; 4] = ["DEBUG", "INFO", "WARNING", "ERROR"];

/// The shape that every line has, and the fields of those about the migration. Answers their messages.
fn messages<'a>(lines: &'a [Value], migration: &str) -> Result<Vec<&'a str>> {
    let mut messages = Vec::new();
    for line in lines {
        let time = line["timestamp"].as_str().context("no timestamp")?;
        ensure!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{line}");
        let level = line["level"].as_str().context("no level")?;
        ensure!(LEVELS.contains(&level), "{line}");
        ensure!(line["service"] == "eventsource", "{line}");
        let message = line["message"].as_str().context("no message")?;
        if line["logger"] == LOGGER {
            ensure!(line["migration_id"] == migration && line["tenant_id"] == TENANT, "{line}");
            let has = |field: &str| line[field].as_str().is_some_and(|text| !text.is_empty());
            ensure!(has("phase") && has("operation"), "{line}");
            messages.push(message);
        }
    }
    Ok(messages)
}

fn find<'a>(lines: &'a [Value], message: &str) -> Result<&'a Value> {
    let found = lines.iter().find(|line| line["message"] == message);
    found.with_context(|| format!("no line says {message}"))
}

/// Of the one that started the migration and was killed after its first batch.
pub(crate) fn check_killed_lines(lines: &[Value], migration: &str) -> Result<()> {
    let found = messages(lines, migration)?;
    ensure!(
        found.starts_with(&["Migration started", "Lease taken", "Bulk copy progress"]),
        "{found:?}"
    );
    ensure!(!found.contains(&"Bulk copy complete"), "{found:?}");
    let progress: Vec<_> =
        lines.iter().filter(|line| line["message"] == "Bulk copy progress").collect();
    ensure!(progress.len() == 1 && progress[0]["events_count"] == 0, "{progress:?}");
    ensure!(progress[0]["phase"] == "bulk_copy" && progress[0]["level"] == "INFO", "{progress:?}");
    Ok(())
}

/// The lines of the server that took it over and finished it.
pub(crate) fn check_heirs_lines(lines: &[Value], migration: &str) -> Result<()> {
    let found = messages(lines, migration)?;
    let expected = [
        "Lease taken",
        "Bulk copy complete",
        "Cutover initiated",
        "Cutover completed",
        "Migration completed",
    ];
    let told: Vec<_> = found.iter().filter(|message| expected.contains(message)).collect();
    ensure!(told.iter().copied().eq(&expected), "{found:?}");
    ensure!(find(lines, "Lease taken")?["operation"] == "take_over", "{found:?}");
    let complete = find(lines, "Bulk copy complete")?;
    // The copy may leave as much to the mirror as the lag bound allows.
    let copied = complete["events_count"].as_u64().context("no events_count")?;
    ensure!((IMPORTED - 200..=IMPORTED).contains(&copied), "{complete}");
    ensure!(complete["phase"] == "dual_write" && complete["duration_ms"].is_u64(), "{complete}");
    ensure!(find(lines, "Cutover completed")?["duration_ms"].is_u64(), "{lines:?}");
    Ok(())
}

/// The documented queries find the expected lines among these lines and one error.
pub(crate) fn check_queries(lines: &[Value]) -> Result<()> {
    let mut lines = lines.to_vec();
    let mut failed = find(&lines, "Cutover initiated")?.clone();
    failed["level"] = "ERROR".into();
    failed["message"] = "Migration failed".into();
    lines.push(failed);
    let elsewhere = serde_json::json!({
        "level": "ERROR", "logger": "rehome_server::listen", "message": "a cutover, an error, a migration",
    });
    lines.push(elsewhere);

    let page = page("logs.md")?.replace("12345678-1234-1234-1234-123456789abc", TENANT);
    let about = |line: &Value| line["logger"] == LOGGER;
    let wanted: [(&str, Query); 3] = [
        ("All events of a tenant", |line| line["tenant_id"] == TENANT),
        ("Errors of migrations", |line| line["level"] == "ERROR"),
        ("Cutovers", |line| {
            line["message"].as_str().is_some_and(|text| text.starts_with("Cutover"))
        }),
    ];
    for (language, find) in
        [("kql", query::kibana as fn(&str, &Value) -> Result<bool>), ("logql", query::loki)]
    {
        let queries = query::of_page(&page, language);
        ensure!(queries.len() == wanted.len(), "{language}: {queries:?}");
        for (title, is_wanted) in wanted {
            let query = queries.iter().find(|(found, _)| *found == title);
            let (_, query) = query.with_context(|| format!("no {language} query {title}"))?;
            let found = lines.iter().map(|line| find(query, line)).collect::<Result<Vec<_>>>()?;
            let right: Vec<_> = lines.iter().map(|line| about(line) && is_wanted(line)).collect();
            ensure!(found == right, "{query}: {found:?}, not {right:?}");
            ensure!(right.contains(&true) && right.contains(&false), "{title} says nothing");
        }
    }
    Ok(())
}

/// The result of a query, implemented a second time.
type Query = fn(&Value) -> bool;

#[test]
fn lines_for_people_hold_the_same_on_one_line_each() -> Result<()> {
    let site = Site::new(&[])?;
    let mut driver = site.start("driver", "", &["--log", "pretty"])?;
    driver.succeeds()?;
    let written = driver.complained()?;
    for message in ["Migration started", "Cutover initiated", "Migration completed"] {
        let text = format!("INFO {LOGGER}: {message} migration_id=");
        ensure!(written.lines().any(|line| line.contains(&text)), "no {message}: {written}");
    }
    Ok(())
}
