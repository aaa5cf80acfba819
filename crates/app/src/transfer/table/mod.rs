//! Import from a table or a query of another program, which may continue to write it.
//!
//! ```text
//! source ─▶ pages ─▶ rows ─▶ rounds (a task; bounded) ─▶ the import of any other input
//!                                        after the last round: compare both sides
//! ```

mod row;
mod state;
mod verify;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use rehome_api::ImportReport;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::layout::Layout;
use rehome_ports::{Class, EventSource};
use rehome_postgres::{PgSource, PgSourceOf};
use rehome_sqlite::SqliteSource;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::rounds::{Round, Rounds, Sorter};
use crate::config::{Config, Url};
use crate::deployment::{Access, Deployment, unknown_store};
use crate::error::{AppError, Kind};
use state::State;
use verify::Compare;

/// How often a source that has no more rows is read again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often open transactions of others are checked.
const WAIT_LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a source that fails is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Rounds that wait for the importer.
const READ_AHEAD: usize = 1;

/// What to read at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableOf {
    /// The rows that this query returns.
    Query(String),
    /// The table of a layout.
    Layout(Box<Layout>),
}

/// What to import, and for how long.
#[derive(Clone, Debug)]
pub struct TableRequest {
    /// The database.
    pub from: Url,
    /// What to read there.
    pub of: TableOf,
    /// The tenant of all rows; `None`: rows name theirs.
    pub tenant: Option<TenantId>,
    /// Into which store, as of a file.
    pub store: Option<StoreId>,
    /// Continue with later rows, until the import has to finish.
    pub follow: bool,
    /// Finish when no row came for so long.
    pub idle: Option<Duration>,
    /// Where to keep how far reading got.
    pub state: Option<PathBuf>,
    /// Whether a source without rows is no error.
    pub allow_empty: bool,
}

/// How an import is ended by others.
#[derive(Clone, Debug, Default)]
pub struct TableEnd {
    /// Read the present rows, compare, and end.
    pub finish: CancellationToken,
    /// End as soon as possible; a later run continues.
    pub stop: CancellationToken,
}

/// What an import is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableProgress<'a> {
    /// Number of events in the stores, and the transaction that it waits for.
    Imported {
        /// Events that were imported or there already.
        events: u64,
        /// What it waits for, if it does.
        waits_for: Option<&'a str>,
    },
    /// A tenant's history stops here; the other tenants continue.
    Refused {
        /// The position or the number of the row.
        at: u64,
        /// The tenant.
        tenant: TenantId,
        /// Why it was refused.
        why: &'a str,
    },
    /// Rows and events that were compared.
    Compared(u64),
}

/// Imports from a table, follows it if that is wanted, and compares at the end.
pub async fn import_table(
    config: &Config,
    request: &TableRequest,
    end: &TableEnd,
    mut progress: impl FnMut(TableProgress<'_>),
) -> Result<ImportReport, AppError> {
    if let Some(store) = &request.store
        && !config.stores.iter().any(|known| known.id == *store)
    {
        return Err(unknown_store(config, store));
    }
    let mut source = open(request).await?;
    let (name, parts) = (source.name().to_owned(), source.parts());
    let mut state = match &request.state {
        None => None,
        Some(_) if !parts.position => {
            let why =
                format!("{name} has no positions, so no run can continue another; omit --state");
            return Err(AppError::new(Kind::Usage, "no_positions", why));
        }
        Some(path) => Some(State::open(path, &[&request.from.to_string(), &request.of.text()])?),
    };
    let after = state.as_ref().map_or(-1, State::position);
    if after >= 0 {
        check_reaches(source.as_mut(), after, end).await?;
    }
    let deployment = Deployment::open(config, Access::Create).await?;
    let imported = async {
        let (rounds, reader) = table_rounds(source, request, after, end).await?;
        let mut reported = HashSet::new();
        let imported = super::import::import_rounds(
            &deployment,
            rounds,
            request.store.as_ref(),
            |report, waits_for| {
                let events = report.events_imported + report.events_already_there;
                progress(TableProgress::Imported { events, waits_for });
                for refused in
                    report.refused.iter().filter(|refused| reported.insert(refused.tenant_id))
                {
                    let tenant = TenantId::new(refused.tenant_id);
                    progress(TableProgress::Refused {
                        at: refused.line,
                        tenant,
                        why: &refused.why,
                    });
                }
                match &mut state {
                    Some(state) => {
                        state.save(i64::try_from(report.lines_complete).unwrap_or(i64::MAX))
                    }
                    None => Ok(()),
                }
            },
        )
        .await?;
        let reader = reader.await.map_err(|panic| AppError::failed("failed", panic.to_string()))?;
        Ok::<_, AppError>((imported, reader))
    };
    let imported = imported.await;
    let ended = async {
        let (mut report, reader) = imported?;
        if end.stop.is_cancelled() {
            return Ok(report);
        }
        let Reader { mut source, after: read_to, .. } = reader;
        if report.tenants.is_empty() && after < 0 && !request.allow_empty {
            let why = format!(
                "{name} returns no row; nothing was imported (use --allow-empty if that is right)"
            );
            return Err(AppError::failed("empty_input", why));
        }
        let up_to = parts.position.then_some(read_to);
        let compare = Compare { deployment: &deployment, only: request.tenant, up_to };
        let compared = |read| progress(TableProgress::Compared(read));
        report.verified = Some(compare.run(source.as_mut(), compared).await?);
        Ok(report)
    };
    let ended = ended.await;
    deployment.close().await;
    ended
}

/// Refuses a source that ends before `after`, up to which an earlier run has read: rows that it lost are in the stores,
/// and new rows that get their positions would be skipped.
async fn check_reaches(
    source: &mut dyn EventSource,
    after: i64,
    end: &TableEnd,
) -> Result<(), AppError> {
    while !end.stop.is_cancelled() {
        let page = source.page(after - 1).await?;
        if !page.rows.is_empty() || page.read_to >= after {
            return Ok(());
        }
        if page.waits_for.is_none() {
            let why = format!(
                "{} ends before position {after}, up to which an earlier run has imported it: it has lost rows \
                 (restored from a backup?), and new rows that get their positions would be skipped. Compare it with \
                 the imported events; an import without --state reads it from the beginning, and imports nothing twice",
                source.name()
            );
            return Err(AppError::new(Kind::Refused, "position_beyond_end", why));
        }
        rest(WAIT_LOOK_EVERY, end).await;
    }
    Ok(())
}

impl TableOf {
    /// What distinguishes it from other sources.
    fn text(&self) -> String {
        match self {
            Self::Query(sql) => sql.clone(),
            Self::Layout(layout) => format!("{layout:?}"),
        }
    }
}

/// The rounds of a table after a position, and the task that reads them.
pub(super) async fn table_rounds(
    source: Box<dyn EventSource>,
    request: &TableRequest,
    after: i64,
    end: &TableEnd,
) -> Result<(Rounds, AbortOnDropHandle<Reader>), AppError> {
    let name = source.name().to_owned();
    let unit = if source.parts().position { "position" } else { "row" };
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reader = Reader { source, only: request.tenant, sorter: Sorter::default(), sender, after };
    let reader = reader.run(request.follow, request.idle, end.clone());
    // Ends with the import, also where that fails.
    let reader = AbortOnDropHandle::new(tokio::spawn(reader));
    Ok((Rounds::of(name, unit, receiver).await?, reader))
}

/// Opens the source, and refuses what it cannot give.
pub(super) async fn open(request: &TableRequest) -> Result<Box<dyn EventSource>, AppError> {
    let source: Box<dyn EventSource> = match (&request.from, &request.of) {
        (Url::Postgres(url), TableOf::Query(sql)) => {
            Box::new(PgSource::open(url, &PgSourceOf::Query(sql.clone())).await?)
        }
        (Url::Postgres(url), TableOf::Layout(layout)) => {
            Box::new(PgSource::open(url, &PgSourceOf::Table(layout.clone())).await?)
        }
        (Url::Sqlite(path), TableOf::Query(sql)) => {
            Box::new(SqliteSource::of_query(path, sql).await?)
        }
        (Url::Sqlite(path), TableOf::Layout(layout)) => {
            Box::new(SqliteSource::of_table(path, layout).await?)
        }
    };
    if request.follow && !source.parts().position {
        let why = format!(
            "{} has no positions, so later rows cannot be distinguished; omit --follow",
            source.name()
        );
        return Err(AppError::new(Kind::Usage, "no_positions", why));
    }
    let goes_on = request.follow || request.state.is_some();
    if let Some(why) = source.comes_in_behind().filter(|_| goes_on) {
        let why = format!(
            "{}: rows may appear behind others that were already read, and would be skipped: {why}; omit --follow and \
             --state to import the present rows",
            source.name()
        );
        return Err(AppError::refused(why));
    }
    if request.tenant.is_none() && !source.parts().tenant {
        let why = format!(
            "{} returns no column tenant_id; add it, or name the tenant of all rows with --tenant",
            source.name()
        );
        return Err(AppError::new(Kind::Usage, "no_tenant", why));
    }
    Ok(source)
}

/// Reads pages and sends rounds.
pub(super) struct Reader {
    source: Box<dyn EventSource>,
    only: Option<TenantId>,
    sorter: Sorter,
    sender: mpsc::Sender<Result<Round, AppError>>,
    /// All rows up to here were sent.
    after: i64,
}

impl Reader {
    /// Until the end of the source, or until it has to end; returns the source.
    async fn run(mut self, follow: bool, idle: Option<Duration>, end: TableEnd) -> Self {
        let mut last_row = Instant::now();
        while !end.stop.is_cancelled() {
            // Read before the rows, so that it finds all rows that were present at the request.
            let finishing = !follow
                || end.finish.is_cancelled()
                || idle.is_some_and(|idle| last_row.elapsed() >= idle);
            let page = tokio::select! {
                page = self.source.page(self.after) => page,
                () = end.stop.cancelled() => break,
            };
            let page = match page {
                Ok(page) => page,
                Err(fault) if follow && fault.class() == Class::Retry => {
                    let waits_for = Some(format!("an answer: {fault}"));
                    if !self.send(Ok(Round { waits_for, ..self.nothing() })).await {
                        break;
                    }
                    rest(RETRY_EVERY, &end).await;
                    continue;
                }
                Err(fault) => {
                    self.send(Err(fault.into())).await;
                    break;
                }
            };
            let at_end =
                page.rows.is_empty() && page.read_to == self.after && page.waits_for.is_none();
            if at_end && finishing {
                break;
            }
            if at_end {
                rest(LOOK_EVERY, &end).await;
                continue;
            }
            let waits = page.waits_for.is_some();
            if !page.rows.is_empty() {
                last_row = Instant::now();
            }
            let round = self.round(page);
            let failed = round.is_err();
            if !self.send(round).await || failed {
                break;
            }
            if waits {
                rest(WAIT_LOOK_EVERY, &end).await;
            }
        }
        // The importer ends when there are no senders.
        let (sender, _) = mpsc::channel(1);
        self.sender = sender;
        self
    }

    fn nothing(&self) -> Round {
        Round { last_line: u64::try_from(self.after).unwrap_or_default(), ..Round::default() }
    }

    fn round(&mut self, page: rehome_ports::SourcePage) -> Result<Round, AppError> {
        let parts = self.source.parts();
        for found in page.rows {
            let number = u64::try_from(found.position).unwrap_or_default();
            let Some(tenant) = row::tenant(&found, self.only) else {
                let message = format!(
                    "{}, position {number}: tenant_id is NULL; exclude such rows by a query, or name the tenant of all rows \
                     with --tenant",
                    self.source.name()
                );
                return Err(AppError::failed("bad_row", message).line(number));
            };
            let line = row::line(tenant, found, parts).map_err(|why| (number, why));
            self.sorter.take(tenant, line);
        }
        self.after = page.read_to;
        let last = u64::try_from(page.read_to).unwrap_or_default();
        Ok(Round { waits_for: page.waits_for, ..self.sorter.round(last) })
    }

    /// Whether the receiver is alive.
    async fn send(&mut self, round: Result<Round, AppError>) -> bool {
        self.sender.send(round).await.is_ok()
    }
}

/// Waits for this time, or until the import is to end.
async fn rest(time: Duration, end: &TableEnd) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        () = end.stop.cancelled() => {}
        () = end.finish.cancelled(), if !end.finish.is_cancelled() => {}
    }
}
