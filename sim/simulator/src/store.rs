//! A store as one process reaches it.

use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger, Role};
use rehome_domain::stream::StreamName;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::memory::MemoryStore;
use rehome_ports::{
    AppendOutcome, BatchLimit, ControlPlane as _, Feed, LedgerStore, StoreError, StoreReport,
    StreamSlice, StreamVersion, TenantLedger,
};

use crate::call::{Ask, Caller, event_name};
use crate::faults::Place;
use crate::mutant::Broken;
use crate::watch;

pub(crate) struct SimulatedStore {
    pub(crate) caller: Caller,
    pub(crate) place: Place,
    pub(crate) inner: Arc<MemoryStore>,
}

impl SimulatedStore {
    async fn call<T: Send + 'static, F>(
        &self,
        op: &'static str,
        with: String,
        tell: fn(&T) -> String,
        inner: impl FnOnce(Arc<MemoryStore>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let ask = Ask { place: self.place, op, with, tell };
        let (stage, inner) = (Arc::clone(&self.caller.stage), inner(Arc::clone(&self.inner)));
        let watched = async move {
            let answer = inner.await;
            watch::look(&stage).await;
            answer
        };
        self.caller.call(ask, watched).await
    }

    fn broken(&self) -> Arc<Broken> {
        Arc::clone(&self.caller.stage.broken)
    }
}

fn ledger(ledger: &Ledger) -> String {
    format!("{}@{} with {}", ledger.role, ledger.epoch, ledger.head.seq)
}

fn head(head: &Head) -> String {
    format!("at {}", head.seq)
}

fn feed(feed: &Feed) -> String {
    format!("{} event(s), {}", feed.events.len(), ledger(&feed.ledger))
}

fn done<T>(_: &T) -> String {
    "answered".to_owned()
}

fn outcomes(outcomes: &[AppendOutcome]) -> String {
    let each = outcomes.iter().map(|outcome| match outcome {
        Ok(told) => format!("{}..={}", told.first_seq, told.last_seq),
        Err(conflict) => conflict.to_string(),
    });
    each.collect::<Vec<_>>().join(", ")
}

#[async_trait]
impl LedgerStore for SimulatedStore {
    fn id(&self) -> &StoreId {
        self.inner.id()
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        let inner = |store: Arc<MemoryStore>| async move { store.ledger(tenant).await };
        self.call("ledger", String::new(), ledger, inner).await
    }

    async fn append(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let firsts = appends.iter().filter_map(|append| append.events.first());
        let names: Vec<_> = firsts.map(|event| event_name(event.id)).collect();
        let with = format!("@{epoch} {}", names.join(" "));
        let (appends, broken) = (appends.to_vec(), self.broken());
        let tell = |told: &Vec<AppendOutcome>| outcomes(told);
        self.call("append", with, tell, |store| async move {
            broken.append(&store, tenant, epoch, appends).await
        })
        .await
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        let with = format!("@{m} at {} by {}", previous.seq, events.len());
        let (events, broken) = (events.to_vec(), self.broken());
        self.call("extend", with, head, |store| async move {
            broken.extend(&store, tenant, m, previous, &events).await
        })
        .await
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        let broken = self.broken();
        self.call("fence", format!("{from} -> {to}"), head, |store| async move {
            broken.fence(&store, tenant, from, to).await
        })
        .await
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        let with = format!("@{} base {}", route.epoch, route.base);
        let broken = self.broken();
        self.call("activate", with, ledger, |store| async move {
            broken.activate(&store, tenant, route).await
        })
        .await
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, at: Head) -> Result<Ledger, StoreError> {
        let with = format!("@{m} at {}", at.seq);
        let broken = self.broken();
        self.call("adopt", with, ledger, |store| async move {
            broken.adopt(&store, tenant, m, at).await
        })
        .await
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        let broken = self.broken();
        self.call("drop_replica", format!("@{m}"), ledger, |store| async move {
            broken.drop_replica(&store, tenant, m).await
        })
        .await
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        // Smaller chunks than the engine's: there has to be a middle to die in.
        let (chunk, broken) = (chunk.min(10), self.broken());
        self.call("purge", format!("@{k}"), ledger, |store| async move {
            broken.purge(&store, tenant, k, chunk).await
        })
        .await
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        let (chunk, broken) = (chunk.min(10), self.broken());
        self.call("cut_back", format!("@{k} to {}", to.seq), ledger, |store| async move {
            broken.cut_back(&store, tenant, k, to, chunk).await
        })
        .await
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        let broken = self.broken();
        self.call("read_feed", format!("after {after_seq}"), feed, |store| async move {
            Ok(broken.feed(&store, store.read_feed(tenant, after_seq, limit).await?))
        })
        .await
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        let (stage, stream) = (Arc::clone(&self.caller.stage), stream.clone());
        let with = format!("{stream} from {from_version}");
        self.call("read_stream", with, done, |store| async move {
            let slice = store.read_stream(tenant, &stream, from_version, limit).await?;
            // Only routers read streams: what they are answered is what readers have to live with.
            if slice.ledger.role != Role::Active {
                stage.cover(format!("a read answered by a {} store", slice.ledger.role));
            }
            if let Ok(Some(route)) = stage.control.route(tenant).await
                && route.store != *store.id()
            {
                stage.cover("a read of a store that was left");
            }
            Ok(stage.broken.slice(&store, slice))
        })
        .await
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        let inner =
            move |store: Arc<MemoryStore>| async move { store.digest_at(tenant, seq).await };
        self.call("digest_at", seq.to_string(), done, inner).await
    }

    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError> {
        let after = after.cloned();
        self.call("streams", String::new(), done, |store| async move {
            store.streams(tenant, max_seq, after.as_ref(), limit).await
        })
        .await
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        let inner = move |store: Arc<MemoryStore>| async move { store.tenants(after, limit).await };
        self.call("tenants", String::new(), done, inner).await
    }

    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError> {
        let (anchor, stage) = (*anchor, Arc::clone(&self.caller.stage));
        let with = format!("at entry {}", anchor.seen.index);
        self.call("keep_anchor", with, done, |store| async move {
            stage.cover("an anchor of a log");
            store.keep_anchor(&anchor).await
        })
        .await
    }

    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError> {
        self.inner.anchors(after, limit).await
    }

    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.inner.forget_anchors(tenant).await
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        let inner = |store: Arc<MemoryStore>| async move { store.check().await };
        self.call("check", String::new(), done, inner).await
    }
}
