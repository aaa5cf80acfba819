//! A store in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rehome_domain::append::{self, Append, Decision};
use rehome_domain::digest::Digest;
use rehome_domain::event::{Event, Timestamp};
use rehome_domain::ids::{Epoch, EventId, MigrationId, StoreId, TenantId};
use rehome_domain::layout::{KeptRows, RowsRefused};
use rehome_domain::ledger::{Activation, Head, Ledger, Refused};
use rehome_domain::stream::StreamName;

use super::lock;
use crate::clock::Clock;
use crate::log_chain::LogAnchor;
use crate::{
    AppendOutcome, BatchLimit, Condition, Fault, FaultKind, Feed, LedgerStore, StoreError,
    StoreReport, StreamSlice, StreamVersion, TenantLedger,
};

/// A [`LedgerStore`] whose rows are in memory.
pub struct MemoryStore {
    id: StoreId,
    clock: Arc<dyn Clock>,
    tenants: Mutex<BTreeMap<TenantId, Tenant>>,
    anchors: Mutex<BTreeMap<MigrationId, LogAnchor>>,
    condition: Mutex<Condition>,
}

/// What a store holds of one tenant, as a test may spoil it through [`MemoryStore::tamper`].
#[derive(Clone, Debug)]
pub struct TenantRows {
    /// The ledger row.
    pub ledger: Ledger,
    /// The event rows, by `seq`.
    pub events: Vec<Event>,
    /// The version of each stream that an append is checked against.
    pub versions: BTreeMap<StreamName, u64>,
}

/// The rows, with what finds an event by id and by stream.
#[derive(Debug)]
struct Tenant {
    rows: TenantRows,
    by_id: HashMap<EventId, usize>,
    by_stream: BTreeMap<StreamName, Vec<usize>>,
}

impl MemoryStore {
    /// An empty store. `clock` dates recorded events.
    pub fn new(id: StoreId, clock: Arc<dyn Clock>) -> Self {
        let (tenants, anchors, condition) = Default::default();
        Self { id, clock, tenants, anchors, condition }
    }

    /// From now on it reports this.
    pub fn report(&self, condition: Condition) {
        *lock(&self.condition) = condition;
    }

    /// Lets a test plant an impossible state: the changes of `change` to the tenant's rows are
    /// neither checked nor repaired.
    pub fn tamper(&self, tenant: TenantId, change: impl FnOnce(&mut TenantRows)) {
        let mut tenants = lock(&self.tenants);
        let rows = &mut tenants.entry(tenant).or_default().rows;
        change(rows);
        let mut rows = rows.clone();
        rows.events.sort_by_key(|event| event.seq);
        tenants.insert(tenant, Tenant::index(rows));
    }

    /// Forgets the tenant, ledger and all, as a store that was lost and replaced by an empty one.
    pub fn forget(&self, tenant: TenantId) {
        lock(&self.tenants).remove(&tenant);
    }

    fn not_kept(&self, refused: RowsRefused) -> StoreError {
        let kind = FaultKind::NotSetUp(refused.to_string());
        Fault::new(format!("store \"{}\"", self.id), kind).into()
    }

    fn read<T>(&self, tenant: TenantId, read: impl FnOnce(&Tenant) -> T) -> T {
        match lock(&self.tenants).get(&tenant) {
            Some(tenant) => read(tenant),
            None => read(&Tenant::default()),
        }
    }

    /// Changes the tenant's rows, or leaves no trace when the answer is a refusal.
    fn write<T>(
        &self,
        tenant: TenantId,
        change: impl FnOnce(&mut Tenant) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut tenants = lock(&self.tenants);
        if let Some(tenant) = tenants.get_mut(&tenant) {
            return change(tenant);
        }
        let mut newcomer = Tenant::default();
        let answer = change(&mut newcomer)?;
        tenants.insert(tenant, newcomer);
        Ok(answer)
    }

    fn change_ledger(
        &self,
        tenant: TenantId,
        change: impl FnOnce(Ledger) -> Result<Ledger, Refused>,
    ) -> Result<Ledger, StoreError> {
        self.write(tenant, |tenant| {
            tenant.rows.ledger = change(tenant.rows.ledger)?;
            Ok(tenant.rows.ledger)
        })
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::index(TenantRows {
            ledger: Ledger::ABSENT,
            events: Vec::new(),
            versions: BTreeMap::new(),
        })
    }
}

impl Tenant {
    fn index(mut rows: TenantRows) -> Self {
        let events = std::mem::take(&mut rows.events);
        let versions = std::mem::take(&mut rows.versions);
        let mut tenant = Self { rows, by_id: HashMap::new(), by_stream: BTreeMap::new() };
        for event in events {
            tenant.push(event);
        }
        tenant.rows.versions = versions;
        tenant
    }

    /// With the versions that the events have.
    fn rebuilt(rows: TenantRows) -> Self {
        let mut tenant = Self::index(rows);
        tenant.rows.versions = tenant
            .by_stream
            .iter()
            .map(|(stream, indexes)| {
                let versions = indexes.iter().map(|at| tenant.rows.events[*at].version);
                (stream.clone(), versions.max().unwrap_or(0))
            })
            .collect();
        tenant
    }

    fn push(&mut self, event: Event) {
        let index = self.rows.events.len();
        self.by_id.insert(event.id, index);
        self.by_stream.entry(event.stream.clone()).or_default().push(index);
        self.rows.versions.insert(event.stream.clone(), event.version);
        self.rows.events.push(event);
    }

    fn pop(&mut self) {
        let Some(event) = self.rows.events.pop() else { return };
        self.by_id.remove(&event.id);
        let Some(indexes) = self.by_stream.get_mut(&event.stream) else { return };
        indexes.pop();
        if let Some(last) = indexes.last() {
            let version = self.rows.events[*last].version;
            self.rows.versions.insert(event.stream, version);
        } else {
            self.by_stream.remove(&event.stream);
            self.rows.versions.remove(&event.stream);
        }
    }

    fn version(&self, stream: &StreamName) -> u64 {
        self.rows.versions.get(stream).copied().unwrap_or(0)
    }

    /// The end of the rows, which is the ledger's head unless a test tampered with them.
    fn last(&self) -> Head {
        self.rows.events.last().map_or(Head::EMPTY, Head::of)
    }

    fn append(&mut self, append: &Append, now: Timestamp) -> AppendOutcome {
        let known: Vec<_> = append
            .events
            .iter()
            .map(|event| self.by_id.get(&event.id).map(|at| self.rows.events[*at].clone()))
            .collect();
        let actual = self.version(&append.stream);
        let decision = append::decide(append, &known, actual, self.rows.ledger.head, now)?;
        let appended = decision.appended();
        if let Decision::Write(events) = decision {
            self.take(events);
        }
        Ok(appended)
    }

    /// Whether rows of another library's table follow on those that are there.
    fn check_rows(&self, events: &[Event]) -> Result<(), RowsRefused> {
        let Some(brought) = KeptRows::of(events)? else { return Ok(()) };
        let mut versions: BTreeMap<&StreamName, u64> = BTreeMap::new();
        for event in events {
            let version = versions.entry(&event.stream);
            let version = version.or_insert_with(|| self.version(&event.stream));
            *version += 1;
            let (seq, is, next) = (event.seq, event.version, *version);
            if is != next {
                return Err(RowsRefused::Version { seq, is, next });
            }
        }
        let kept = self.rows.events.iter().rev().find_map(|event| {
            let form = Arc::clone(event.row.as_ref()?.form()?);
            Some(KeptRows { upto: event.seq, form })
        });
        brought.after(kept.as_ref(), self.rows.ledger.head.seq).map(drop)
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            self.rows.ledger.head = Head::of(&event);
            self.push(event);
        }
    }

    fn purge(&mut self, chunk: u32) {
        for _ in 0..chunk {
            self.pop();
        }
        self.rows.ledger = self.rows.ledger.purged_to(self.last());
    }

    fn cut_back(&mut self, to: Head, chunk: u32) {
        let over = self.rows.events.partition_point(|event| event.seq <= to.seq);
        let left = self.rows.events.len().saturating_sub(chunk as usize).max(over);
        while self.rows.events.len() > left {
            self.pop();
        }
        let head = if left == over { to } else { self.last() };
        self.rows.ledger = self.rows.ledger.cut_to(head);
        if head == to {
            // A test may have tampered with the versions, or with what they were of.
            let (ledger, events) = (self.rows.ledger, std::mem::take(&mut self.rows.events));
            let rows = TenantRows { ledger, events, versions: BTreeMap::new() };
            *self = Self::rebuilt(rows);
        }
    }

    /// The stored digest of event `seq`.
    fn digest_at(&self, seq: u64) -> Option<Digest> {
        let at = self.rows.events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        Some(self.rows.events[at].digest)
    }
}

/// The events of one page: as many as `limit` allows, but one if there is one.
fn page<'a>(events: impl Iterator<Item = &'a Event>, limit: BatchLimit) -> Vec<Event> {
    let mut page: Vec<Event> = Vec::new();
    let mut bytes = 0;
    for event in events {
        bytes += event.bytes();
        if !page.is_empty() && (page.len() >= limit.events || bytes > limit.bytes) {
            break;
        }
        page.push(event.clone());
    }
    page
}

#[async_trait]
impl LedgerStore for MemoryStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        Ok(*lock(&self.condition))
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        Ok(self.read(tenant, |tenant| tenant.rows.ledger))
    }

    async fn append(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let now = self.clock.now();
        self.write(tenant, |tenant| {
            tenant.rows.ledger.check_append(epoch)?;
            Ok(appends.iter().map(|append| tenant.append(append, now)).collect())
        })
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        self.write(tenant, |tenant| {
            let ledger = tenant.rows.ledger.extend(m, previous, events)?;
            tenant.check_rows(events).map_err(|refused| self.not_kept(refused))?;
            tenant.take(events.to_vec());
            Ok(ledger.head)
        })
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        Ok(self.change_ledger(tenant, |ledger| ledger.fence(from, to))?.head)
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        self.change_ledger(tenant, |ledger| ledger.activate(route))
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError> {
        self.change_ledger(tenant, |ledger| ledger.adopt(m, head))
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.change_ledger(tenant, |ledger| ledger.drop_replica(m))
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        self.write(tenant, |tenant| {
            tenant.rows.ledger.check_purge(k)?;
            tenant.purge(chunk);
            Ok(tenant.rows.ledger)
        })
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        self.write(tenant, |tenant| {
            tenant.rows.ledger.check_cut_back(k, to, tenant.digest_at(to.seq))?;
            tenant.cut_back(to, chunk);
            Ok(tenant.rows.ledger)
        })
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        Ok(self.read(tenant, |tenant| {
            let events = &tenant.rows.events;
            let start = events.partition_point(|event| event.seq <= after_seq);
            Feed { ledger: tenant.rows.ledger, events: page(events[start..].iter(), limit) }
        }))
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        Ok(self.read(tenant, |tenant| {
            let events = &tenant.rows.events;
            let indexes = tenant.by_stream.get(stream).map_or(&[][..], Vec::as_slice);
            let start = indexes.partition_point(|at| events[*at].version < from_version);
            StreamSlice {
                ledger: tenant.rows.ledger,
                version: tenant.version(stream),
                events: page(indexes[start..].iter().map(|at| &events[*at]), limit),
            }
        }))
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        if seq == 0 {
            return Ok(Some(Digest::EMPTY));
        }
        Ok(self.read(tenant, |tenant| tenant.digest_at(seq)))
    }

    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.read(tenant, |tenant| {
            let events = &tenant.rows.events;
            let count = |(stream, indexes): (&StreamName, &Vec<usize>)| {
                let rows = || indexes.iter().map(|at| &events[*at]).filter(|e| e.seq <= max_seq);
                let last = rows().map(|event| event.version).max()?;
                Some(StreamVersion {
                    stream: stream.clone(),
                    version: tenant.version(stream),
                    events: rows().count() as u64,
                    last,
                })
            };
            tenant
                .by_stream
                .range::<StreamName, _>((start, Bound::Unbounded))
                .filter_map(count)
                .take(limit)
                .collect()
        }))
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(lock(&self.tenants)
            .range((start, Bound::Unbounded))
            .take(limit)
            .map(|(tenant, held)| TenantLedger { tenant: *tenant, ledger: held.rows.ledger })
            .collect())
    }

    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError> {
        let mut anchors = lock(&self.anchors);
        let kept = anchors.entry(anchor.migration).or_insert(*anchor);
        *kept = kept.moved_to(*anchor);
        Ok(())
    }

    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let anchors = lock(&self.anchors);
        Ok(anchors.range((start, Bound::Unbounded)).take(limit).map(|(_, kept)| *kept).collect())
    }

    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError> {
        lock(&self.anchors).retain(|_, kept| kept.tenant != tenant);
        Ok(())
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        Ok(StoreReport {
            engine: "memory".to_owned(),
            format: 1,
            deployment: "memory".to_owned(),
            identity: self.id.to_string(),
            durability: "none: the events are lost when the process ends".to_owned(),
            durable: false,
            clock_skew_ms: 0,
            problems: Vec::new(),
            copied: Vec::new(),
        })
    }
}
