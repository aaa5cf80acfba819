//! A store with scripted faults.

use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger};
use rehome_domain::stream::StreamName;

use super::op::StoreOp;
use super::script::Script;
use crate::log_chain::LogAnchor;
use crate::{
    AppendOutcome, BatchLimit, Condition, End, Feed, LedgerStore, Room, StoreError, StoreReport,
    StreamSlice, StreamVersion, TenantLedger,
};

/// Passes every call to the inner store, by the script.
pub struct FaultyStore {
    inner: Arc<dyn LedgerStore>,
    script: Arc<Script>,
    what: String,
}

impl FaultyStore {
    /// `inner`, driven by `script`.
    pub fn new(inner: Arc<dyn LedgerStore>, script: Arc<Script>) -> Self {
        let what = format!("store \"{}\"", inner.id());
        Self { inner, script, what }
    }

    /// What drives it.
    pub fn script(&self) -> &Arc<Script> {
        &self.script
    }

    async fn run<T>(
        &self,
        op: StoreOp,
        inner: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.script.run(&self.what, op.into(), inner).await
    }
}

#[async_trait]
impl LedgerStore for FaultyStore {
    fn id(&self) -> &StoreId {
        self.inner.id()
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        self.run(StoreOp::Ledger, self.inner.ledger(tenant)).await
    }

    async fn lengths(&self, tenants: &[TenantId]) -> Result<Vec<u64>, StoreError> {
        self.run(StoreOp::Lengths, self.inner.lengths(tenants)).await
    }

    async fn append(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        self.run(StoreOp::Append, self.inner.append(tenant, epoch, appends)).await
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        self.run(StoreOp::Extend, self.inner.extend(tenant, m, previous, events)).await
    }

    async fn finish_index(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.run(StoreOp::FinishIndex, self.inner.finish_index(tenant)).await
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        self.run(StoreOp::Fence, self.inner.fence(tenant, from, to)).await
    }

    async fn before_fence(&self, tenant: TenantId) {
        let call = async {
            self.inner.before_fence(tenant).await;
            Ok(())
        };
        // It answers nothing, and so cannot fail.
        let _ = self.run(StoreOp::BeforeFence, call).await;
    }

    async fn fence_holds(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.run(StoreOp::FenceHolds, self.inner.fence_holds(tenant)).await
    }

    async fn make_room(&self, tenant: TenantId, end: End) -> Result<Option<Room>, StoreError> {
        self.run(StoreOp::MakeRoom, self.inner.make_room(tenant, end)).await
    }

    async fn fence_is_over(&self, tenant: TenantId) {
        let call = async {
            self.inner.fence_is_over(tenant).await;
            Ok(())
        };
        // It answers nothing, and so cannot fail.
        let _ = self.run(StoreOp::FenceIsOver, call).await;
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        self.run(StoreOp::Activate, self.inner.activate(tenant, route)).await
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError> {
        self.run(StoreOp::Adopt, self.inner.adopt(tenant, m, head)).await
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.run(StoreOp::Drop, self.inner.drop_replica(tenant, m)).await
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        self.run(StoreOp::Purge, self.inner.purge(tenant, k, chunk)).await
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        self.run(StoreOp::CutBack, self.inner.cut_back(tenant, k, to, chunk)).await
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        self.run(StoreOp::ReadFeed, self.inner.read_feed(tenant, after_seq, limit)).await
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        let inner = self.inner.read_stream(tenant, stream, from_version, limit);
        self.run(StoreOp::ReadStream, inner).await
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        self.run(StoreOp::DigestAt, self.inner.digest_at(tenant, seq)).await
    }

    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError> {
        self.run(StoreOp::Streams, self.inner.streams(tenant, max_seq, after, limit)).await
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        self.run(StoreOp::Tenants, self.inner.tenants(after, limit)).await
    }

    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError> {
        self.run(StoreOp::Anchors, self.inner.keep_anchor(anchor)).await
    }

    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError> {
        self.run(StoreOp::Anchors, self.inner.anchors(after, limit)).await
    }

    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.run(StoreOp::Anchors, self.inner.forget_anchors(tenant)).await
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.inner.condition().await
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        self.run(StoreOp::Check, self.inner.check()).await
    }
}
