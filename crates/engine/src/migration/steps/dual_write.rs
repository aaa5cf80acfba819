//! dual_write: the mirror, the read-back and the verification, side by side.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::migration::{Fact, Migration, OpenViolation, Options};
use rehome_ports::{BatchLimit, Class, Marks, Memo};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Context, StepError};
use crate::auditor::ReadBack;
use crate::brake::Work;
use crate::config::Backoff;
use crate::mirror::{Ended, Mirror, MirrorStatus};
use crate::replica::Replica;
use crate::signal::{Signal, Way};
use crate::verifier;

/// What runs while a migration is in dual_write. Dropping it ends both tasks.
pub(crate) struct DualWrite {
    /// The violation that was open at the start.
    open: Option<OpenViolation>,
    mirror: Mirror,
    auditor: Option<AbortOnDropHandle<Result<ReadBack, StepError>>>,
    audited: watch::Receiver<Audited>,
    mirrored: watch::Receiver<MirrorStatus>,
    options: watch::Sender<Options>,
    cancel: CancellationToken,
}

/// How far the auditor is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audited {
    /// Read back from the target, and found to be the source's, up to here.
    pub(crate) read_back_seq: u64,
    /// The verification before the cutover has passed.
    pub(crate) verified: bool,
    /// Why it does not get further at the moment.
    pub(crate) failing: Option<String>,
}

impl DualWrite {
    /// Starts mirroring and auditing, from the marks.
    pub(crate) async fn start(context: &Context) -> Result<Self, StepError> {
        let (tenant, m) = (context.tenant(), context.migration.m);
        let replica = Replica::open(Arc::clone(&context.target), tenant, m).await?;
        let verify_from = context.source.ledger(tenant).await?.head.seq;
        let marks = context.engine.control.marks(context.migration.id).await?;
        let read_back = context.read_back(&marks);
        let history = context.history_when_mirroring_began(verify_from).await?;
        let (status, audited) = watch::channel(Audited::default());
        let (options, tuned) = watch::channel(context.migration.options);
        let cancel = CancellationToken::new();
        let mirror = Mirror::start(
            &context.engine,
            &context.migration,
            Way::There,
            Arc::clone(&context.source),
            replica,
            history,
        );
        let auditor = Audit {
            context: context.clone(),
            read_back,
            verify_from,
            mirrored: mirror.subscribe_auditor(),
            options: tuned,
            marked: Instant::now(),
            marks,
            again: None,
            again_at: Instant::now() + context.engine.config.read_back_trusted / 2,
            refutes: context.migration.violations.open.is_some(),
            told: None,
            status,
        };
        let auditor = tokio::spawn(auditor.run(cancel.clone()));
        Ok(Self {
            open: context.migration.violations.open.clone(),
            mirrored: mirror.subscribe(),
            mirror,
            auditor: Some(AbortOnDropHandle::new(auditor)),
            audited,
            options,
            cancel,
        })
    }

    /// Applies changed options.
    pub(crate) fn retune(&self, options: Options) {
        self.mirror.retune(options);
        self.options.send_if_modified(|old| std::mem::replace(old, options) != options);
    }

    /// Whether the open violation is the same as at the start. The auditor reads nothing while a violation is open, and
    /// verifies the copied part again after a repair.
    pub(crate) fn fits(&self, migration: &Migration) -> bool {
        self.open == migration.violations.open
    }

    /// The progress, or why it cannot continue.
    pub(crate) async fn status(&mut self) -> Result<(MirrorStatus, Audited), StepError> {
        self.mirrored.mark_unchanged();
        let mirror = self.mirror.status();
        if let Some(Ended::Fatal(why)) = &mirror.ended {
            return Err(StepError::Violated(why.clone()));
        }
        if let Some(ended) = self.auditor.take_if(|auditor| auditor.is_finished()) {
            joined(ended.await)?;
        }
        Ok((mirror, self.audited.borrow_and_update().clone()))
    }

    /// Resolves when something is known that `status` has not answered yet.
    pub(crate) async fn changed(&mut self) {
        tokio::select! {
            biased;
            Ok(()) = self.mirrored.changed() => {}
            Ok(()) = self.audited.changed() => {}
            // Both have ended: `status` reports it.
            else => {}
        }
    }

    /// Why it does not get further at the moment, if it does not.
    pub(crate) fn failing(&self) -> Option<String> {
        self.mirror.status().failing.or_else(|| self.audited.borrow().failing.clone())
    }

    /// Ends mirroring and auditing after the operations in flight; returns how far the read-back
    /// came, unless `status` has already reported why it ended.
    pub(crate) async fn stop(self) -> Result<Option<ReadBack>, StepError> {
        self.cancel.cancel();
        self.mirror.stop().await;
        match self.auditor {
            Some(auditor) => joined(auditor.await).map(Some),
            None => Ok(None),
        }
    }
}

fn joined(
    ended: Result<Result<ReadBack, StepError>, tokio::task::JoinError>,
) -> Result<ReadBack, StepError> {
    ended.unwrap_or_else(|panic| Err(StepError::Violated(format!("the auditor: {panic}"))))
}

impl Context {
    /// The length of the source's history when the migration's first mirror started: stored in a memo, so that
    /// after a takeover, too, exactly the later writes count as dual writes.
    async fn history_when_mirroring_began(&self, now: u64) -> Result<u64, StepError> {
        const MEMO: &str = "mirroring_since";
        let (id, control) = (self.migration.id, &self.engine.control);
        let memo = control.memo(id, MEMO).await?;
        if let Some(seq) = memo.and_then(|memo| memo.text.parse().ok()) {
            return Ok(seq);
        }
        let memo = Memo { at: self.engine.clock.now(), text: now.to_string() };
        control.set_memo(id, MEMO, &memo).await?;
        Ok(now)
    }

    /// The read-back of this migration's replica, from the marks.
    pub(crate) fn read_back(&self, marks: &Marks) -> ReadBack {
        ReadBack::new(
            self.tenant(),
            self.migration.m,
            Arc::clone(&self.source),
            Arc::clone(&self.target),
            marks.read_back,
        )
    }
}

/// All but refusals, and what shows damage.
fn is_waited_out(error: &StepError) -> bool {
    matches!(error.class(), Class::Retry | Class::Fatal) && !error.is_final()
}

/// Reads back what the target stores, verifies the copy once, and writes the marks.
struct Audit {
    context: Context,
    read_back: ReadBack,
    /// The length of the history when mirroring started: before the target has that much,
    /// the verification cannot cover everything.
    verify_from: u64,
    mirrored: watch::Receiver<MirrorStatus>,
    options: watch::Receiver<Options>,
    marks: Marks,
    marked: Instant,
    /// The second pass over what was already read back.
    again: Option<ReadBack>,
    /// When to continue the second pass.
    again_at: Instant,
    /// The copy was cut back, and the violation is still to be refuted.
    refutes: bool,
    /// The position up to which observers know the read-back; they get the position from before a
    /// takeover at its start.
    told: Option<u64>,
    status: watch::Sender<Audited>,
}

impl Audit {
    async fn run(mut self, cancel: CancellationToken) -> Result<ReadBack, StepError> {
        let config = self.context.engine.config;
        let mut backoff = Backoff::new(&config);
        if self.rests() {
            // The driver starts another auditor once the row changes.
            cancel.cancelled().await;
        }
        while !cancel.is_cancelled() {
            let wait = match self.step(&cancel).await {
                Ok(true) => continue,
                Ok(false) => {
                    backoff = Backoff::new(&config);
                    config.idle_poll
                }
                Err(error) if is_waited_out(&error) => {
                    let (migration, error) = (self.context.migration.id, error.to_string());
                    self.context.engine.tell(&Signal::Retrying { migration, error: &error });
                    self.status.send_if_modified(|status| {
                        let failing = Some(error);
                        let moved = status.failing != failing;
                        status.failing = failing;
                        moved
                    });
                    backoff.next()
                }
                Err(error) => return Err(error),
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                // The mirror has committed more; when the mirror is gone, only timers are left.
                Ok(()) = self.mirrored.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(self.read_back)
    }

    /// A violation is open and no repair was requested: reading on would find nothing new, and a
    /// later verification on request closes it.
    fn rests(&self) -> bool {
        let open = &self.context.migration.violations.open;
        open.as_ref().is_some_and(|open| !open.is_cut_back())
    }

    /// Whether a verification has to pass before the cutover: the first one, or that of a repair.
    fn is_to_verify(&self) -> bool {
        self.marks.verified_seq.is_none() || self.refutes
    }

    /// One batch; false when there is nothing to do for a moment.
    async fn step(&mut self, cancel: &CancellationToken) -> Result<bool, StepError> {
        let (from, began) = (self.read_back.verified.seq, Instant::now());
        let more = match self.read_back.step(self.context.limit()).await {
            Ok(more) => more,
            Err(error) => return Err(self.context.read_back_failed(error).await),
        };
        if self.marks.read_back != Some(self.read_back.mark()) {
            self.mark(false).await?;
        }
        let complete = self.read_back.verified.seq >= self.verify_from;
        if complete && self.is_to_verify() {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(false),
                verified = self.verify() => verified?,
            }
        }
        let read_back_seq = Some(self.read_back.verified.seq);
        if self.told != read_back_seq {
            self.told = read_back_seq;
            let MirrorStatus { source_seq, target_seq, .. } = *self.mirrored.borrow();
            // The mirror may not have polled yet.
            let source_seq = source_seq.max(self.verify_from);
            let (migration, way) = (&self.context.migration, Way::There);
            self.context.engine.tell(&Signal::Progress {
                migration,
                way,
                source_seq,
                target_seq,
                read_back_seq,
            });
        }
        let now = Audited {
            read_back_seq: self.read_back.verified.seq,
            verified: !self.is_to_verify(),
            failing: None,
        };
        self.status.send_if_modified(|status| {
            let moved = *status != now;
            *status = now;
            moved
        });
        if !more && !self.is_to_verify() {
            self.read_again().await?;
        }
        if more {
            self.give_way(self.read_back.verified.seq - from, began.elapsed(), cancel).await;
        }
        Ok(more)
    }

    /// Pauses after a batch that was read back, if writers or the mirror need it.
    async fn give_way(&self, events: u64, took: Duration, cancel: &CancellationToken) {
        let (context, brake) = (&self.context, self.context.brake());
        let lag = {
            let mirror = self.mirrored.borrow();
            mirror.source_seq.saturating_sub(mirror.target_seq)
        };
        let work = [(Work::ReadBack(usize::try_from(events).unwrap_or(usize::MAX)), took)];
        let pause = brake.worked(&context.engine, &context.migration, &work, Some(lag));
        brake.tell(&context.engine, &context.migration).await;
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// When idle: reads a little of the earlier part again. A migration may wait
    /// for its cutover for days, and rows deleted meanwhile would go unnoticed.
    async fn read_again(&mut self) -> Result<(), StepError> {
        let config = &self.context.engine.config;
        if self.again_at > Instant::now() || config.read_again_rate == 0 {
            return Ok(());
        }
        let read_back = &self.read_back;
        let again = self.again.get_or_insert_with(|| read_back.anew());
        let limit = self.context.limit();
        let events = limit.events.min(config.read_again_rate as usize);
        let before = again.verified.seq;
        if let Err(error) = again.step(BatchLimit { events, ..limit }).await {
            return Err(self.context.read_back_failed(error).await);
        }
        let read = again.verified.seq - before;
        let rate = f64::from(config.read_again_rate);
        self.again_at = Instant::now() + Duration::from_secs_f64(read as f64 / rate);
        if again.verified.seq >= self.read_back.verified.seq {
            // What came meanwhile was read just now.
            let began = again.since;
            let next = began.map(|began| began + config.read_back_trusted / 2);
            self.again_at = next.unwrap_or(self.again_at).max(self.again_at);
            self.read_back.since = began;
            self.again = None;
        }
        Ok(())
    }

    /// The verification that has to pass before the cutover. The read-back covers later
    /// writes. Starts over when the options change.
    async fn verify(&mut self) -> Result<(), StepError> {
        let context = &self.context;
        let brake = context.brake();
        let mut began;
        let (request, report) = loop {
            let Options { verification, copy_rate_max: rate_max, .. } =
                *self.options.borrow_and_update();
            // A repair is verified as deep as the damage was found.
            let found = context.migration.violations.open.as_ref();
            let level = found.map_or(verification, |o| verification.max(o.finding.coverage.level));
            let request = verifier::Request { level, rate_max, ..verifier::Request::default() };
            let (source, target) = (&context.source, &context.target);
            began = Instant::now();
            tokio::select! {
                biased;
                report = brake.pace(
                    &context.engine,
                    &context.migration,
                    verifier::compare(source, target, context.tenant(), &request),
                ) => {
                    break (request, report?);
                }
                Ok(()) = self.options.changed() => {}
            }
        };
        context.verified(&report, &request, began).await?;
        self.refutes = false;
        context.note(Fact::ReadBack { seq: self.read_back.verified.seq }).await?;
        self.marks.verified_seq = Some(report.upto);
        self.mark(true).await
    }

    /// Stores the mark for a takeover: often enough that little is read again.
    async fn mark(&mut self, now: bool) -> Result<(), StepError> {
        const EVERY: Duration = Duration::from_millis(250);
        if now || self.marked.elapsed() >= EVERY {
            self.marked = Instant::now();
            self.marks.read_back = Some(self.read_back.mark());
            self.marks.updated_at = self.context.engine.clock.now();
            self.marks.copy_rate = 0.0;
            self.context.engine.control.set_marks(self.context.migration.id, &self.marks).await?;
        }
        Ok(())
    }
}
