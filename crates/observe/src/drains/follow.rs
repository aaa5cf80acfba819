//! One drain, followed from look to look.

use std::collections::{BTreeMap, BTreeSet};

use rehome_api::Time;
use rehome_api::drain::Drain;
use rehome_app::{AppError, Deployment};
use rehome_domain::drain::{Fact, State, Tally, TenantState, Window};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, MigrationId, TenantId};
use rehome_domain::migration::Phase;
use rehome_engine::drain::Calendar;
use rehome_engine::metrics::DrainReport;
use rehome_ports::DrainTenants;

use super::answered;

/// Log entries read at once.
const PAGE: usize = 1_000;
/// When nothing was recorded for so long, the moves at work are looked at, in microseconds.
const QUIET_MICROS: i64 = 10_000_000;
/// Of them so many.
const MOVES_MAX: usize = 64;

/// A drain, as it was seen last.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    seen: Option<(Drain, Timestamp)>,
    /// Entries of its log that were read.
    entries: u64,
    tally: Tally,
    /// The migrations of tenants that are moving.
    moves: BTreeMap<TenantId, MigrationId>,
    ended: BTreeSet<MigrationId>,
    /// Bytes that this process has copied for it.
    pub(super) bytes: u64,
    /// How far the moves at work were when they were looked at.
    reached: BTreeMap<MigrationId, Reached>,
    /// When one of them was seen to get further.
    copied_at: Option<Timestamp>,
}

/// How far a move is: what changes when it gets further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reached {
    phase: Phase,
    attempts: u32,
    read_back: Option<u64>,
    copied: i64,
}

impl Followed {
    /// Whether a migration is one of its moves.
    pub(super) fn has(&self, id: MigrationId) -> bool {
        self.ended.contains(&id) || self.moves.values().any(|move_id| *move_id == id)
    }

    /// The bytes of moves that ended are added up.
    pub(super) fn forget_ended(&mut self) {
        self.ended.clear();
    }

    /// As it was seen last.
    pub(super) fn last(&self) -> Option<Drain> {
        let (drain, at) = self.seen.clone()?;
        Some(Drain { last_seen_at: Some(Time(at.micros())), ..drain })
    }

    /// Takes over how it stands, and reads what was recorded since.
    pub(super) async fn look(
        &mut self,
        deployment: &Deployment,
        drain: Drain,
        now: Timestamp,
    ) -> Result<(), AppError> {
        let id = DrainId::new(drain.id);
        self.seen = Some((drain, now));
        loop {
            let page = answered(deployment.fleet().drain_log(id, self.entries, PAGE)).await?;
            for entry in &page {
                self.entries = entry.index;
                self.add(entry.at, &entry.fact);
            }
            if page.len() < PAGE {
                break;
            }
        }
        if self.is_quiet(now) {
            self.look_at_moves(deployment, id, now).await?;
        } else {
            self.reached.clear();
        }
        Ok(())
    }

    fn add(&mut self, at: Timestamp, fact: &Fact) {
        self.tally.add(at, fact);
        match fact {
            Fact::TenantStarted { tenant, migration, .. } => {
                self.moves.insert(*tenant, *migration);
            }
            Fact::TenantMoved { tenant }
            | Fact::TenantSetAside { tenant, .. }
            | Fact::TenantPutBack { tenant }
            | Fact::TenantStays { tenant, .. } => self.ended.extend(self.moves.remove(tenant)),
            _ => {}
        }
    }

    /// Nothing was recorded for a while, although tenants are moving.
    fn is_quiet(&self, now: Timestamp) -> bool {
        let at = self.tally.progressed_at.unwrap_or(now);
        !self.moves.is_empty() && now.micros().saturating_sub(at.micros()) > QUIET_MICROS
    }

    /// A large tenant is copied for hours: then its migration says that the drain gets on.
    async fn look_at_moves(
        &mut self,
        deployment: &Deployment,
        id: DrainId,
        now: Timestamp,
    ) -> Result<(), AppError> {
        let state = Some(TenantState::Moving.as_str());
        let which = DrainTenants { drain: id, state, after: 0, limit: MOVES_MAX };
        let rows = answered(deployment.fleet().drain_tenants(which)).await?;
        let control = deployment.engine().control();
        let mut reached = BTreeMap::new();
        for move_id in rows.iter().filter_map(|row| row.migration) {
            // One that was not started yet is not there.
            let Ok(migration) = answered(control.migration(move_id)).await else { continue };
            let marks = answered(control.marks(move_id)).await?;
            let phase = migration.state.phase();
            // Marks of a copy move with every batch; in dual write they also move when nothing does.
            let copied = if phase == Phase::BulkCopy { marks.updated_at.micros() } else { 0 };
            let now_reached = Reached {
                phase,
                attempts: migration.cutover_attempts,
                read_back: marks.read_back.map(|mark| mark.head.seq),
                copied,
            };
            match self.reached.get(&move_id) {
                Some(before) if *before == now_reached => {}
                Some(_) => self.copied_at = Some(now),
                // What was before this process looked is known of a copy only.
                None => self.copied_at = self.copied_at.max(Some(Timestamp::from_micros(copied))),
            }
            reached.insert(move_id, now_reached);
        }
        self.reached = reached;
        Ok(())
    }

    /// Its series.
    pub(super) fn report(&self) -> Option<DrainReport> {
        let (drain, now) = self.seen.as_ref()?;
        let state = State::parse(&drain.state)?;
        let window = drain.settings.window.as_deref().and_then(|text| Window::parse(text).ok());
        let calendar = window.and_then(|window| Calendar::of(&window).ok());
        let seconds = |micros: i64| micros as f64 / 1e6;
        let targets: Vec<_> = drain.to.iter().map(|to| to.store.as_str()).collect();
        let tenants = [
            (TenantState::Waiting, drain.waiting),
            (TenantState::Again, drain.again),
            (TenantState::Moving, drain.moving),
            (TenantState::Moved, drain.moved),
            (TenantState::SetAside, drain.set_aside),
        ];
        let tenants = tenants.map(|(state, count)| (state.as_str(), count));
        let tally = &self.tally;
        Some(DrainReport {
            id: drain.id.to_string(),
            state,
            sources: drain.from.join(","),
            targets: targets.join(","),
            tenants: tenants.into_iter().chain([("stays", drain.stays)]).collect(),
            moves: [tally.begun, tally.finished, tally.failed],
            events: drain.events,
            events_moved: drain.events_moved,
            bytes: self.bytes,
            failures: drain.failures.into(),
            failures_max: drain.settings.failures_max.unwrap_or(0).into(),
            workers: drain.workers.len() as u64,
            window_open: drain.window_open,
            window_opens_at: drain.window_opens_at.map(|at| seconds(at.0)),
            window_missed: calendar.as_ref().is_some_and(|calendar| self.missed(calendar)),
            progressed_at: seconds(self.progressed_at(calendar.as_ref(), *now).micros()),
            remaining: drain.eta_seconds,
            needs: drain.needs.len() as u64,
        })
    }

    /// The window that closed last has passed without a move.
    fn missed(&self, calendar: &Calendar) -> bool {
        let Some((drain, now)) = &self.seen else { return false };
        let is_left = drain.waiting + drain.again + drain.moving > 0;
        let is_over = drain.ended_at.is_some() || drain.state == State::Cancelling.as_str();
        // A window that did not apply yet was not missed.
        let applies_from = self.tally.settled_at.map_or(drain.created_at.0, Timestamp::micros);
        let Some((opened, _)) = calendar.last_closed(*now) else { return false };
        let moved = self.tally.finished_at.is_some_and(|at| at >= opened);
        is_left && !is_over && opened.micros() >= applies_from && !moved
    }

    /// When it got further last. A window that opens begins the time anew.
    fn progressed_at(&self, calendar: Option<&Calendar>, now: Timestamp) -> Timestamp {
        let opened = calendar.and_then(|calendar| calendar.last_opening(now));
        let opened = opened.filter(|at| *at <= now);
        let recorded = self.tally.progressed_at.max(self.copied_at).max(opened);
        let begun = self.seen.as_ref().map(|(drain, _)| Timestamp::from_micros(drain.created_at.0));
        recorded.or(begun).unwrap_or(now)
    }
}
