//! What a script can be about.

/// The operations of a [`LedgerStore`](crate::LedgerStore).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreOp {
    /// `ledger`
    Ledger,
    /// `lengths`
    Lengths,
    /// `append`
    Append,
    /// `extend`
    Extend,
    /// `finish_index`
    FinishIndex,
    /// `fence`
    Fence,
    /// `activate`
    Activate,
    /// `adopt`
    Adopt,
    /// `drop_replica`
    Drop,
    /// `purge`
    Purge,
    /// `cut_back`
    CutBack,
    /// `read_feed`
    ReadFeed,
    /// `read_stream`
    ReadStream,
    /// `digest_at`
    DigestAt,
    /// `streams`
    Streams,
    /// `tenants`
    Tenants,
    /// `check`
    Check,
    /// `before_fence`
    BeforeFence,
    /// `fence_holds`
    FenceHolds,
    /// `fence_is_over`
    FenceIsOver,
    /// `make_room`
    MakeRoom,
    /// `keep_anchor`, `anchors` and `forget_anchors`
    Anchors,
}

/// The operations of a [`ControlPlane`](crate::ControlPlane).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlOp {
    /// `route`
    Route,
    /// `routes`
    Routes,
    /// `create_route`
    Create,
    /// `mark_created`
    MarkCreated,
    /// `remove`
    Remove,
    /// `record`, of any fact; [`Op::record`] for one fact.
    Record,
    /// `recover`
    Recover,
    /// `now`
    Now,
    /// `migration`
    Migration,
    /// `migrations`
    Migrations,
    /// `log`
    Log,
    /// `log_anchors`
    LogAnchors,
    /// `lease`
    Lease,
    /// `lease_holder`
    LeaseHolder,
    /// `leases`
    Leases,
    /// `release`
    Release,
    /// `marks`
    Marks,
    /// `set_marks`
    SetMarks,
    /// `memo`
    Memo,
    /// `set_memo`
    SetMemo,
    /// `checkpoint`
    Checkpoint,
    /// `checkpoints`
    Checkpoints,
    /// `furthest_checkpoints`
    FurthestCheckpoints,
    /// `set_checkpoint`
    SetCheckpoint,
    /// Of a [`Fleet`](crate::Fleet), `record_drain`
    RecordDrain,
    /// Of a [`Fleet`](crate::Fleet), any other
    Fleet,
}

/// The calls that a fault, a gate or a count is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Every call.
    Any,
    /// One of a store's operations.
    Store(StoreOp),
    /// One of the control plane's operations.
    Control(ControlOp),
    /// The recording of one fact, by [`Fact::name`](rehome_domain::migration::Fact::name).
    Fact(&'static str),
}

impl Op {
    /// The recording of the fact of that name, for example `switched`.
    pub const fn record(fact: &'static str) -> Self {
        Self::Fact(fact)
    }

    /// Whether `call`, the most that is known of a call, is one of these.
    pub(super) fn includes(self, call: Self) -> bool {
        self == call
            || self == Self::Any
            || matches!((self, call), (Self::Control(ControlOp::Record), Self::Fact(_)))
    }
}

impl From<StoreOp> for Op {
    fn from(op: StoreOp) -> Self {
        Self::Store(op)
    }
}

impl From<ControlOp> for Op {
    fn from(op: ControlOp) -> Self {
        Self::Control(op)
    }
}
