//! The verdict for people.

use std::fmt::Write as _;

use rehome_api::number::counted;
use rehome_workload::quickstart::verdict::{Spread, Verdict};

use crate::output::{count, table};

/// All of it.
pub(super) fn say(verdict: &Verdict) -> String {
    let mut text = String::from("\n");
    headline(verdict, &mut text);
    text.push('\n');
    let mut rows = vec![
        row("before the migration", verdict.append_ms.before),
        row("during the migration", verdict.append_ms.during),
        row("  of these, at the cutover", verdict.pause_ms),
    ];
    match &verdict.back {
        None => rows.push(row("after the switch", verdict.append_ms.after)),
        Some(back) => rows.extend([
            row("during the return", back.append_ms.during),
            row("  of these, at the cutover", back.pause_ms),
            row("after the return", back.append_ms.after),
        ]),
    }
    let head = ["THE WRITERS' APPENDS", "P50", "P99", "MAX", "HOW MANY"];
    for line in table(head, &[1, 2, 3, 4], rows).lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    counts(verdict, &mut text);
    go_on(verdict, &mut text);
    text
}

fn headline(verdict: &Verdict, text: &mut String) {
    let moved = &verdict.migration;
    let there = match &verdict.back {
        None => format!("moved from {} to {}", moved.source_store, moved.target_store),
        Some(_) => format!("moved from {} to {} and back", moved.source_store, moved.target_store),
    };
    let _ = writeln!(
        text,
        "Tenant {} {there} while {} writers wrote to it.",
        verdict.tenant_id, verdict.writers
    );
    if verdict.ok {
        let _ = writeln!(
            text,
            "All {} acknowledged events are stored: once, in order, unchanged.\n\
             The longest wait at the cutover was {:.1} ms.",
            count(verdict.acked),
            verdict.pause_ms.max
        );
    } else {
        let _ = writeln!(text, "ERROR: the stores contradict the acknowledgements of the writers.");
        let found = verdict.findings.iter().chain(&verdict.verification.violations);
        for finding in found {
            let _ = writeln!(text, "  {finding}");
        }
    }
}

fn row(name: &str, spread: Spread) -> [String; 5] {
    let ms = |ms: f64| if spread.appends == 0 { "-".to_owned() } else { format!("{ms:.2} ms") };
    [name.to_owned(), ms(spread.p50), ms(spread.p99), ms(spread.max), count(spread.appends)]
}

fn counts(verdict: &Verdict, text: &mut String) {
    let _ = writeln!(
        text,
        "  acked {}, lost {}, duplicated {}, reordered {}",
        count(verdict.acked),
        count(verdict.lost),
        count(verdict.duplicated),
        count(verdict.reordered)
    );
    let verified = &verdict.verification;
    let found = match verified.violations_total {
        0 => "no violation".to_owned(),
        violations => counted(violations, "violation"),
    };
    let _ = writeln!(
        text,
        "  verified: both stores read event by event, {} events, {found}",
        count(verified.events_checked)
    );
    let copy = &verdict.copy;
    let _ = write!(text, "  copied: {} events in {:.2} s", count(copy.events), copy.seconds);
    if let Some(rate) = copy.events_per_s {
        let _ = write!(text, ", {} events/s", count(rate));
    }
    text.push('\n');
}

/// The command as it was called: it need not be on the PATH.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let called = called.to_string_lossy();
    if called.contains('/') { called.into_owned() } else { "rehome".to_owned() }
}

fn go_on(verdict: &Verdict, text: &mut String) {
    let rehome = format!("{} --config {}", program(), verdict.config.display());
    let last = verdict.back.as_ref().map_or(&verdict.migration, |back| &back.migration);
    let _ = write!(
        text,
        "\nYou can inspect the stores; {} keeps its copy, and the tenant can return:\n\
         \n  `{rehome} migration log {}`\
         \n  `{rehome} migration return {} --wait`\
         \n\nTo remove them: `rm -r {}`\n",
        last.source_store,
        last.id,
        last.id,
        verdict.directory.display()
    );
    for name in &verdict.databases {
        let _ = writeln!(text, "and in psql:     DROP DATABASE {name} WITH (FORCE);");
    }
}
