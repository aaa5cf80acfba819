//! Ledgers beside routes: the stores' and the control plane's word on every tenant.

use std::collections::VecDeque;

use rehome_domain::ids::TenantId;
use rehome_domain::route::Route;
use rehome_ports::{ControlError, ControlPlane, LedgerStore, StoreError, TenantLedger};

/// Rows read at once.
const PAGE: usize = 1_000;

/// A tenant as a store and the control plane know it; one of the two may not know it.
pub(crate) struct Pair {
    pub(crate) tenant: TenantId,
    pub(crate) ledger: Option<TenantLedger>,
    pub(crate) route: Option<Route>,
}

/// All tenants of one store and of the control plane, in the order of their ids, page by page.
pub(crate) struct Pairs<'a> {
    store: &'a dyn LedgerStore,
    control: &'a dyn ControlPlane,
    ledgers: Pages<TenantLedger>,
    routes: Pages<Route>,
}

struct Pages<T> {
    rows: VecDeque<T>,
    last: Option<TenantId>,
    over: bool,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { rows: VecDeque::new(), last: None, over: false }
    }
}

impl<T> Pages<T> {
    fn wants_more(&self) -> bool {
        self.rows.is_empty() && !self.over
    }

    fn take(&mut self, wanted: bool) -> Option<T> {
        if wanted { self.rows.pop_front() } else { None }
    }

    fn put(&mut self, rows: Vec<T>, tenant: impl Fn(&T) -> TenantId) {
        self.over = rows.len() < PAGE;
        self.last = rows.last().map(tenant).or(self.last);
        self.rows = rows.into();
    }
}

/// Why a pair was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(store: &'a dyn LedgerStore, control: &'a dyn ControlPlane) -> Self {
        Self { store, control, ledgers: Pages::default(), routes: Pages::default() }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Pair>, PairError> {
        if self.ledgers.wants_more() {
            let rows = self.store.tenants(self.ledgers.last, PAGE).await?;
            self.ledgers.put(rows, |row| row.tenant);
        }
        if self.routes.wants_more() {
            let rows = self.control.routes(self.routes.last, PAGE).await?;
            self.routes.put(rows, |row| row.tenant);
        }
        let ledger = self.ledgers.rows.front().map(|row| row.tenant);
        let route = self.routes.rows.front().map(|row| row.tenant);
        let Some(tenant) = ledger.into_iter().chain(route).min() else { return Ok(None) };
        Ok(Some(Pair {
            tenant,
            ledger: self.ledgers.take(ledger == Some(tenant)),
            route: self.routes.take(route == Some(tenant)),
        }))
    }
}
