//! The progress on stderr: bars on a terminal, lines elsewhere.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rehome_workload::quickstart::{QuickstartOptions, Seen, Stage, Step};

use crate::output::terminal::{self, Bar};
use crate::output::{Out, Style, count, rate};

/// Minimum time between two progress lines.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// The display of the steps.
pub(super) struct Live {
    out: Out,
    style: Style,
    options: QuickstartOptions,
    bars: Option<Bars>,
    state: Mutex<State>,
    left: Mutex<Option<Left>>,
}

/// What a quickstart leaves behind.
#[derive(Clone)]
pub(super) struct Left {
    pub(super) folder: PathBuf,
    pub(super) databases: Vec<String>,
}

/// The last line.
#[derive(Default)]
struct State {
    /// The current heading.
    part: String,
    said: Option<Instant>,
    began: Option<Instant>,
    last: Option<String>,
}

struct Bars {
    all: terminal::Bars,
    work: Bar,
    writers: Bar,
}

impl Bars {
    fn new() -> Self {
        let all = terminal::Bars::default();
        let (work, writers) = (all.add(true), all.add(false));
        writers.prefix("writers");
        Self { all, work, writers }
    }
}

impl Live {
    pub(super) fn new(out: Out, options: &QuickstartOptions) -> Self {
        let style = out.progress();
        let bars = (style == Style::Bars).then(Bars::new);
        Self {
            out,
            style,
            options: options.clone(),
            bars,
            state: Mutex::default(),
            left: Mutex::default(),
        }
    }

    /// Removes the bars; printed lines stay.
    pub(super) fn end(&self) {
        self.finish_part();
        if let Some(bars) = &self.bars {
            bars.work.end();
            bars.writers.end();
        }
    }

    /// Where the stores are, once they are there.
    pub(super) fn left(&self) -> Option<Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn hear(&self, step: &Step) {
        if let Step::Opened { folder, databases, .. } = step {
            let left = Left { folder: folder.clone(), databases: databases.clone() };
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
        }
        if self.style == Style::None {
            return;
        }
        match step {
            Step::Opened { folder, databases, .. } if databases.is_empty() => {
                self.say(&format!("stores in {}", folder.display()));
            }
            Step::Opened { folder, databases, .. } => {
                self.say(&format!("control plane in {}", folder.display()));
                self.say(&format!("stores in {}", databases.join(", ")));
            }
            Step::Filling { events, total } => {
                let text = match total {
                    Some(total) => {
                        format!("{} of {} events", count(*events), count(*total))
                    }
                    None => format!("{} events", count(*events)),
                };
                let what = if self.options.input.is_some() { "importing" } else { "making" };
                self.go_on(what, *events, total.unwrap_or(0), text);
            }
            Step::Filled { tenants, moving, took } => {
                let events: u64 = tenants.iter().map(|one| one.events).sum();
                let of_moving = tenants.iter().find(|one| one.tenant == *moving);
                let source = match &self.options.input {
                    Some(path) => format!("from {}", path.display()),
                    None => format!("seed {}", self.options.seed),
                };
                self.say(&format!(
                    "history: {} events of {} tenants in {:.1} s ({source})",
                    count(events),
                    tenants.len(),
                    took.as_secs_f64()
                ));
                self.say(&format!(
                    "{} writers append to tenant {moving} ({} events), {} events/s",
                    self.options.writers,
                    count(of_moving.map_or(0, |one| one.events)),
                    rate(self.options.rate)
                ));
            }
            Step::Watching { stage, writers } => {
                let what = if *stage == Stage::Before { "before" } else { "after" };
                self.writers(writers);
                self.go_on(what, 0, 0, seen(writers));
            }
            Step::Moving { status, writers } => {
                self.writers(writers);
                let phase = status.migration.state.phase();
                let (copied, total, text) = match &status.progress {
                    Some(progress) => {
                        let eta = progress.eta_seconds().filter(|eta| *eta >= 0.1);
                        let text = format!(
                            "{} of {} events{}{}, lag {}",
                            count(progress.events_copied),
                            count(progress.events_total),
                            at_rate(progress.rate_events_per_s),
                            eta.map_or(String::new(), |eta| format!(", {eta:.1} s left")),
                            count(progress.lag_events),
                        );
                        (progress.events_copied, progress.events_total, text)
                    }
                    None => (0, 0, "a store does not answer".to_owned()),
                };
                self.go_on(phase.as_str(), copied, total, text);
            }
            Step::Verifying => self.go_on("verifying", 0, 0, "both stores, event by event".into()),
            Step::Checking { acked } => {
                let text = format!("{} acknowledged events against the stores", count(*acked));
                self.go_on("checking", 0, 0, text);
            }
        }
    }

    /// A line that stays.
    fn say(&self, text: &str) {
        self.finish_part();
        self.print(text);
    }

    fn print(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.all.line(text),
            None => self.out.remark(text),
        }
    }

    /// Progress: moves the bar; without a bar, prints a line periodically, and the last one.
    fn go_on(&self, part: &str, done: u64, total: u64, text: String) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.part != part {
            self.finish(&mut state);
            *state =
                State { part: part.to_owned(), began: Some(Instant::now()), ..State::default() };
        }
        match &self.bars {
            Some(bars) => {
                bars.work.prefix(part);
                bars.work.at(if total == 0 { 0 } else { done.min(total) }, total.max(1));
                bars.work.message(&text);
                state.last = Some(text);
            }
            None if state.said.is_none_or(|at| at.elapsed() >= LINE_EVERY) => {
                state.said = Some(Instant::now());
                state.last = None;
                self.print(&format!("{part}: {text}"));
            }
            None => state.last = Some(text),
        }
    }

    fn finish_part(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.finish(&mut state);
        *state = State::default();
    }

    fn finish(&self, state: &mut State) {
        if let Some(last) = state.last.take() {
            let took = state.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
            self.print(&format!("{}: {last} ({took:.1} s)", state.part));
        }
    }

    fn writers(&self, writers: &Seen) {
        if let Some(bars) = &self.bars {
            bars.writers.message(&seen(writers));
        }
    }
}

fn at_rate(events_per_s: f64) -> String {
    if events_per_s > 0.0 { format!(", {} events/s", rate(events_per_s)) } else { String::new() }
}

fn seen(writers: &Seen) -> String {
    format!(
        "{} events acknowledged; lately p50 {:.2} ms, max {:.2} ms",
        count(writers.acked),
        writers.lately.p50_ms,
        writers.lately.max_ms
    )
}
