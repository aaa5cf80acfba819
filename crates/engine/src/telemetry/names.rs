//! The words: messages of log lines, names of spans, keys of fields and attributes. Alerts, saved
//! searches and dashboards hold on to them.

/// The name of the service, in log lines and traces.
pub const SERVICE: &str = "eventsource";
/// The logger of all lines about migrations. A literal in `logs` too: `tracing` wants a constant there.
pub const LOGGER: &str = "eventsource.migration";

/// The messages of log lines.
pub mod message {
    /// A migration was started.
    pub const STARTED: &str = "Migration started";
    /// So much of the history was copied.
    pub const COPY_PROGRESS: &str = "Bulk copy progress";
    /// The dual write begins.
    pub const COPY_COMPLETE: &str = "Bulk copy complete";
    /// The mirror's write to the target failed and is tried again.
    pub const TARGET_FAILED: &str = "Target write failed";
    /// Writes wait from here on.
    pub const CUTOVER_INITIATED: &str = "Cutover initiated";
    /// The cutover's deadline passed.
    pub const CUTOVER_TIMEOUT: &str = "Cutover timeout";
    /// A verification or the read-back found a difference from the source's history.
    pub const CHECK_FAILED: &str = "Consistency check failed";
    /// The target has the authority and accepts writes.
    pub const COMPLETED: &str = "Migration completed";
    /// A fault that needs an operator.
    pub const FAILED: &str = "Migration failed";
    /// An operator stopped the work.
    pub const PAUSED: &str = "Migration paused";
    /// An operator resumed the work.
    pub const RESUMED: &str = "Migration resumed";
    /// An operator gave the migration up.
    pub const ABORTED: &str = "Migration aborted";
    /// Writes continue at the source.
    pub const ROLLED_BACK: &str = "Cutover rolled back";
    /// An operator took a cutover back before it began.
    pub const CUTOVER_WITHDRAWN: &str = "Cutover withdrawn";
    /// A hook had something against a cutover.
    pub const CUTOVER_VETOED: &str = "Cutover vetoed";
    /// The target has the authority.
    pub const CUTOVER_COMPLETED: &str = "Cutover completed";
    /// A process works on the migration from here on.
    pub const LEASE_TAKEN: &str = "Lease taken";
    /// Another process has the lease.
    pub const LEASE_LOST: &str = "Lease lost";
    /// A step could not be done and is tried again.
    pub const RETRYING: &str = "Migration step retried";
    /// Copying, reading back or verifying gives way to writers.
    pub const SLOWED: &str = "Migration slowed";
    /// It has full speed again.
    pub const NO_LONGER_SLOWED: &str = "Migration no longer slowed";
    /// A hook has not acknowledged what happened.
    pub const HOOK_NOT_NOTIFIED: &str = "Hook not notified yet";
    /// A process stopped working on the migration for now.
    pub const WORK_ENDED: &str = "Migration work ended";
    /// Any other fact of the migration's log.
    pub const RECORDED: &str = "Fact recorded";
}

/// The names of spans.
pub mod span {
    /// Initialization: from the request to the first copy. The root of a migration's trace.
    pub const START: &str = "eventsource.migration.start";
    /// The bulk copy.
    pub const BULK_COPY: &str = "eventsource.migration.bulk_copy";
    /// One batch of it.
    pub const BATCH: &str = "eventsource.migration.bulk_copy.batch";
    /// One stay in the dual write.
    pub const DUAL_WRITE: &str = "eventsource.migration.dual_write";
    /// One commit of the mirror.
    pub const APPEND: &str = "eventsource.migration.dual_write.append";
    /// One cutover.
    pub const CUTOVER: &str = "eventsource.migration.cutover";
    /// What writers can see of it.
    pub const PAUSE: &str = "eventsource.migration.cutover.pause";
    /// The comparison within the pause.
    pub const VERIFY: &str = "eventsource.migration.cutover.verify";
    /// The change of the route.
    pub const SWITCH: &str = "eventsource.migration.cutover.switch";
}

/// The keys of span attributes.
pub mod attribute {
    /// The migration.
    pub const ID: &str = "migration.id";
    /// Whose history moves.
    pub const TENANT: &str = "migration.tenant_id";
    /// The phase that the span belongs to.
    pub const PHASE: &str = "migration.phase";
    /// From which store.
    pub const SOURCE: &str = "migration.source_store";
    /// To which store.
    pub const TARGET: &str = "migration.target_store";
    /// Events of a batch or commit.
    pub const EVENTS: &str = "migration.events";
    /// Position of the last of them.
    pub const UPTO: &str = "migration.last_seq";
    /// Sizes of their texts.
    pub const BYTES: &str = "migration.bytes";
    /// Which cutover it is, from 1.
    pub const ATTEMPT: &str = "migration.cutover_attempt";
    /// Who recorded a fact.
    pub const ACTOR: &str = "migration.actor";
    /// The reason.
    pub const REASON: &str = "migration.reason";
}
