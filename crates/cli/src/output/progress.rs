//! Progress: bars on a terminal, a line a second elsewhere.

use std::time::{Duration, Instant};

use rehome_api::Migration;

use super::migration::silent;
use super::terminal::{Bar, remark};
use super::text::{count, duration};
use super::{Out, Style};

/// Time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// The progress of a migration.
pub(crate) struct View {
    style: Style,
    bar: Option<Bar>,
    last: Option<(Instant, String)>,
    pace: Pace,
}

impl View {
    pub(crate) fn new(out: Out) -> Self {
        Self { style: out.progress(), bar: None, last: None, pace: Pace::default() }
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, migration: &Migration) {
        self.pace.see(migration);
        match self.style {
            Style::None => {}
            Style::Bars => self.draw(migration),
            Style::Lines => self.line(migration),
        }
    }

    fn draw(&mut self, migration: &Migration) {
        let bar = self.bar.get_or_insert_with(|| Bar::new(true));
        bar.at(migration.events_copied.unwrap_or(0), migration.events_total.unwrap_or(0));
        bar.prefix(&migration.state);
        bar.message(&numbers(migration, self.pace));
        bar.tick();
    }

    /// A line when the state changes, and otherwise one a second, if there is news.
    fn line(&mut self, migration: &Migration) {
        let words = format!("{} {}", migration.state, numbers(migration, self.pace));
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

/// How fast the target is read back, from one look to the next.
#[derive(Clone, Copy, Default)]
struct Pace {
    /// When how much had been read back.
    since: Option<(Instant, u64)>,
    /// Events per second.
    rate: Option<f64>,
}

impl Pace {
    fn see(&mut self, migration: &Migration) {
        let Some(seq) = migration.read_back_seq.filter(|_| migration.state == "dual_write") else {
            *self = Self::default();
            return;
        };
        let (since, from) = *self.since.get_or_insert_with(|| (Instant::now(), seq));
        let took = since.elapsed();
        if took >= LINE_EVERY {
            self.rate = Some(seq.saturating_sub(from) as f64 / took.as_secs_f64());
            self.since = Some((Instant::now(), seq));
        }
    }
}

/// How much of the target was read back, and of how much it still has to be.
fn verifying(migration: &Migration, seq: u64, pace: Pace) -> String {
    let total =
        migration.events_total.filter(|total| migration.state == "dual_write" && seq < *total);
    let Some(total) = total else { return format!("read back {}", count(seq)) };
    let verifying = format!("verifying {} of {}", count(seq), count(total));
    match pace.rate.filter(|rate| *rate > 0.0) {
        Some(rate) => format!("{verifying}, {} left", duration((total - seq) as f64 / rate)),
        None => verifying,
    }
}

fn numbers(migration: &Migration, pace: Pace) -> String {
    let mut words = silent(migration);
    let (Some(copied), Some(total)) = (migration.events_copied, migration.events_total) else {
        if words.is_empty() {
            words.push("a store does not answer".to_owned());
        }
        return words.join(", ");
    };
    let rate = per_second(migration.rate_events_per_s.unwrap_or(0.0));
    words.push(format!("{} of {} events{rate}", count(copied), count(total)));
    if let Some(eta) = migration.eta_seconds.filter(|eta| *eta > 0.0) {
        words.push(format!("{} left", duration(eta)));
    }
    if let Some(lag) = migration.sync_lag_events.filter(|_| migration.state != "bulk_copy") {
        words.push(format!("lag {}", count(lag)));
    }
    if let Some(seq) = migration.read_back_seq.filter(|seq| *seq > 0) {
        words.push(verifying(migration, seq, pace));
    }
    if let Some(percent) = migration.throttle_percent.filter(|percent| *percent < 100) {
        let why = migration.throttle_reason.as_deref().unwrap_or("recovering");
        words.push(format!("slowed to {percent} % ({why})"));
    }
    words.extend(migration.needs.iter().cloned());
    if migration.cutover_requested {
        words.push("cutover requested".to_owned());
    }
    let held_up = migration.error.iter().filter(|_| migration.state == "dual_write");
    let held_up = held_up.chain(&migration.waiting).chain(&migration.hooks);
    words.extend(held_up.map(|why| super::text::cell(why)));
    words.join(", ")
}

/// A rate behind a number; nothing if there is none yet.
fn per_second(rate: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below zero")]
    let whole = rate.clamp(0.0, 1e15).round() as u64;
    if whole == 0 { String::new() } else { format!(", {}/s", count(whole)) }
}

/// Something that is counted: an import, an export.
pub(crate) struct Counter {
    style: Style,
    what: &'static str,
    things: &'static str,
    bar: Option<Bar>,
    began: Instant,
    last: Instant,
    /// The number in the last line.
    shown: u64,
}

impl Counter {
    pub(crate) fn new(out: Out, what: &'static str) -> Self {
        Self::of(out, what, "events")
    }

    /// The same of other things.
    pub(crate) fn of(out: Out, what: &'static str, things: &'static str) -> Self {
        let now = Instant::now();
        Self { style: out.progress(), what, things, bar: None, began: now, last: now, shown: 0 }
    }

    /// So many now, of so many if that is known.
    pub(crate) fn show(&mut self, now: u64, total: Option<u64>) {
        match self.style {
            Style::None => {}
            Style::Bars => {
                let bar = self.bar.get_or_insert_with(|| Bar::new(total.is_some()));
                let of = total.map(|total| format!(" of {}", count(total))).unwrap_or_default();
                let seconds = self.began.elapsed().as_secs_f64();
                let rate = if seconds < 0.5 { 0.0 } else { now as f64 / seconds };
                bar.prefix(self.what);
                bar.message(&format!("{}{of} {}{}", count(now), self.things, per_second(rate)));
                bar.at(now, total.unwrap_or(0));
            }
            Style::Lines if now != self.shown && self.last.elapsed() >= LINE_EVERY => {
                (self.last, self.shown) = (Instant::now(), now);
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
