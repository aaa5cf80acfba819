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
use crate::config::Backoff;
use crate::mirror::{Ended, Mirror, MirrorStatus};
use crate::read_back::ReadBack;
use crate::replica::Replica;
use crate::signal::{Signal, Way};
use crate::verifier;

/// What runs while a migration is in dual_write. Dropping it ends both tasks.
pub(crate) struct DualWrite {
    /// What was open when it began.
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
    /// Starts mirroring and auditing, where the marks say that others stopped.
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

    /// Takes over options that were retuned.
    pub(crate) fn retune(&self, options: Options) {
        self.mirror.retune(options);
        self.options.send_if_modified(|old| std::mem::replace(old, options) != options);
    }

    /// Whether it began with what is open now. The auditor reads nothing while a violation is open, and
    /// verifies what was copied again after a repair.
    pub(crate) fn fits(&self, migration: &Migration) -> bool {
        self.open == migration.violations.open
    }

    /// How far it is, or why it cannot go on.
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
            // Both have ended: that is for `status` to say.
            else => {}
        }
    }

    /// Why it does not get further at the moment, if it does not.
    pub(crate) fn failing(&self) -> Option<String> {
        self.mirror.status().failing.or_else(|| self.audited.borrow().failing.clone())
    }

    /// Ends mirroring and auditing after the operations in flight; answers how far the read-back
    /// came, unless `status` has told already why it ended.
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
    /// How long the source's history was when the migration's first mirror began: kept in a memo, so that
    /// after a takeover too what was written since is a dual write and nothing else is.
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

    /// The read-back of this migration's replica, where the marks say it stands.
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

/// Reads back what the target stores, verifies the copy once, and keeps the marks.
struct Audit {
    context: Context,
    read_back: ReadBack,
    /// The length of the history when mirroring began: until the target has that much, there is
    /// not all that the verification is to look at.
    verify_from: u64,
    mirrored: watch::Receiver<MirrorStatus>,
    options: watch::Receiver<Options>,
    marks: Marks,
    marked: Instant,
    /// What was read before, being read once more.
    again: Option<ReadBack>,
    /// When to go on with that.
    again_at: Instant,
    /// The copy was cut back, and what is open is still to be refuted.
    refutes: bool,
    /// Up to where the read-back is known to the observers; of what was read back before a
    /// takeover they are told at its start.
    told: Option<u64>,
    status: watch::Sender<Audited>,
}

impl Audit {
    async fn run(mut self, cancel: CancellationToken) -> Result<ReadBack, StepError> {
        let config = self.context.engine.config;
        let mut backoff = Backoff::new(&config);
        if self.rests() {
            // The driver starts another auditor once the row says something else.
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
                // The mirror has committed more; when it is gone, time is what is left to wait for.
                Ok(()) = self.mirrored.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(self.read_back)
    }

    /// A violation is open that nobody has repaired: there is nothing to be found by reading on, and a
    /// verification on request, which began after it was found, is what closes it.
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
            // The mirror may not have looked yet.
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
        Ok(more)
    }

    /// With nothing else to do: reads a little of what was read before once more. A cutover may be waited
    /// for for days, and what is deleted meanwhile would be found by nobody.
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

    /// The verification that has to pass before the cutover. What is written after it is covered
    /// by the read-back. Begins anew when the options are changed under it.
    async fn verify(&mut self) -> Result<(), StepError> {
        let context = &self.context;
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
                report = verifier::compare(source, target, context.tenant(), &request) => {
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

    /// Keeps the mark where a takeover finds it: often enough that little is read again.
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
