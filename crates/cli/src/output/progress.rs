//! Progress: bars on a terminal, a line a second elsewhere.

use std::time::{Duration, Instant};

use rehome_api::Migration;

use super::migration::silent;
use super::terminal::{Bar, remark};
use super::text::count;
use super::{Out, Style};

/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// A migration as it goes on.
pub(crate) struct View {
    style: Style,
    bar: Option<Bar>,
    last: Option<(Instant, String)>,
}

impl View {
    pub(crate) fn new(out: Out) -> Self {
        Self { style: out.progress(), bar: None, last: None }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, migration: &Migration) {
        match self.style {
            Style::None => {}
            Style::Bars => self.draw(migration),
            Style::Lines => self.line(migration),
        }
    }

    fn draw(&mut self, migration: &Migration) {
        let bar =
            self.bar.get_or_insert_with(|| Bar::new("{prefix:14} {bar:30} {percent:>3} % {msg}"));
        bar.at(migration.events_copied.unwrap_or(0), migration.events_total.unwrap_or(0));
        bar.prefix(&migration.state);
        bar.message(&numbers(migration));
        bar.tick();
    }

    /// A line when the state changes, and otherwise one a second, if it says anything new.
    fn line(&mut self, migration: &Migration) {
        let words = format!("{} {}", migration.state, numbers(migration));
        let due = match &self.last {
            None => true,
            Some((at, last)) => {
                let same_state = last.split(' ').next() == Some(migration.state.as_str());
                *last != words && (!same_state || at.elapsed() >= LINE_EVERY)
            }
        };
        if due {
            remark(&words);
            self.last = Some((Instant::now(), words));
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.end();
        }
    }
}

fn numbers(migration: &Migration) -> String {
    let mut words = silent(migration);
    let (Some(copied), Some(total)) = (migration.events_copied, migration.events_total) else {
        if words.is_empty() {
            words.push("a store does not answer".to_owned());
        }
        return words.join(", ");
    };
    words.push(format!("{} of {} events", count(copied), count(total)));
    if let Some(rate) = migration.rate_events_per_s.filter(|rate| *rate > 0.0) {
        words.push(format!("{rate:.0} events/s"));
    }
    if let Some(eta) = migration.eta_seconds.filter(|eta| *eta > 0.0) {
        words.push(format!("{eta:.0} s left"));
    }
    if let Some(lag) = migration.sync_lag_events.filter(|_| migration.state != "bulk_copy") {
        words.push(format!("lag {}", count(lag)));
    }
    if let Some(seq) = migration.read_back_seq.filter(|seq| *seq > 0) {
        words.push(format!("read back {}", count(seq)));
    }
    words.join(", ")
}

/// Something that is counted: an import, an export.
pub(crate) struct Counter {
    style: Style,
    what: &'static str,
    things: &'static str,
    bar: Option<Bar>,
    last: Instant,
}

impl Counter {
    pub(crate) fn new(out: Out, what: &'static str) -> Self {
        Self::of(out, what, "events")
    }

    /// The same of other things.
    pub(crate) fn of(out: Out, what: &'static str, things: &'static str) -> Self {
        Self { style: out.progress(), what, things, bar: None, last: Instant::now() }
    }

    /// So many now, of so many if that is known.
    pub(crate) fn show(&mut self, now: u64, total: Option<u64>) {
        match self.style {
            Style::None => {}
            Style::Bars => {
                let bar = self.bar.get_or_insert_with(|| match total {
                    Some(_) => Bar::new("{msg:14} {bar:30} {percent:>3} % {human_pos}, {per_sec}"),
                    None => Bar::new("{msg:14} {human_pos} {prefix}, {per_sec}"),
                });
                bar.message(self.what);
                bar.prefix(self.things);
                bar.at(now, total.unwrap_or(0));
            }
            Style::Lines if self.last.elapsed() >= LINE_EVERY => {
                self.last = Instant::now();
                let of = total.map(|total| format!(" of {}", count(total))).unwrap_or_default();
                remark(&format!("{} {}{of} {}", self.what, count(now), self.things));
            }
            Style::Lines => {}
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.end();
        }
    }
}
