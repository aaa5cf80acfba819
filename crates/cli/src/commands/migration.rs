//! `rehome migration ...`

use std::time::Duration;

use rehome_api::duration::Millis;
use rehome_api::number::counted;
use rehome_api::{Baseline, LogEntry, Migration, Options, OptionsPatch, Verification};
use rehome_app::migrations::{Goal, Resumed, StartRequest, VerifyRequest};
use rehome_app::{AppError, Kind, MigrationsWanted};
use rehome_domain::ids::MigrationId;

use crate::args::{self, Changing, Look, MigrationCommand, OneMigration};
use crate::operate::{Operate, Reach, drive_all, open};
use crate::output::{Out, View, cell, changes, count, details, line, list, rate, table};

/// The polling interval of a followed log.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn run(
    out: Out,
    reach: &Reach,
    command: MigrationCommand,
) -> Result<(), AppError> {
    if matches!(command, MigrationCommand::Drive) {
        let config = reach.stores("migration drive", "a server always works on migrations")?;
        let deployment = open(config).await?;
        drive_all(out, &deployment).await;
        deployment.close().await;
        return Ok(());
    }
    let deployment = reach.open(out).await?;
    let done = dispatch(out, &*deployment, command).await;
    deployment.close().await;
    done
}

async fn dispatch(
    out: Out,
    deployment: &dyn Operate,
    command: MigrationCommand,
) -> Result<(), AppError> {
    match command {
        MigrationCommand::Start(start) => {
            let args::Start { tenant, to, goal, why, options } = *start;
            let request = StartRequest { tenant, target: to, options: options.patch()? };
            let started = deployment.start(&request, why.why()).await?;
            announce(out, deployment, &started).await;
            begun(out, deployment, &started, goal).await
        }
        MigrationCommand::List { state, tenant, search, store, needs_you, limit } => {
            let (phase, before) = (state, None);
            let wanted =
                MigrationsWanted { tenant, search, phase, store, needs_you, before, limit };
            out.show(&deployment.migrations(&wanted).await?, |found| list(found))
        }
        MigrationCommand::Show(OneMigration { id }) => show(out, deployment, id).await,
        MigrationCommand::Watch(OneMigration { id }) => watch(out, deployment, id).await,
        MigrationCommand::Log(look) => log(out, deployment, look).await,
        MigrationCommand::Pause(Changing { id, why }) => {
            deployment.pause(id, why.why()).await?;
            end(out, &deployment.migration(id).await?)
        }
        MigrationCommand::Resume { migration, keep_window } => {
            resume(out, deployment, &migration, keep_window).await
        }
        // Done above: no server does it.
        MigrationCommand::Drive => Ok(()),
        MigrationCommand::Cutover { migration: Changing { id, why }, withdraw: true } => {
            deployment.withdraw(id, why.why()).await?;
            out.remark("the cutover is withdrawn; `rehome migration cutover` requests it again");
            end(out, &deployment.migration(id).await?)
        }
        MigrationCommand::Cutover { migration, withdraw: false } => {
            cutover(out, deployment, &migration).await
        }
        MigrationCommand::Abort { migration: Changing { id, why }, purge_target, yes } => {
            let purges = if purge_target { ", and its copy in the target is removed" } else { "" };
            let what = format!(
                "This aborts migration {id}: it cannot be resumed{purges}. The tenant stays at the source."
            );
            out.confirm(yes, &what)?;
            deployment.abort(id, purge_target, why.why()).await?;
            end(out, &deployment.clean_up(id).await?)
        }
        MigrationCommand::Repair(Changing { id, why }) => {
            deployment.repair(id, why.why()).await?;
            out.remark("repair requested");
            end(out, &deployment.reach(id, Goal::Repaired).await?)
        }
        MigrationCommand::Acknowledge(Changing { id, why }) => {
            deployment.acknowledge(id, why.why()).await?;
            end(out, &deployment.migration(id).await?)
        }
        MigrationCommand::Baseline { migration: OneMigration { id }, window, show } => {
            let baseline = if show {
                deployment.baseline(id).await?
            } else {
                deployment.take_baseline(id, Duration::from_millis(window.0)).await?
            };
            out.show(&baseline, baseline_words)
        }
        MigrationCommand::Verify(verify) => verification(out, deployment, verify).await,
        MigrationCommand::Tune { migration, options } => {
            tune(out, deployment, &migration, &options.patch()?).await
        }
        MigrationCommand::Return { migration: Changing { id, why }, goal, options } => {
            let back = deployment.start_return(id, &options.patch()?, why.why()).await?;
            announce(out, deployment, &back).await;
            begun(out, deployment, &back, goal).await
        }
    }
}

/// That it has started, and what will happen. It has started even if its options cannot be read now.
async fn announce(out: Out, deployment: &dyn Operate, started: &Migration) {
    out.remark(match deployment.options(MigrationId::new(started.id)).await {
        Ok(options) => will_happen(started, &options),
        Err(_) => format!("migration {} started", started.id),
    });
}

/// What a migration that has started will do by itself, and what not.
fn will_happen(started: &Migration, options: &Options) -> String {
    let Migration { id, source_store: source, target_store: target, .. } = started;
    let switch = match options.cutover.as_str() {
        "auto" => "it switches once it is verified".to_owned(),
        "manual" => format!("it waits for `rehome migration cutover {id}` once it is verified"),
        time => format!("it switches once it is verified, not before {time}"),
    };
    let back = match options.rollback_window {
        Millis(0) => "the tenant cannot return afterwards".to_owned(),
        window => format!("the tenant can return for {window} afterwards"),
    };
    format!("migration {id} started, \"{source}\" to \"{target}\": {switch}; {back}")
}

/// Waits for the started migration, unless a server works on it and `--wait` is not given.
async fn begun(
    out: Out,
    deployment: &dyn Operate,
    started: &Migration,
    goal: args::Goal,
) -> Result<(), AppError> {
    let id = MigrationId::new(started.id);
    if deployment.is_remote() && !(goal.wait || goal.keep_window) {
        out.remark(format!(
            "the server works on it; `rehome migration watch {id}` shows its progress"
        ));
        return end(out, started);
    }
    migrate(out, deployment, id, goal).await
}

/// Works on it until the tenant lives in the target, and longer if requested.
async fn migrate(
    out: Out,
    deployment: &dyn Operate,
    id: MigrationId,
    goal: args::Goal,
) -> Result<(), AppError> {
    let migrated = deployment.reach(id, Goal::Migrated).await?;
    let window = deployment.options(id).await?.rollback_window;
    if window.0 == 0 {
        return end(out, &migrated);
    }
    if goal.keep_window {
        out.remark(format!("switched; the old source stays up to date for {window}"));
        let over = deployment.reach(id, Goal::NothingLeft).await?;
        return end(out, &over);
    }
    if !deployment.is_remote() {
        out.remark(format!(
            "switched; the old source stays up to date while a server, `rehome migration drive` or \
             `rehome migration resume {id} --keep-window` runs"
        ));
    }
    end(out, &migrated)
}

async fn resume(
    out: Out,
    deployment: &dyn Operate,
    migration: &Changing,
    keep_window: bool,
) -> Result<(), AppError> {
    let id = migration.id;
    match deployment.resume(id, keep_window, migration.why.why()).await? {
        Resumed::ByAnother(holder) => {
            out.remark(format!("resumed; {holder} continues it"));
            end(out, &deployment.migration(id).await?)
        }
        Resumed::Here => {
            out.remark(format!("no process works on migration {id}; this process continues it"));
            let state = deployment.migration(id).await?.state;
            if matches!(state.as_str(), "migrated" | "rolled_back") {
                let over = deployment.reach(id, Goal::NothingLeft).await?;
                return end(out, &over);
            }
            migrate(out, deployment, id, args::Goal { wait: true, keep_window }).await
        }
    }
}

async fn cutover(out: Out, deployment: &dyn Operate, migration: &Changing) -> Result<(), AppError> {
    let goal = deployment.cutover(migration.id, migration.why.why()).await?;
    out.remark("cutover requested");
    end(out, &deployment.reach(migration.id, goal).await?)
}

async fn show(out: Out, deployment: &dyn Operate, id: MigrationId) -> Result<(), AppError> {
    let migration = deployment.migration(id).await?;
    let options = deployment.options(id).await?;
    let worker = deployment.worker(id).await?;
    out.show(&migration, |migration| details(migration, Some(&options), worker.as_deref()))
}

/// The last word of a command.
fn end(out: Out, migration: &Migration) -> Result<(), AppError> {
    out.show(migration, |migration| details(migration, None, None))
}

async fn watch(out: Out, deployment: &dyn Operate, id: MigrationId) -> Result<(), AppError> {
    if out.is_json() {
        let mut written = Ok(());
        let mut write = |migration: &Migration| {
            written = line(migration);
            written.is_ok()
        };
        deployment.watch(id, &mut write).await?;
        return written;
    }
    let mut view = View::new(out);
    let mut show = |migration: &Migration| {
        view.show(migration);
        true
    };
    let last = deployment.watch(id, &mut show).await?;
    drop(view);
    end(out, &last)
}

async fn log(out: Out, deployment: &dyn Operate, look: Look) -> Result<(), AppError> {
    let Look { id, follow } = look;
    let (mut after, mut broken) = (0, None);
    loop {
        // Read first, so that entries recorded before the end are shown.
        let state = deployment.migration(id).await?.state;
        let over = ["migrated", "failed", "rolled_back"].contains(&state.as_str());
        loop {
            let entries = deployment.log(id, after).await?;
            let Some(last) = entries.last() else { break };
            after = last.index;
            for entry in &entries {
                out.show(entry, entry_words)?;
                broken = broken.or_else(|| entry.chain_broken.clone());
            }
        }
        if !follow || over {
            return match broken {
                Some(broken) => {
                    Err(AppError::new(Kind::Violated, "chain_broken", broken).migration(id))
                }
                None => Ok(()),
            };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn entry_words(entry: &LogEntry) -> String {
    let details: Vec<_> = entry
        .details
        .iter()
        .filter(|(name, _)| *name != "options")
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}={text}"),
            None => format!("{name}={value}"),
        })
        .collect();
    let reason = entry.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    let LogEntry { at, event, actor, .. } = entry;
    let text = cell(&format!("{at}  {event:<20} {}  ({actor}{reason})", details.join(" ")));
    match &entry.chain_broken {
        Some(broken) => format!("{text}\n  BROKEN: {}", cell(broken)),
        None => text,
    }
}

async fn tune(
    out: Out,
    deployment: &dyn Operate,
    migration: &Changing,
    patch: &OptionsPatch,
) -> Result<(), AppError> {
    if patch.is_empty() {
        let message = "no option to change was given; see `rehome migration tune --help`";
        return Err(AppError::new(Kind::Usage, "bad_usage", message));
    }
    let before = deployment.options(migration.id).await?;
    let options = deployment.tune(migration.id, patch, migration.why.why()).await?;
    out.show(&options, |options| changes(&before, options))
}

fn baseline_words(baseline: &Baseline) -> String {
    let ms = |value: Option<f64>| {
        value.map_or_else(|| "unknown".to_owned(), |value| format!("{value} ms"))
    };
    let mut text = format!(
        "taken      {}, while {}\nrate       {} events/s over {} s\nappend     p50 {}, p99 {}{}",
        baseline.taken_at,
        baseline.state,
        rate(baseline.events_per_s),
        baseline.window_seconds,
        ms(baseline.append_p50_ms),
        ms(baseline.append_p99_ms),
        baseline.latency_from.as_deref().map(|who| format!(" (by {who})")).unwrap_or_default(),
    );
    if let Some(remark) = &baseline.remark {
        text += "\nremark     ";
        text += remark;
    }
    text
}

async fn verification(
    out: Out,
    deployment: &dyn Operate,
    args: args::Verify,
) -> Result<(), AppError> {
    let args::Verify { id, level, sample, after_seq, rate_max, why } = args;
    let request = VerifyRequest { level, sample, after_seq, rate_max };
    let report = deployment.verify(id, request, why.why()).await?;
    out.show(&report, words)?;
    if report.ok {
        return Ok(());
    }
    let next = report.open_violation.as_ref().map_or(String::new(), |open| format!("; {open}"));
    let message = format!(
        "{} found: store \"{}\" differs from store \"{}\"{next}",
        counted(report.violations_total, "violation"),
        report.copy,
        report.authority
    );
    Err(AppError::new(Kind::Violated, "violations", message).migration(id))
}

fn words(report: &Verification) -> String {
    let mut text = format!(
        "{}: {} events of store \"{}\" compared with store \"{}\" (level {}, up to seq {})",
        if report.ok { "ok" } else { "NOT OK" },
        count(report.events_checked),
        report.copy,
        report.authority,
        report.level,
        count(report.upto_seq)
    );
    if !report.ok {
        let rows = report.violations.iter().map(|violation| {
            let stream = match (&violation.stream_type, &violation.stream_id) {
                (Some(kind), Some(id)) => {
                    format!("{}/{}", kind.escape_debug(), id.escape_debug())
                }
                _ => String::new(),
            };
            let seq = violation.seq.map(|seq| seq.to_string()).unwrap_or_default();
            [violation.kind.clone(), seq, stream, violation.detail.clone()]
        });
        text += "\n";
        text += &table(["VIOLATION", "SEQ", "STREAM", "WHAT"], &[1], rows);
        let more = report.violations_total - report.violations.len() as u64;
        if more > 0 {
            text += "\nand more: ";
            text += &count(more);
        }
    }
    text
}
