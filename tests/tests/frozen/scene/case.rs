//! One tenant on one screen: what is true of it, and whether the screen shows that.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{INTERVAL, Phase, Scene, Stage};
use crate::harness::{Component, IMPORTED};
use crate::screens::{Metrics, Page};
use crate::table::{By, DOCUMENT, OF_MIGRATIONS, Series, True, Truth};
use crate::truth::{Load, Range, Waits, Writers};

/// When the screens were read, and which writers waited then.
pub(crate) struct Moment {
    pub(super) looked: Instant,
    /// When all screens but the metrics were requested.
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    pub(super) before: [Waits; 4],
    pub(super) after: [Waits; 4],
}

/// One tenant on one screen.
pub(crate) struct Case<'a> {
    pub(super) scene: &'a Scene,
    pub(super) moment: &'a Moment,
    pub(crate) phase: Phase,
}

impl Case<'_> {
    fn stage(&self) -> &Stage {
        &self.scene.stage
    }

    fn writers_of(&self) -> &Writers {
        &self.stage().writers[self.phase as usize]
    }

    /// The store that accepts the tenant's writes.
    pub(crate) fn authority(&self) -> &'static str {
        if self.phase == Phase::Window { "target" } else { "source" }
    }

    /// The store that follows.
    pub(crate) fn replica_store(&self) -> &'static str {
        match self.phase {
            Phase::BulkCopy | Phase::DualWrite => "target",
            Phase::CutoverPaused => "aside",
            Phase::Window => "source",
        }
    }

    /// What hangs.
    pub(crate) fn component(&self) -> Component {
        self.scene.component
    }

    /// The store answers nothing.
    pub(crate) fn hangs(&self, store: &str) -> bool {
        match self.scene.component {
            Component::Source => store == "source",
            Component::Target | Component::BlackHole => store != "source",
            Component::ControlPlane | Component::HeldLock => false,
        }
    }

    pub(crate) fn takes_no_writes(&self, store: &str) -> bool {
        self.hangs(store) || self.scene.component == Component::HeldLock && store == "target"
    }

    /// The replica gets no further.
    pub(crate) fn stands_still(&self) -> bool {
        self.takes_no_writes(self.replica_store()) || self.hangs(self.authority())
    }

    /// Events that are with the gateway, at most.
    fn in_flight(&self) -> f64 {
        let Load { writers, events, .. } = self.phase.load();
        writers as f64 * events as f64
    }

    /// The oldest time at which a shown value may have been read.
    fn from(&self, store: &str) -> Instant {
        let from = self.moment.looked.checked_sub(INTERVAL).unwrap_or(self.moment.looked);
        if !self.takes_no_writes(store) {
            return from;
        }
        let frozen = self.scene.frozen_at;
        from.min(frozen.checked_sub(Duration::from_secs(2)).unwrap_or(frozen))
    }

    /// How long the authority's history is.
    pub(crate) fn source(&self) -> Range {
        let from = self.from(self.authority());
        let acked = self.writers_of().acked(from, self.moment.answered);
        let imported = IMPORTED as f64;
        Range::of(imported + acked.low, imported + acked.high + self.in_flight())
    }

    /// How long the replica's is.
    pub(crate) fn replica(&self) -> Range {
        let from = self.from(self.replica_store());
        let (name, frozen) = (self.phase.name(), self.scene.frozen_at);
        let seen = self.stage().heads.between(name, from, self.moment.answered);
        if !self.hangs(self.replica_store()) {
            return seen;
        }
        // The events between the last reading and the freeze are at most all events.
        let acked = self.writers_of().acked(frozen, frozen).high;
        let most = IMPORTED as f64 + acked + self.in_flight();
        let most = if self.phase == Phase::BulkCopy { seen.high + 20.0 } else { most };
        Range::of(seen.low, most.max(seen.high))
    }

    pub(crate) fn lag(&self) -> Range {
        self.source().less(self.replica())
    }

    /// Events that had to be copied, and that were.
    pub(crate) fn total(&self) -> Range {
        let imported = IMPORTED as f64;
        if self.phase == Phase::Window { Range::of(imported, imported) } else { self.source() }
    }

    pub(crate) fn copied(&self) -> Range {
        if self.phase == Phase::Window { self.total() } else { self.replica() }
    }

    pub(crate) fn since_frozen(&self) -> Range {
        let seconds = |to: Instant| to.duration_since(self.scene.frozen_at).as_secs_f64();
        Range::of(seconds(self.moment.looked), seconds(self.moment.asked))
    }

    pub(crate) fn in_phase(&self) -> Range {
        let entered = self.stage().entered[self.phase as usize];
        let seconds = |to: Instant| to.duration_since(entered).as_secs_f64();
        Range::of(seconds(self.moment.looked), seconds(self.moment.asked)).around(2.0)
    }

    pub(crate) fn frozen_unix(&self) -> f64 {
        self.scene.frozen_unix
    }

    pub(crate) fn looked_unix(&self) -> f64 {
        self.scene.frozen_unix + self.since_frozen().low
    }

    pub(crate) fn began_unix(&self) -> f64 {
        self.stage().began_unix
    }

    fn waits(&self, of: impl Fn(&Waits) -> f64) -> Range {
        let nth = self.phase as usize;
        let (before, after) = (of(&self.moment.before[nth]), of(&self.moment.after[nth]));
        Range::of(before.min(after), before.max(after))
    }

    /// Writers that wait; one may just be between two tries.
    pub(crate) fn writers(&self) -> Range {
        let waits = self.waits(|waits| waits.writers as f64);
        Range::of((waits.low - 1.0).max(1.0), waits.high + 1.0)
    }

    pub(crate) fn longest_wait(&self) -> Range {
        self.waits(|waits| waits.longest.as_secs_f64()).around(0.75)
    }

    pub(crate) fn blocked_for(&self) -> Range {
        let waits = self.waits(|waits| waits.blocked.as_secs_f64()).around(0.75);
        // For a moment no write waits, where appends succeed.
        if waits.high < 2.0 { Range::of(0.0, waits.high) } else { waits }
    }

    pub(super) fn judge_metrics(&self, metrics: &Metrics, wrong: &mut Vec<String>) {
        for (series, truth) in OF_MIGRATIONS {
            let (family, by, more): Series = *series;
            let nth = self.phase as usize;
            let label = match by {
                By::Migration => format!("migration_id=\"{}\"", self.stage().ids[nth]),
                By::Tenant => format!("tenant_id=\"{}\"", self.stage().tenants[nth]),
            };
            let found = metrics.series(family, &[label, more(self)]);
            judge_series(&format!("{} {family}", self.phase.name()), &found, &truth(self), wrong);
        }
    }

    pub(super) fn judge_document(&self, page: &Page, wrong: &mut Vec<String>) {
        let name = format!("{} document", self.phase.name());
        self.scene.judge_time(&name, page, wrong);
        // Without the control plane there is no document; that it does not answer is the answer.
        if page.status < 500 || self.scene.component != Component::ControlPlane {
            judge_document(&name, &page.document(), DOCUMENT, self, wrong);
        }
    }
}

pub(super) fn judge_series(
    name: &str,
    found: &[(String, f64)],
    truth: &True,
    wrong: &mut Vec<String>,
) {
    let is_true = match (found, truth) {
        ([], True::Absent) | ([_], True::Constant) => true,
        ([(_, value)], True::Number(range)) => range.has(*value),
        _ => false,
    };
    if !is_true {
        wrong.push(format!("{name}: {found:?}, true is {truth:?}"));
    }
}

/// Each field as it is in the table, and no field that is not there.
pub(super) fn judge_document<C>(
    name: &str,
    document: &Value,
    fields: &[(&str, Truth<C>)],
    of: &C,
    wrong: &mut Vec<String>,
) {
    let Some(found) = document.as_object() else {
        wrong.push(format!("{name}: no document: {document}"));
        return;
    };
    for field in found.keys().filter(|key| fields.iter().all(|(field, _)| field != key)) {
        wrong.push(format!("{name} {field}: it has no row in the table"));
    }
    for (field, truth) in fields {
        let (value, truth) = (&document[*field], truth(of));
        let is_true = match &truth {
            True::Absent => value.is_null(),
            True::Number(range) => value.as_f64().is_some_and(|value| range.has(value)),
            True::Text(text) => value == text,
            True::Says(text) => value.to_string().replace("\\\"", "\"").contains(text),
            True::Constant => true,
        };
        if !is_true {
            wrong.push(format!("{name} {field}: {value}, true is {truth:?}"));
        }
    }
}
