//! The verdict for people.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use rehome_app::quickstart::verdict::{Appends, Spread, Verdict};

/// A number with its thousands apart.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// All of it.
pub(super) fn say(verdict: &Verdict) -> String {
    let mut text = String::from("\n");
    headline(verdict, &mut text);
    text.push('\n');
    let mut table = table();
    table.add_rows(rows(verdict.append_ms, verdict.pause_ms, "cutover"));
    if let Some(back) = &verdict.back {
        let during = [row("on the way back", back.append_ms.during)];
        let rest = [row("  of these, at the cutover back", back.pause_ms)];
        table.add_rows(during.into_iter().chain(rest));
        table.add_row(row("after the return", back.append_ms.after));
    }
    for line in table.lines() {
        let _ = writeln!(text, "  {}", line.trim_end());
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
            "All {} events that they were told are stored are there: once, in order, unchanged.\n\
             The longest that any of them waited at the cutover was {:.1} ms.",
            thousands(verdict.acked),
            verdict.pause_ms.max
        );
    } else {
        let _ = writeln!(text, "SOMETHING IS WRONG: what the writers were told is not true.");
        let found = verdict.findings.iter().chain(&verdict.verification.violations);
        for finding in found {
            let _ = writeln!(text, "  {finding}");
        }
    }
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["appends", "p50", "p99", "max", "how many"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn rows(appends: Appends, pause: Spread, what: &str) -> [[String; 5]; 4] {
    [
        row("before the migration", appends.before),
        row("during the migration", appends.during),
        row(&format!("  of these, at the {what}"), pause),
        row("after the switch", appends.after),
    ]
}

fn row(name: &str, spread: Spread) -> [String; 5] {
    let ms = |ms: f64| if spread.appends == 0 { "-".to_owned() } else { format!("{ms:.2} ms") };
    [name.to_owned(), ms(spread.p50), ms(spread.p99), ms(spread.max), thousands(spread.appends)]
}

fn counts(verdict: &Verdict, text: &mut String) {
    let _ = writeln!(
        text,
        "  acked {}, lost {}, duplicated {}, reordered {}",
        thousands(verdict.acked),
        thousands(verdict.lost),
        thousands(verdict.duplicated),
        thousands(verdict.reordered)
    );
    let verified = &verdict.verification;
    let found = match verified.violations_total {
        0 => "no violation".to_owned(),
        violations => format!("{} violation(s)", thousands(violations)),
    };
    let _ = writeln!(
        text,
        "  verified: both stores read event by event, {} events, {found}",
        thousands(verified.events_checked)
    );
    let copy = &verdict.copy;
    let _ = write!(text, "  copied: {} events in {:.2} s", thousands(copy.events), copy.seconds);
    if let Some(rate) = copy.events_per_s {
        let _ = write!(text, ", {rate:.0} events/s");
    }
    text.push('\n');
}

fn go_on(verdict: &Verdict, text: &mut String) {
    let rehome = format!("rehome --config {}", verdict.config.display());
    let last = verdict.back.as_ref().map_or(&verdict.migration, |back| &back.migration);
    let _ = write!(
        text,
        "\nThe files are yours to look at; {} keeps what it had, and the tenant can return:\n\
         \n  {rehome} migration log {}\
         \n  {rehome} migration return {} --wait\
         \n\nTo remove them: rm -r {}\n",
        last.source_store,
        last.id,
        last.id,
        verdict.directory.display()
    );
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
