//! One deployment with a tenant in each phase; a component freezes, and after a while the screens are read.
//!
//! ```text
//!            bulk_copy       ten events a second to `target`
//!  source    dual_write      to `target`, some hundred events a second
//!            cutover_paused  to `aside`: the answer to its fence is held
//!            migrated        to `target`, `source` kept level: the rollback window
//!            dual_write      to `aside`, by a drain whose window is closed
//! ```

mod case;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use rehome_api::OptionsPatch;
use rehome_domain::ids::MigrationId;
use rehome_tests::process::wait_for;
use serde_json::Value;
use uuid::Uuid;

use case::{Moment, judge_document, judge_series};

pub(crate) use case::Case;

use crate::harness::{Component, IMPORTED, Site};
use crate::screens::{Look, Metrics, Page};
use crate::table::{
    DRAIN, HEALTH, OF_DRAINS, OF_PROCESS, PAGES, PAGES_OF_DRAINS, PAGES_OF_TENANTS,
};
use crate::truth::{Heads, Load, Range, Writers};

/// What a screen shows was true at most so long ago.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time between the freeze and the reading of the screens.
const LOOK_AFTER: Duration = Duration::from_secs(10);
/// Longest time of a response, and of one that needs a frozen control plane.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const ANSWER_WITHOUT_CONTROL_PLANE_WITHIN: Duration = Duration::from_secs(45);
/// Of a drain it is known what was seen last: within a second is asked, and all screens are asked at once.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Where a tenant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    BulkCopy,
    DualWrite,
    CutoverPaused,
    Window,
}

impl Phase {
    const ALL: [Self; 4] = [Self::BulkCopy, Self::DualWrite, Self::CutoverPaused, Self::Window];

    /// The name of the tenant's replica in [`Heads`], and of the phase.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BulkCopy => "bulk_copy",
            Self::DualWrite => "dual_write",
            Self::CutoverPaused => "cutover_paused",
            Self::Window => "migrated",
        }
    }

    pub(crate) const fn state(self) -> &'static str {
        self.name()
    }

    const fn load(self) -> Load {
        let (events, pause) = match self {
            Self::DualWrite => (150, Duration::from_millis(300)),
            _ => (1, Duration::from_millis(200)),
        };
        Load { writers: 3, events, pause }
    }
}

#[test]
fn all_screens_are_true_while_the_sources_server_hangs() -> Result<()> {
    play(Component::Source)
}

#[test]
fn all_screens_are_true_while_the_targets_server_hangs() -> Result<()> {
    play(Component::Target)
}

#[test]
fn all_screens_are_true_while_the_control_planes_server_hangs() -> Result<()> {
    play(Component::ControlPlane)
}

#[test]
fn all_screens_are_true_while_a_network_drops_what_goes_to_the_target() -> Result<()> {
    play(Component::BlackHole)
}

#[test]
fn all_screens_are_true_while_somebody_keeps_the_lock_of_the_targets_file() -> Result<()> {
    play(Component::HeldLock)
}

/// Keeps the folder after a failure.
fn play(component: Component) -> Result<()> {
    let tenants = [(); 4].map(|()| Uuid::new_v4());
    let drained = Uuid::new_v4();
    let all: Vec<_> = tenants.into_iter().chain([drained]).collect();
    let site = Site::new(component, &all)?;
    played(&site, component, tenants, drained).map_err(|error| {
        let folder = site.keep();
        error.context(format!("what the process said is kept in {}", folder.display()))
    })
}

fn played(site: &Site, component: Component, tenants: [Uuid; 4], drained: Uuid) -> Result<()> {
    let drain = site.start_drain(drained)?;
    site.wait_for_drain(drain)?;
    let stage = Stage::set(site, tenants)?;
    let scrapes_it = || {
        let metrics = Metrics::take(site.port())?;
        let moving = [format!("drain_id=\"{drain}\""), "state=\"moving\"".to_owned()];
        let series = metrics.series("drain_tenants", &moving);
        Ok(matches!(series.as_slice(), [(_, count)] if *count > 0.0).then_some(()))
    };
    wait_for("the drain to be exported", scrapes_it)?;
    thread::sleep(Duration::from_secs(1));
    let (frozen_at, frozen_unix) = (Instant::now(), unix());
    let frozen = site.freeze()?;
    let scene = Scene { component, stage, frozen_at, frozen_unix };
    thread::sleep(LOOK_AFTER);

    let looked = Instant::now();
    let before = scene.stage.writers.each_ref().map(Writers::now);
    let metrics = Metrics::take(site.port())?;
    let after = scene.stage.writers.each_ref().map(Writers::now);
    let pages = |page: &&str| {
        let mut of_all = scene.stage.ids.iter().map(|id| page.replace("{id}", &id.to_string()));
        if page.contains("{id}") { of_all.collect() } else { of_all.by_ref().take(1).collect() }
    };
    let mut pages: Vec<String> =
        PAGES.iter().flat_map(|page| -> Vec<String> { pages(page) }).collect();
    let of_drain = |page: &&str| page.replace("{id}", &drain.to_string());
    let of_drains: Vec<_> = PAGES_OF_DRAINS.iter().map(of_drain).collect();
    let document = format!("/v1/drains/{drain}");
    let of_tenants = PAGES_OF_TENANTS.iter().flat_map(|page| {
        scene.stage.tenants.map(|tenant| page.replace("{id}", &tenant.to_string()))
    });
    pages.extend(of_tenants);
    pages.extend(of_drains.iter().cloned().chain([document.clone()]));
    let asked = Instant::now();
    let look = Look::take(site.port(), &scene.stage.ids, &pages)?;
    let moment = Moment { looked, asked, answered: Instant::now(), before, after };
    drop(frozen);
    site.before_source.flow();

    let mut wrong = Vec::new();
    for phase in Phase::ALL {
        let case = Case { scene: &scene, moment: &moment, phase };
        case.judge_metrics(&metrics, &mut wrong);
        case.judge_document(&look.documents[phase as usize], &mut wrong);
    }
    scene.judge_process(&metrics, &mut wrong);
    scene.judge_drain(&metrics, &look, (drain, &of_drains, &document), &mut wrong);
    scene.judge_health(&look.health, &moment, &mut wrong);
    for (path, page) in &look.pages {
        scene.judge_time(path, page, &mut wrong);
    }
    ensure!(wrong.is_empty(), "{component:?} hangs, and not true are:\n{}", wrong.join("\n"));
    scene.stage.comes_through(site)
}

fn unix() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Four tenants, each in its phase, with writers.
struct Stage {
    tenants: [Uuid; 4],
    ids: [MigrationId; 4],
    /// When each was seen in its phase.
    entered: [Instant; 4],
    began_unix: f64,
    /// When the writers of the one in dual_write began.
    writing: Instant,
    writers: [Writers; 4],
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    heads: Heads,
}

impl Stage {
    fn set(site: &Site, tenants: [Uuid; 4]) -> Result<Self> {
        let [copies, mirrors, cuts_over, moved] = tenants;
        let began_unix = unix();
        let options = OptionsPatch::default;
        let window = OptionsPatch {
            cutover: Some("auto".to_owned()),
            rollback_window: Some("1h".parse().map_err(|_| anyhow::anyhow!("a time"))?),
            ..options()
        };
        let window = site.start(moved, "target", window)?;
        let dual_write = site.start(mirrors, "target", options())?;
        let minute = OptionsPatch { cutover_timeout_ms: Some(60_000), ..options() };
        let paused = site.start(cuts_over, "aside", minute)?;
        site.wait_for_state(window, "migrated")?;
        let entered_window = Instant::now();
        site.wait_for_state(dual_write, "dual_write")?;
        let entered_dual_write = Instant::now();
        site.wait_for_state(paused, "dual_write")?;
        let slowly = OptionsPatch { copy_rate_max: Some(10), ..options() };
        let bulk_copy = site.start(copies, "target", slowly)?;
        site.wait_for_state(bulk_copy, "bulk_copy")?;
        let entered_bulk_copy = Instant::now();

        let heads = Heads::watch(vec![
            (Phase::BulkCopy.name(), site.place("target")?, copies),
            (Phase::DualWrite.name(), site.place("target")?, mirrors),
            (Phase::CutoverPaused.name(), site.place("aside")?, cuts_over),
            (Phase::Window.name(), site.place("source")?, moved),
        ])?;
        wait_for("the copies to be verified", || {
            let metrics = Metrics::take(site.port())?;
            let verified = [dual_write, paused].iter().all(|id| {
                let label = format!("migration_id=\"{id}\"");
                let checked = metrics.series("verification_events_checked_total", &[label]);
                checked.first().is_some_and(|(_, events)| *events >= IMPORTED as f64)
            });
            Ok(verified.then_some(()))
        })?;
        let (writers, stop) = ([(); 4].map(|()| Writers::default()), Arc::default());
        let writing = Instant::now();
        let mut threads = Vec::new();
        for ((phase, writers), tenant) in Phase::ALL.into_iter().zip(&writers).zip(tenants) {
            threads.extend(writers.start(site.port(), tenant, phase.load(), &stop));
        }
        wait_for("all to write", || {
            Ok(writers.iter().all(|writers| writers.count() >= 9).then_some(()))
        })?;
        // The fence arrives, and its answer does not: the cutover goes no further.
        site.before_source.hold(b"fenced")?;
        site.request_cutover(paused)?;
        wait_for("the fence to be held", || Ok(site.before_source.sprung()?.then_some(())))?;
        let entered_pause = Instant::now();
        Ok(Self {
            tenants,
            ids: [bulk_copy, dual_write, paused, window],
            entered: [entered_bulk_copy, entered_dual_write, entered_pause, entered_window],
            began_unix,
            writing,
            writers,
            threads,
            stop,
            heads,
        })
    }

    /// Afterwards: every writer got its response, the stores are level, and the screens show it.
    fn comes_through(self, site: &Site) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.threads {
            ensure!(writer.join().is_ok(), "a writer panicked");
        }
        for phase in [Phase::DualWrite, Phase::Window] {
            let wanted = IMPORTED + self.writers[phase as usize].count();
            wait_for("the replica to be level", || {
                Ok((self.heads.last(phase.name())? == wanted).then_some(()))
            })?;
        }
        let label = [format!("tenant_id=\"{}\"", self.tenants[Phase::DualWrite as usize])];
        wait_for("the screens to be calm", || {
            let metrics = Metrics::take(site.port())?;
            let calm = |family| {
                let told = metrics.series(family, &label);
                matches!(told.as_slice(), [(_, value)] if *value <= 0.0)
            };
            let families = ["dual_write_sync_lag_events", "append_longest_wait_seconds"];
            Ok(families.into_iter().all(calm).then_some(()))
        })
    }
}

/// What hangs, since when, and who is where.
pub(crate) struct Scene {
    pub(crate) component: Component,
    stage: Stage,
    frozen_at: Instant,
    pub(crate) frozen_unix: f64,
}

impl Scene {
    /// The target's server does not respond. (With a held lock, it serves reads.)
    pub(crate) fn target_hangs(&self) -> bool {
        matches!(self.component, Component::Target | Component::BlackHole)
    }

    /// The part of the time in which the mirror was failing, if it was.
    pub(crate) fn outage_of_the_mirror(&self) -> Option<Range> {
        let fails = self.target_hangs() || self.component == Component::HeldLock;
        let before = self.frozen_at.duration_since(self.stage.writing).as_secs_f64();
        let outage = LOOK_AFTER.as_secs_f64();
        fails.then(|| Range::of(outage / (outage + before), outage / (outage + before)).around(0.2))
    }

    fn judge_process(&self, metrics: &Metrics, wrong: &mut Vec<String>) {
        for ((family, label), truth) in OF_PROCESS {
            let found = metrics.series(family, &[(*label).to_owned()]);
            judge_series(&format!("{family}{{{label}}}"), &found, &truth(self), wrong);
        }
    }

    /// The drain's series, its pages and its document, which are there at once.
    fn judge_drain(
        &self,
        metrics: &Metrics,
        look: &Look,
        (drain, pages, document): (Uuid, &[String], &str),
        wrong: &mut Vec<String>,
    ) {
        for ((family, label), truth) in OF_DRAINS {
            let labels = [format!("drain_id=\"{drain}\""), (*label).to_owned()];
            let found = metrics.series(family, &labels);
            judge_series(&format!("{family}{{{label}}}"), &found, &truth(self), wrong);
        }
        let hangs = self.component == Component::ControlPlane;
        for path in pages.iter().map(String::as_str).chain([document]) {
            let Some(page) = look.pages.get(path) else { continue };
            if page.status != 200 || page.took > AT_ONCE {
                let took = page.took.as_secs_f64();
                wrong.push(format!("{path}: status {} after {took:.1} s", page.status));
            }
            if path != document && page.body.contains("does not answer") != hangs {
                wrong
                    .push(format!("{path}: whether the control plane answers is not what it says"));
            }
        }
        let told = look.pages.get(document).map(Page::document).unwrap_or_default();
        for (field, truth) in DRAIN {
            let mut only = serde_json::Map::new();
            only.insert((*field).to_owned(), told[*field].clone());
            judge_document("drain", &Value::Object(only), &[(*field, *truth)], self, wrong);
        }
    }

    fn judge_health(&self, page: &Page, moment: &Moment, wrong: &mut Vec<String>) {
        self.judge_time("/health/migration", page, wrong);
        let lag = Case { scene: self, moment, phase: Phase::DualWrite }.lag();
        if self.outage_of_the_mirror().is_some() && lag.high <= 1_000.0 {
            wrong.push(format!("the scene: in an outage the mirror is far behind, not {lag:?}"));
        }
        judge_document("health", &page.document(), HEALTH, &(self, lag), wrong);
    }

    fn judge_time(&self, path: &str, page: &Page, wrong: &mut Vec<String>) {
        let hangs = self.component == Component::ControlPlane;
        let within = if hangs { ANSWER_WITHOUT_CONTROL_PLANE_WITHIN } else { ANSWER_WITHIN };
        if page.took > within {
            wrong.push(format!("{path}: answered after {:.1} s", page.took.as_secs_f64()));
        }
        if page.status >= 500 && !hangs && path != "/health/migration" {
            wrong.push(format!("{path}: status {}: {}", page.status, page.body));
        }
    }
}
