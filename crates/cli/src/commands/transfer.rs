//! `rehome import`, `rehome export`.

use std::fmt::Write as _;
use std::path::PathBuf;

use rehome_api::transfer::RefusedLine;
use rehome_api::{ImportLook, ImportReport};
use rehome_app::config::Url;
use rehome_app::transfer::{
    self, ExportRequest, Format, ImportRequest, Input, Output, TableEnd, TableOf, TableProgress,
    TableRequest,
};
use rehome_app::{AppError, Kind, layouts};
use rehome_domain::ids::{StoreId, TenantId};

use crate::args::{FormatArg, ImportArgs};
use crate::operate::{Reach, Signals, Task, open};
use crate::output::{Counter, Out, count, table};

/// Refused lines that a dry run shows.
const REFUSED_SHOWN: usize = 20;

pub(super) async fn import(out: Out, reach: &Reach, args: ImportArgs) -> Result<(), AppError> {
    if let Some(from) = &args.from {
        let request = table_request(from, &args)?;
        if args.dry_run {
            return look(out, &transfer::look_at_table(&request, counted(out, "read")).await?);
        }
        let why = "it writes rows of another database directly into the stores";
        return from_table(out, reach.stores("import", why)?, &request)
            .await
            .and_then(|report| show(out, &report));
    }
    let input = Input::new(args.file.unwrap_or_default(), args.format.map(format));
    if args.dry_run {
        return look(out, &transfer::look_at(&input, counted(out, "read")).await?);
    }
    let config =
        reach.stores("import", "it writes a file of this machine directly into the stores")?;
    let request = ImportRequest { input, store: args.store, allow_empty: args.allow_empty };
    let mut counter = Counter::new(out, "imported");
    let report = transfer::import(config, &request, |report| {
        counter.show(report.events_imported + report.events_already_there, None);
    })
    .await;
    drop(counter);
    show(out, &report?)
}

fn format(format: FormatArg) -> Format {
    match format {
        FormatArg::Ndjson => Format::Ndjson,
        FormatArg::Json => Format::Json,
        FormatArg::Csv => Format::Csv,
    }
}

fn table_request(from: &str, args: &ImportArgs) -> Result<TableRequest, AppError> {
    let of = match (&args.query, &args.layout) {
        (Some(sql), _) => TableOf::Query(sql.clone()),
        (None, Some(layout)) => TableOf::Layout(Box::new(layouts::load(layout)?)),
        (None, None) => {
            let why =
                "--from needs --query with an SQL query, or --layout with the layout of a table";
            return Err(AppError::new(Kind::Usage, "bad_usage", why));
        }
    };
    Ok(TableRequest {
        from: Url::given(from).map_err(|why| {
            AppError::new(Kind::Usage, "bad_url", format!("the URL after --from {why}"))
        })?,
        of,
        tenant: args.tenant,
        store: args.store.clone(),
        follow: args.follow,
        idle: args.idle.map(|idle| std::time::Duration::from_millis(idle.0)),
        state: args.state.clone(),
        allow_empty: args.allow_empty,
    })
}

/// Imports from a table. With --follow the first signal finishes and the second stops.
async fn from_table(
    out: Out,
    config: &rehome_app::Config,
    request: &TableRequest,
) -> Result<ImportReport, AppError> {
    let end = TableEnd::default();
    let follows = request.follow;
    let signals = Task(tokio::spawn(end_on_signal(out, end.clone(), follows)));
    let mut imported = Counter::new(out, "imported");
    let mut compared = Counter::of(out, "compared", "rows and events");
    let mut waiting: Option<String> = None;
    let report = transfer::import_table(config, request, &end, |progress| match progress {
        TableProgress::Imported { events, waits_for } => {
            imported.show(events, None);
            if waits_for != waiting.as_deref() {
                waiting = waits_for.map(str::to_owned);
                if let Some(whom) = &waiting {
                    out.remark(format!("waiting for {whom}"));
                }
            }
        }
        TableProgress::Refused { at, tenant, why } if follows => {
            out.remark(format!(
                "tenant {tenant} stops at {at}: {why}; the others continue; correct it, and import again"
            ));
        }
        TableProgress::Refused { .. } => {}
        TableProgress::Compared(rows) => compared.show(rows, None),
    })
    .await;
    drop((imported, compared, signals));
    let report = report?;
    if end.stop.is_cancelled() {
        let again = match &request.state {
            Some(_) => "the same command continues from here",
            None => "the same command reads from the beginning and imports nothing twice",
        };
        out.remark(format!("stopped before the end; nothing was compared; {again}"));
    }
    Ok(report)
}

async fn end_on_signal(out: Out, end: TableEnd, follows: bool) {
    let mut signals = Signals::listen();
    signals.next().await;
    if follows {
        out.remark("finishing: importing the present rows, then comparing; press Ctrl-C again to stop at once");
        end.finish.cancel();
        signals.next().await;
    }
    out.remark("stopping; press Ctrl-C again to exit at once (which is safe too)");
    end.stop.cancel();
    signals.next().await;
    std::process::exit(1);
}

fn show(out: Out, report: &ImportReport) -> Result<(), AppError> {
    out.show(report, |report| {
        let rows = report.tenants.iter().map(|tenant| {
            [
                tenant.tenant_id.to_string(),
                tenant.store.clone(),
                count(tenant.events_imported),
                count(tenant.events_already_there),
            ]
        });
        let tenants = table(["TENANT", "STORE", "IMPORTED", "ALREADY THERE"], &[2, 3], rows);
        let verified = report.verified.map_or_else(String::new, |verified| {
            format!(
                "\ncompared with the source: {} rows of {} tenants, each is one event with the same content",
                count(verified.events),
                count(verified.tenants)
            )
        });
        format!(
            "{tenants}\n\n{} events imported, {} already present{verified}",
            count(report.events_imported),
            count(report.events_already_there)
        )
    })
}

fn counted(out: Out, what: &'static str) -> impl FnMut(u64) {
    let mut counter = Counter::new(out, what);
    move |events| counter.show(events, None)
}

/// What a dry run found.
fn look(out: Out, look: &ImportLook) -> Result<(), AppError> {
    out.show(look, |look| {
        let mut text = format!(
            "{} events of {} tenants would be imported; nothing was written",
            count(look.events),
            count(look.tenants)
        );
        for refused in look.refused.iter().take(REFUSED_SHOWN) {
            let RefusedLine { line, tenant_id, why } = refused;
            // Writing to a String cannot fail.
            let _ = write!(text, "\nat {line}, tenant {tenant_id}: {why}");
        }
        let more = look.refused.len().saturating_sub(REFUSED_SHOWN);
        if more > 0 {
            let _ = write!(text, "\nand {more} more (--json lists all)");
        }
        text
    })?;
    match look.refused.len() {
        0 => Ok(()),
        tenants => Err(AppError::failed(
            "bad_line",
            format!(
                "for {tenants} tenants nothing would be imported from their first refused line on"
            ),
        )),
    }
}

pub(super) async fn export(
    out: Out,
    reach: &Reach,
    store: Option<StoreId>,
    tenant: TenantId,
    file: PathBuf,
) -> Result<(), AppError> {
    let config =
        reach.stores("export", "it exports the stores directly to a file of this machine")?;
    let deployment = open(config).await?;
    let request = ExportRequest { tenant, store, output: Output::new(Some(file)) };
    let mut counter = Counter::new(out, "exported");
    let report =
        transfer::export(&deployment, &request, |now, of| counter.show(now, Some(of))).await;
    drop(counter);
    deployment.close().await;
    let report = report?;
    if let Some(store) = report.store.as_ref().filter(|_| report.role != "active") {
        out.remark(format!(
            "store \"{store}\" holds a {} of this history, not the history itself",
            if report.role == "fenced" { "fenced copy" } else { "replica" }
        ));
    }
    // On stdout are the events, and nothing else.
    if report.file.is_none() {
        out.remark(format!("{} events exported", count(report.events)));
        return Ok(());
    }
    out.show(&report, |report| {
        let file = report.file.as_deref().unwrap_or("-");
        format!("{} events exported to {file}", count(report.events))
    })
}
