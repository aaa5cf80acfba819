//! `rehome migration ...`

use std::time::Duration;

use rehome_api::{Baseline, LogEntry, Migration, OptionsPatch, Verification};
use rehome_app::migrations::{Goal, Resumed, StartRequest, VerifyRequest};
use rehome_app::{AppError, Config, Deployment, Kind};
use rehome_domain::ids::MigrationId;

use super::drive::{drive, drive_all, watched};
use super::open;
use crate::args::{self, Look, MigrationCommand, OneMigration};
use crate::output::{Out, View, count, details, line, list, table};

/// How often a migration is looked at while it is watched.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn run(
    out: Out,
    config: &Config,
    command: MigrationCommand,
) -> Result<(), AppError> {
    let deployment = open(config).await?;
    let done = dispatch(out, &deployment, command).await;
    deployment.close().await;
    done
}

async fn dispatch(
    out: Out,
    deployment: &Deployment,
    command: MigrationCommand,
) -> Result<(), AppError> {
    match command {
        MigrationCommand::Start(start) => {
            let args::Start { tenant, to, goal, options } = *start;
            let request = StartRequest { tenant, target: to, options: options.patch()? };
            let id = deployment.start(&request, None).await?.id;
            out.remark(format!("migration {id} started"));
            migrate(out, deployment, id, goal).await
        }
        MigrationCommand::List { state, tenant, limit } => {
            out.show(&deployment.migrations(tenant, state, None, limit).await?, |found| list(found))
        }
        MigrationCommand::Show(OneMigration { id }) => show(out, deployment, id).await,
        MigrationCommand::Watch(OneMigration { id }) => watch(out, deployment, id).await,
        MigrationCommand::Log(look) => log(out, deployment, look).await,
        MigrationCommand::Pause(OneMigration { id }) => {
            deployment.pause(id).await?;
            end(out, &deployment.migration(id).await?)
        }
        MigrationCommand::Resume { migration, keep_window } => {
            resume(out, deployment, migration.id, keep_window).await
        }
        MigrationCommand::Drive => {
            drive_all(out, deployment).await;
            Ok(())
        }
        MigrationCommand::Cutover(OneMigration { id }) => cutover(out, deployment, id).await,
        MigrationCommand::Abort { migration, purge_target } => {
            abort(out, deployment, migration.id, purge_target).await
        }
        MigrationCommand::Acknowledge(OneMigration { id }) => {
            deployment.acknowledge(id).await?;
            end(out, &deployment.migration(id).await?)
        }
        MigrationCommand::Baseline { migration: OneMigration { id }, window, show } => {
            let baseline = if show {
                let kept = deployment.baseline(id).await?;
                kept.ok_or_else(|| {
                    let message = "no baseline was taken; `rehome migration baseline ID` takes one";
                    AppError::new(Kind::NotFound, "no_baseline", message).migration(id)
                })?
            } else {
                deployment.take_baseline(id, Duration::from_millis(window.0)).await?
            };
            out.show(&baseline, baseline_words)
        }
        MigrationCommand::Verify(verify) => verification(out, deployment, verify).await,
        MigrationCommand::Tune { migration, options } => {
            tune(out, deployment, migration.id, &options.patch()?).await
        }
        MigrationCommand::Return { migration, goal, options } => {
            let back = deployment.start_return(migration.id, &options.patch()?, None).await?;
            out.remark(format!("migration {} back to \"{}\" started", back.id, back.target));
            migrate(out, deployment, back.id, goal).await
        }
    }
}

/// Works on it until the tenant lives in the target, and longer if that is asked for.
async fn migrate(
    out: Out,
    deployment: &Deployment,
    id: MigrationId,
    goal: args::Goal,
) -> Result<(), AppError> {
    let migrated = drive(out, deployment, id, Goal::Migrated).await?;
    let window = deployment.migration_options(id).await?.rollback_window;
    if window.0 == 0 {
        return end(out, &migrated);
    }
    if goal.keep_window {
        out.remark(format!("migrated; keeping the old source level for {window}"));
        let over = drive(out, deployment, id, Goal::NothingLeft).await?;
        return end(out, &over);
    }
    out.remark(format!(
        "`rehome migration return {id}` moves the tenant back within {window}; until then \
         `rehome migration resume {id} --keep-window` keeps the old source level"
    ));
    end(out, &migrated)
}

async fn resume(
    out: Out,
    deployment: &Deployment,
    id: MigrationId,
    keep_window: bool,
) -> Result<(), AppError> {
    match deployment.resume(id, keep_window).await? {
        Resumed::ByAnother(holder) => {
            out.remark(format!("resumed; {holder} goes on with it"));
            end(out, &deployment.migration(id).await?)
        }
        Resumed::Here => {
            out.remark(format!("nobody works on migration {id}; this process goes on with it"));
            let state = deployment.migration(id).await?.state;
            if matches!(state.as_str(), "migrated" | "rolled_back") {
                let over = drive(out, deployment, id, Goal::NothingLeft).await?;
                return end(out, &over);
            }
            migrate(out, deployment, id, args::Goal { wait: true, keep_window }).await
        }
    }
}

async fn cutover(out: Out, deployment: &Deployment, id: MigrationId) -> Result<(), AppError> {
    let asked = deployment.request_cutover(id).await?;
    out.remark("cutover asked for");
    let goal = Goal::CutOver { attempts: asked.cutover_attempts };
    end(out, &drive(out, deployment, id, goal).await?)
}

async fn abort(
    out: Out,
    deployment: &Deployment,
    id: MigrationId,
    purge: bool,
) -> Result<(), AppError> {
    deployment.abort(id, purge).await?;
    let worked = watched(out, deployment, id, |deployment, stop| async move {
        deployment.clean_up(id, &stop).await
    });
    worked.await?.verdict(Goal::NothingLeft)?;
    end(out, &deployment.migration(id).await?)
}

async fn show(out: Out, deployment: &Deployment, id: MigrationId) -> Result<(), AppError> {
    let migration = deployment.migration(id).await?;
    let options = deployment.migration_options(id).await?;
    let worker = deployment.lease(id).await?;
    out.show(&migration, |migration| details(migration, Some(&options), worker.as_deref()))
}

/// The last word of a command.
fn end(out: Out, migration: &Migration) -> Result<(), AppError> {
    out.show(migration, |migration| details(migration, None, None))
}

async fn watch(out: Out, deployment: &Deployment, id: MigrationId) -> Result<(), AppError> {
    if out.is_json() {
        let mut written = Ok(());
        deployment
            .watch(id, LOOK_EVERY, |migration| {
                written = line(migration);
                written.is_ok()
            })
            .await?;
        return written;
    }
    let mut view = View::new(out);
    let last = deployment
        .watch(id, LOOK_EVERY, |migration| {
            view.show(migration);
            true
        })
        .await?;
    drop(view);
    end(out, &last)
}

async fn log(out: Out, deployment: &Deployment, look: Look) -> Result<(), AppError> {
    let Look { id, follow } = look;
    let mut after = 0;
    loop {
        // Looked at first, so that what was recorded before the end is shown.
        let state = deployment.migration(id).await?.state;
        let over = ["migrated", "failed", "rolled_back"].contains(&state.as_str());
        loop {
            let entries = deployment.log(id, after).await?;
            let Some(last) = entries.last() else { break };
            after = last.index;
            for entry in &entries {
                out.show(entry, entry_words)?;
            }
        }
        if !follow || over {
            return Ok(());
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
    format!("{at}  {event:<20} {}  ({actor}{reason})", details.join(" "))
}

async fn tune(
    out: Out,
    deployment: &Deployment,
    id: MigrationId,
    patch: &OptionsPatch,
) -> Result<(), AppError> {
    if patch.is_empty() {
        let message = "nothing to change was named; see `rehome migration tune --help`";
        return Err(AppError::new(Kind::Usage, "bad_usage", message));
    }
    let options = deployment.tune(id, patch).await?;
    out.show(&options, |options| {
        let document = serde_json::to_value(options).unwrap_or_default();
        let rows = document.as_object().into_iter().flatten().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            [name.clone(), value]
        });
        table(["OPTION", "VALUE"], &[], rows)
    })
}

fn baseline_words(baseline: &Baseline) -> String {
    let ms = |value: Option<f64>| {
        value.map_or_else(|| "unknown".to_owned(), |value| format!("{value} ms"))
    };
    let mut text = format!(
        "taken      {}, while {}\nrate       {} events/s over {} s\nappend     p50 {}, p99 {}{}",
        baseline.taken_at,
        baseline.state,
        baseline.events_per_s,
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
    deployment: &Deployment,
    args: args::Verify,
) -> Result<(), AppError> {
    let args::Verify { id, level, sample, after_seq, rate_max } = args;
    let request = VerifyRequest { level, sample, after_seq, rate_max };
    let report = deployment.verify(id, request).await?;
    out.show(&report, words)?;
    if report.ok {
        return Ok(());
    }
    let message = format!(
        "{} violations found: store \"{}\" does not hold what store \"{}\" does",
        report.violations_total, report.copy, report.authority
    );
    Err(AppError::new(Kind::Violated, "violations", message).migration(id))
}

fn words(report: &Verification) -> String {
    let mut text = format!(
        "{}: {} events of store \"{}\" looked at beside store \"{}\" (level {}, up to seq {})",
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
