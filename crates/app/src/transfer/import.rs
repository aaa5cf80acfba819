//! Import: lines become appends through the router, one ordered writer per tenant, many tenants at
//! once, round by round. Memory is bounded by two rounds.
//!
//! An import is idempotent: an event that is present with the same content returns the original
//! result. An import never reorders: a tenant's history ends before its first refused
//! line, whatever comes after it; the other tenants continue, and the refused lines are listed at the
//! end. A fault of a store ends the import; the report is exact up to that point.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use futures_util::stream::{self, StreamExt as _};
use rehome_api::ImportReport;
use rehome_api::transfer::{RefusedLine, TenantImport};
use rehome_domain::append::{AppendConflict, Appended};
use rehome_domain::ids::{StoreId, TenantId};
use rehome_ports::{AppendError, ControlError};

use super::input::Input;
use super::rounds::{Bad, Line, Round, Rounds};
use crate::config::Config;
use crate::deployment::{Access, Deployment, unknown_store};
use crate::error::{AppError, Kind};

/// Tenants of one round that are written at the same time.
const TENANTS_AT_ONCE: usize = 16;
/// Refused lines that the error lists beside the first; the document has all.
const REFUSED_LISTED: usize = 20;

/// What to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRequest {
    /// From where.
    pub input: Input,
    /// Into which store. A tenant that lives in another one is refused. `None`: new tenants go to
    /// the default store, the others to where they live.
    pub store: Option<StoreId>,
    /// Whether an input without an event is no error.
    pub allow_empty: bool,
}

/// Checks the beginning of the input, opens or makes the deployment, and imports.
pub async fn import(
    config: &Config,
    request: &ImportRequest,
    progress: impl FnMut(&ImportReport),
) -> Result<ImportReport, AppError> {
    if let Some(store) = request.store.as_ref()
        && !config.stores.iter().any(|known| known.id == *store)
    {
        return Err(unknown_store(config, store));
    }
    let rounds = Rounds::open(&request.input)
        .await
        .map_err(|error| error.imported(ImportReport::default(), "; nothing was imported"))?;
    if rounds.is_empty() && !request.allow_empty {
        let message = format!(
            "{} has no event; nothing was imported (use --allow-empty if that is right)",
            rounds.name()
        );
        return Err(AppError::failed("empty_input", message));
    }
    let deployment = Deployment::open(config, Access::Create).await?;
    let imported = import_into(&deployment, rounds, request.store.as_ref(), progress).await;
    deployment.close().await;
    imported
}

/// Imports what the rounds hold.
pub async fn import_into(
    deployment: &Deployment,
    rounds: Rounds,
    store: Option<&StoreId>,
    mut progress: impl FnMut(&ImportReport),
) -> Result<ImportReport, AppError> {
    import_rounds(deployment, rounds, store, |report, _| {
        progress(report);
        Ok(())
    })
    .await
}

/// The same; `done` is called after each round, with what the input waits for.
pub(super) async fn import_rounds(
    deployment: &Deployment,
    mut rounds: Rounds,
    store: Option<&StoreId>,
    mut done: impl FnMut(&ImportReport, Option<&str>) -> Result<(), AppError>,
) -> Result<ImportReport, AppError> {
    let mut import = Import {
        deployment,
        store,
        input: rounds.name().to_owned(),
        unit: rounds.unit(),
        places: HashMap::new(),
        tenants: Vec::new(),
        refused: BTreeMap::new(),
        ended: HashSet::new(),
        report: ImportReport::default(),
    };
    while let Some(round) = rounds.next().await {
        match round {
            Ok(mut round) => {
                let waits_for = round.waits_for.take();
                import.round(round).await?;
                done(&import.report(), waits_for.as_deref())?;
            }
            Err(error) => return Err(import.stopped(error, Doubt::default())),
        }
    }
    import.finish_indexes().await?;
    import.done()
}

struct Import<'a> {
    deployment: &'a Deployment,
    store: Option<&'a StoreId>,
    input: String,
    /// What lines of the input are called.
    unit: &'static str,
    /// Where in `tenants` each one is.
    places: HashMap<TenantId, usize>,
    tenants: Vec<Tenant>,
    /// The first refused line of each tenant, by its number.
    refused: BTreeMap<u64, (TenantId, String, AppError)>,
    /// Their tenants.
    ended: HashSet<TenantId>,
    report: ImportReport,
}

struct Tenant {
    id: TenantId,
    store: StoreId,
    imported: u64,
    already_there: u64,
    /// An event that answers with a higher position is a new one.
    last_seq: u64,
}

/// How the lines of one tenant in a round ended.
struct Ended {
    place: usize,
    outcomes: Vec<(Line, Result<Appended, AppendError>)>,
}

impl Import<'_> {
    async fn round(&mut self, round: Round) -> Result<(), AppError> {
        let mut work = Vec::with_capacity(round.tenants.len());
        for (tenant, lines) in round.tenants {
            if self.ended.contains(&tenant) {
                continue;
            }
            let number = lines.first().map_or(0, |line| line.number);
            let place = match self.meet(tenant).await {
                Ok(place) => place,
                Err(error) => {
                    let place = self.place(number);
                    let refused = error.kind() == Kind::Refused;
                    let error = error.line(number);
                    if refused {
                        let why = error.to_string();
                        let error = error.prefixed(&format!("{place}: "));
                        self.refuse(tenant, number, why, error);
                        continue;
                    }
                    let error = error.prefixed(&format!("{place}: "));
                    return Err(self.stopped(error, Doubt::default()));
                }
            };
            work.push((place, tenant, lines));
        }
        let router = self.deployment.engine().router();
        let ended: Vec<Ended> = stream::iter(work)
            .map(|(place, tenant, lines)| async move {
                let appends = lines.iter().map(|line| line.append.clone()).collect();
                let outcomes = router.append_all(tenant, appends).await;
                Ended { place, outcomes: lines.into_iter().zip(outcomes).collect() }
            })
            .buffer_unordered(TENANTS_AT_ONCE)
            .collect()
            .await;
        self.settle(ended)?;
        for Bad { tenant, number, why } in round.bad {
            let message = format!("{}: {why}", self.place(number));
            let error = AppError::failed("bad_line", message).tenant(tenant).line(number);
            self.refuse(tenant, number, why, error);
        }
        let first = self.refused.first_key_value().map(|(number, _)| number.saturating_sub(1));
        self.report.lines_complete = first.unwrap_or(round.last_line);
        Ok(())
    }

    /// Finishes what the stores have put off.
    async fn finish_indexes(&self) -> Result<(), AppError> {
        for tenant in &self.tenants {
            self.deployment.store(&tenant.store)?.finish_index(tenant.id).await?;
        }
        Ok(())
    }

    /// A line, as messages name it.
    fn place(&self, number: u64) -> String {
        format!("{}, {} {number}", self.input, self.unit)
    }

    /// The tenant's history ends before this line.
    fn refuse(&mut self, tenant: TenantId, number: u64, why: String, error: AppError) {
        if self.ended.insert(tenant) {
            self.refused.insert(number, (tenant, why, error));
        }
    }

    /// Everything is imported, except for what was refused.
    fn done(&mut self) -> Result<ImportReport, AppError> {
        let report = self.report();
        let Some((_, (_, _, error))) = self.refused.pop_first() else { return Ok(report) };
        if report.refused.len() == 1 && report.tenants.len() <= 1 {
            // There was one tenant: refused as a whole, or up to this line.
            return Err(stopped_with(report, error, Doubt::default(), self.unit));
        }
        let mut list = String::new();
        for refused in report.refused.iter().skip(1).take(REFUSED_LISTED) {
            let RefusedLine { line, tenant_id, why } = refused;
            // Writing to a String cannot fail.
            let _ = write!(list, "\n{} {line}, tenant {tenant_id}: {why}", self.unit);
        }
        let total = report.refused.len();
        if total > REFUSED_LISTED + 1 {
            let _ = write!(list, "\nand {} more (--json lists all)", total - REFUSED_LISTED - 1);
        }
        let (imported, there) = (report.events_imported, report.events_already_there);
        let statement = format!(
            "; for {total} tenants nothing was imported from their first refused {0} on, the others are \
             complete ({imported} events imported, {there} already present; all {0}s up to {1} are \
             in the stores); correct them and run the import again; it imports nothing twice{list}",
            self.unit, report.lines_complete
        );
        Err(error.done_in_part().imported(report, &statement))
    }

    /// Counts the results. A refused line ends its tenant's history; the first line with a store
    /// failure, if any, is the error.
    fn settle(&mut self, ended: Vec<Ended>) -> Result<(), AppError> {
        let mut first: Option<(u64, TenantId, String)> = None;
        let mut written = Vec::new();
        let mut refused = Vec::new();
        let mut unknown = 0;
        for Ended { place, outcomes } in ended {
            let tenant = &mut self.tenants[place];
            for (line, outcome) in outcomes {
                let (problem, fault) = match outcome {
                    Ok(appended) => {
                        let is_new = tenant.count(&appended);
                        written.extend(is_new.then_some(line.number));
                        let Some(problem) = line.misplaced(&appended) else { continue };
                        (problem, false)
                    }
                    Err(error) => {
                        unknown += u64::from(matches!(error, AppendError::OutcomeUnknown { .. }));
                        let its_own =
                            matches!(error, AppendError::Conflict(_) | AppendError::Invalid { .. });
                        (line.problem(&error), !its_own)
                    }
                };
                if !fault {
                    // What comes after it was not sent.
                    refused.push((line.number, tenant.id, problem));
                    break;
                }
                if first.as_ref().is_none_or(|(number, ..)| line.number < *number) {
                    first = Some((line.number, tenant.id, problem));
                }
            }
        }
        let error = |place: &str, number: u64, tenant: TenantId, problem: &str| {
            let message = format!("{place}, tenant {tenant}: {problem}");
            AppError::failed("not_imported", message).tenant(tenant).line(number)
        };
        for (number, tenant, problem) in refused {
            let error = error(&self.place(number), number, tenant, &problem);
            self.refuse(tenant, number, problem, error);
        }
        let Some((number, tenant, problem)) = first else { return Ok(()) };
        let after = written.iter().filter(|line| **line > number).count() as u64;
        let after = Doubt { after, unknown };
        let complete = self.refused.first_key_value().map_or(number, |(line, _)| number.min(*line));
        self.report.lines_complete = complete.saturating_sub(1);
        let error = error(&self.place(number), number, tenant, &problem);
        Err(self.stopped(error, after))
    }

    /// Finds the tenant's store; a new tenant is created in the requested one.
    async fn meet(&mut self, id: TenantId) -> Result<usize, AppError> {
        if let Some(place) = self.places.get(&id) {
            return Ok(*place);
        }
        let engine = self.deployment.engine();
        let new = self.store.unwrap_or(engine.stores().default_id());
        let store = match engine.control().route(id).await? {
            Some(route) if route.is_removed() => new.clone(),
            Some(route) if route.removal.is_some() => {
                return Err(ControlError::BeingRemoved(id).into());
            }
            Some(route) => route.store,
            None => new.clone(),
        };
        if let Some(wanted) = self.store.filter(|wanted| **wanted != store) {
            return Err(AppError::refused(format!(
                "tenant {id} lives in store \"{store}\", not in \"{wanted}\"; import into \
                 \"{store}\", or leave --store out"
            ))
            .tenant(id));
        }
        // Before the tenant is made: a store that is down is to leave no trace.
        self.deployment.reach(&store).await?;
        let ledger = self.deployment.store(&store)?.ledger(id).await?;
        let route = engine.router().ensure_tenant(id, &store).await?;
        self.places.insert(id, self.tenants.len());
        self.tenants.push(Tenant {
            id,
            store: route.store,
            imported: 0,
            already_there: 0,
            last_seq: ledger.head.seq,
        });
        Ok(self.tenants.len() - 1)
    }

    fn report(&self) -> ImportReport {
        let tenants = self.tenants.iter().map(|tenant| TenantImport {
            tenant_id: tenant.id.uuid(),
            store: tenant.store.to_string(),
            events_imported: tenant.imported,
            events_already_there: tenant.already_there,
        });
        let refused = self.refused.iter().map(|(line, (tenant, why, _))| RefusedLine {
            line: *line,
            tenant_id: tenant.uuid(),
            why: why.clone(),
        });
        ImportReport {
            events_imported: self.tenants.iter().map(|tenant| tenant.imported).sum(),
            events_already_there: self.tenants.iter().map(|tenant| tenant.already_there).sum(),
            lines_complete: self.report.lines_complete,
            tenants: tenants.collect(),
            refused: refused.collect(),
            verified: None,
        }
    }

    fn stopped(&self, error: AppError, doubt: Doubt) -> AppError {
        stopped_with(self.report(), error, doubt, self.unit)
    }
}

/// The error with the report up to that point.
fn stopped_with(report: ImportReport, error: AppError, doubt: Doubt, unit: &str) -> AppError {
    let (imported, there) = (report.events_imported, report.events_already_there);
    let Doubt { after, unknown } = doubt;
    let mut statement = match report.lines_complete {
        0 if imported == 0 && unknown == 0 => "; nothing was imported".to_owned(),
        0 => format!("; no {unit} before it, {imported} events imported"),
        lines => format!(
            "; the {unit}s up to {lines} are in the stores ({imported} events imported, {there} \
                 already present)"
        ),
    };
    // Writing to a String cannot fail.
    if after > 0 {
        let _ = write!(statement, ", {after} of them from {unit}s after this one");
    }
    if unknown > 0 {
        let _ = write!(statement, ", and the outcome of {unknown} events is unknown");
    }
    if imported + there + unknown > 0 {
        statement.push_str("; correct it and run the import again; it imports nothing twice");
    }
    error.imported(report, &statement)
}

/// The results of a round beyond the first refused line.
#[derive(Clone, Copy, Default)]
struct Doubt {
    /// Events written from lines behind it.
    after: u64,
    /// Events that may be written or not: the answer was lost.
    unknown: u64,
}

impl Tenant {
    /// Whether the event is new.
    fn count(&mut self, appended: &Appended) -> bool {
        let is_new = appended.first_seq > self.last_seq;
        if is_new {
            self.imported += 1;
            self.last_seq = appended.last_seq;
        } else {
            self.already_there += 1;
        }
        is_new
    }
}

impl Line {
    /// The event was present before, but not at the line's position.
    fn misplaced(&self, appended: &Appended) -> Option<String> {
        let version = self.version.filter(|version| *version != appended.first_version)?;
        Some(format!(
            "the event is already present, as version {} of its stream; the line has {version}",
            appended.first_version
        ))
    }

    fn problem(&self, error: &AppendError) -> String {
        match (error, self.version) {
            (AppendError::Conflict(AppendConflict::Version { stream, actual }), Some(version)) => {
                format!(
                    "it is version {version} of stream {stream}, whose next version is {}",
                    actual + 1
                )
            }
            (AppendError::Conflict(AppendConflict::Id { id }), _) => {
                format!("event id {id} is already present, with other content")
            }
            (AppendError::OutcomeUnknown { source, .. }, _) => {
                format!("whether it was written is unknown: {source}")
            }
            (error, _) => error.to_string(),
        }
    }
}
