//! `rehome drain ...`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use rehome_api::drain::{
    Drain, DrainPlan, DrainRequest, DrainRetry, DrainStart, DrainTenant, DrainTuning,
};
use rehome_app::{AppError, Kind};
use rehome_domain::ids::{DrainId, TenantId};
use rehome_domain::layout::tenant_of;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::args::{Asked, DrainCommand, Tune};
use crate::operate::fleet::Act;
use crate::operate::{Operate, Reach};
use crate::output::terminal::Bar;
use crate::output::{Out, Style, cell, changes, count, duration, line, table};

/// Tenants that a plan shows to people; all are in the document.
const SHOWN: usize = 40;

pub(super) async fn run(out: Out, reach: &Reach, command: DrainCommand) -> Result<(), AppError> {
    match command {
        DrainCommand::Plan { asked, output, yes } => {
            let request = request(*asked)?;
            if let Some(file) = &output {
                out.may_replace(yes, file)?;
            }
            let deployment = reach.open(out).await?;
            let plan = deployment.plan_drain(&request).await?;
            deployment.close().await;
            if let Some(file) = output {
                write(&file, &plan)?;
                out.remark(format!("the plan was written to {}", file.display()));
            }
            out.show(&plan, plan_words)
        }
        DrainCommand::Start { asked, plan, detach, yes, why } => {
            let (request, plan) = match plan {
                Some(file) => (None, Some(read(&file)?)),
                None => (Some(request(*asked)?), None),
            };
            out.confirm(yes, &begins(request.as_ref(), plan.as_ref()))?;
            let start = DrainStart { request, plan, ..DrainStart::default() };
            let deployment = reach.open(out).await?;
            let drain = deployment.start_drain(&start, why.why()).await?;
            if detach || deployment.is_remote() {
                deployment.close().await;
                return out.show(&drain, words);
            }
            out.remark(format!("drain {} was started; Ctrl-C stops the work on it here", drain.id));
            follow(out, &*deployment, DrainId::new(drain.id), true).await
        }
        DrainCommand::List { open, limit } => {
            let deployment = reach.open(out).await?;
            let drains = deployment.drains(open, limit).await?;
            deployment.close().await;
            out.show(&drains, |drains| {
                let rows = drains.iter().map(|drain| {
                    let to: Vec<_> = drain.to.iter().map(|to| to.store.as_str()).collect();
                    let way = format!("{} to {}", drain.from.join(", "), to.join(", "));
                    let done = format!("{} of {}", count(drain.moved), count(drain.tenants));
                    [drain.id.to_string(), drain.state.clone(), way, done, drain.needs.join("; ")]
                });
                table(["DRAIN", "STATE", "WAY", "MOVED", "NEEDS YOU"], &[], rows)
            })
        }
        DrainCommand::Show { id, state } => {
            let deployment = reach.open(out).await?;
            let shown = match state {
                None => out.show(&deployment.drain(id).await?, words),
                Some(state) => tenants(out, &*deployment, id, &state).await,
            };
            deployment.close().await;
            shown
        }
        DrainCommand::Watch { id } => {
            let deployment = reach.open(out).await?;
            follow(out, &*deployment, id, false).await
        }
        DrainCommand::Pause(one) => act(out, reach, one.id, Act::Pause, one.why.why()).await,
        DrainCommand::Resume(one) => act(out, reach, one.id, Act::Resume, one.why.why()).await,
        DrainCommand::Cancel { drain: one, yes } => {
            let id = one.id;
            out.confirm(
                yes,
                &format!(
                    "This ends drain {id} and aborts its running moves; it cannot be resumed."
                ),
            )?;
            act(out, reach, id, Act::Cancel, one.why.why()).await
        }
        DrainCommand::Tune(tune) => {
            let Tune { id, to, settings, options, why } = *tune;
            let tuning = DrainTuning {
                to: (!to.is_empty()).then_some(to),
                settings: settings.document(),
                options: options.patch()?,
                reason: None,
            };
            let deployment = reach.open(out).await?;
            let before = deployment.drain(id).await?;
            let drain = deployment.tune_drain(id, &tuning, why.why()).await?;
            deployment.close().await;
            out.show(&drain, |drain| tuned(&before, drain))
        }
        DrainCommand::Retry { id, tenant, why } => {
            let tenants = tenant.into_iter().map(TenantId::uuid).collect();
            let retry = DrainRetry { tenants, reason: None };
            let deployment = reach.open(out).await?;
            let drain = deployment.retry_drain(id, &retry, why.why()).await?;
            deployment.close().await;
            out.show(&drain, words)
        }
    }
}

async fn act(
    out: Out,
    reach: &Reach,
    id: DrainId,
    act: Act,
    why: Option<&str>,
) -> Result<(), AppError> {
    let deployment = reach.open(out).await?;
    let drain = deployment.act_on_drain(id, act, why).await?;
    deployment.close().await;
    out.show(&drain, words)
}

/// Watches a drain: a document per change for programs, a line for people.
async fn follow(
    out: Out,
    deployment: &dyn Operate,
    id: DrainId,
    work: bool,
) -> Result<(), AppError> {
    let (mut last, mut bar) = (String::new(), None);
    let drain = deployment
        .follow_drain(id, work, &mut |drain| {
            let now = progress(drain);
            if out.progress() == Style::Bars && !out.is_json() {
                draw(bar.get_or_insert_with(|| Bar::new(true)), drain);
                return;
            }
            if now != last {
                if out.is_json() {
                    // The reader is gone: the work continues.
                    let _ = line(drain);
                } else {
                    out.remark(&now);
                }
                last = now;
            }
        })
        .await;
    if let Some(bar) = bar {
        bar.end();
    }
    let drain = drain?;
    if !out.is_json() {
        out.show(&drain, words)?;
    }
    let (set_aside, state) = (drain.set_aside, drain.state.as_str());
    match state {
        "finished" if set_aside == 0 => Ok(()),
        "finished" => Err(AppError::failed(
            "set_aside",
            format!(
                "{set_aside} {} set aside; see `rehome drain show {id} --state set_aside`",
                if set_aside == 1 { "tenant was" } else { "tenants were" }
            ),
        )),
        "cancelled" => Ok(()),
        _ => Err(AppError::failed(
            "stopped",
            format!("drain {id} is {state}; `rehome migration drive` and servers work on it"),
        )),
    }
}

/// What a start does, for the question before it.
fn begins(request: Option<&DrainRequest>, plan: Option<&DrainPlan>) -> String {
    match (request, plan) {
        (Some(request), _) => {
            format!("This starts to move the tenants of {}.", request.from.join(", "))
        }
        (None, Some(plan)) => format!("This starts the plan: {} tenants move.", count(plan.moves)),
        (None, None) => "This starts a drain.".to_owned(),
    }
}

fn draw(bar: &Bar, drain: &Drain) {
    bar.at(drain.moved, drain.tenants);
    bar.prefix(&drain.state);
    bar.message(&numbers(drain));
    bar.tick();
}

fn progress(drain: &Drain) -> String {
    format!("{}: {}", drain.state, numbers(drain))
}

fn numbers(drain: &Drain) -> String {
    let mut text = format!(
        "{} of {} tenants moved, {} moving, {} waiting",
        count(drain.moved),
        count(drain.tenants),
        count(drain.moving),
        count(drain.waiting)
    );
    if drain.again + drain.set_aside > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {} set aside", count(drain.again + drain.set_aside));
    }
    if let Some(eta) = drain.eta_seconds {
        let _ = write!(text, ", {} left", duration(eta));
    }
    text
}

fn words(drain: &Drain) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12}{}", cell(&value));
    };
    row("drain", drain.id.to_string());
    row("state", progress(drain));
    if let Some(at) = drain.last_seen_at {
        row("as of", format!("{at}; the control plane does not answer"));
    }
    row("from", drain.from.join(", "));
    row("to", targets(drain));
    row("events", format!("{} of {} moved", count(drain.events_moved), count(drain.events)));
    if let Some(rate) = drain.tenants_per_second {
        row("rate", format!("{rate:.2} tenants/s"));
    }
    if let Some(opens) = drain.window_opens_at {
        row("window", format!("closed; it opens at {opens}"));
    }
    row("stays", format!("{} tenants", count(drain.stays)));
    row("failures", drain.failures.to_string());
    row(
        "workers",
        if drain.workers.is_empty() { "none".to_owned() } else { drain.workers.join(", ") },
    );
    row("started", format!("{} by {}", drain.created_at, drain.created_by));
    for need in &drain.needs {
        row("needs you", need.clone());
    }
    if let Some(statement) = &drain.statement {
        let ended = drain.ended_at.map(|at| at.to_string()).unwrap_or_default();
        row("ended", ended);
        row(
            "statement",
            format!(
                "{} moved, each compared with its source before its switch; {} set aside, {} stay, {} not \
                 begun",
                count(statement.moved),
                count(statement.set_aside),
                count(statement.stays),
                count(statement.not_begun)
            ),
        );
        let off = if statement.can_be_switched_off { "yes" } else { "no" };
        row(
            "switch off",
            format!(
                "{off}: {}",
                if statement.why_not.is_empty() {
                    format!("{} has no tenant and no rollback window", drain.from.join(", "))
                } else {
                    statement.why_not.join("; ")
                }
            ),
        );
    }
    text
}

/// What a change of a drain changed: its targets, its settings, the options of its migrations.
fn tuned(before: &Drain, after: &Drain) -> String {
    let all = |drain: &Drain| {
        let settings = fields("", &drain.settings);
        // Some have the names of settings.
        let options = fields("options.", &drain.options);
        let targets = ("to".to_owned(), Value::from(targets(drain)));
        [settings, options].concat().into_iter().chain([targets]).collect::<BTreeMap<_, _>>()
    };
    changes(&all(before), &all(after))
}

/// The fields of a document, each with what comes before its name.
fn fields(before: &str, document: &impl Serialize) -> Vec<(String, Value)> {
    match serde_json::to_value(document) {
        Ok(Value::Object(fields)) => {
            fields.into_iter().map(|(name, value)| (format!("{before}{name}"), value)).collect()
        }
        _ => Vec::new(),
    }
}

fn targets(drain: &Drain) -> String {
    let to: Vec<_> = drain.to.iter().map(|to| format!("{} ({})", to.store, to.weight)).collect();
    to.join(", ")
}

fn plan_words(plan: &DrainPlan) -> String {
    let mut text = format!(
        "{} tenants with {} events move, {} stay; about {}\n",
        count(plan.moves),
        count(plan.events),
        count(plan.stays),
        duration(plan.seconds)
    );
    if let Some(opens) = plan.opens_at {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "cutovers begin when the window opens, at {opens}");
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "note: {}", cell(warning));
    }
    text.push('\n');
    text += &rows(plan.tenants.iter().take(SHOWN));
    if plan.tenants.len() > SHOWN {
        let _ = write!(
            text,
            "\n... and {} more; --json and --output list all",
            count((plan.tenants.len() - SHOWN) as u64)
        );
    }
    text
}

fn rows<'a>(tenants: impl Iterator<Item = &'a DrainTenant>) -> String {
    let rows = tenants.map(|row| {
        let target = row.target_store.clone().unwrap_or_default();
        let state = row.stay.clone().unwrap_or_else(|| row.state.clone());
        let why = row.why.clone().unwrap_or_default();
        let time = if row.stay.is_some() { String::new() } else { format!("{:.1} s", row.seconds) };
        [row.tenant_id.to_string(), state, target, count(row.events), time, why]
    });
    table(["TENANT", "STATE", "TO", "EVENTS", "TAKES", "WHY"], &[3, 4], rows)
}

/// All tenants of a drain in one state.
async fn tenants(
    out: Out,
    deployment: &dyn Operate,
    id: DrainId,
    state: &str,
) -> Result<(), AppError> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = deployment.drain_tenants(id, Some(state), after).await?;
        found.extend(page.tenants);
        match page.next_after {
            Some(next) => after = next,
            None => break,
        }
    }
    out.show(&found, |found| rows(found.iter()))
}

fn request(asked: Asked) -> Result<DrainRequest, AppError> {
    let tenants = asked.tenants.as_deref().map(listed).transpose()?.unwrap_or_default();
    Ok(DrainRequest {
        from: asked.from.iter().map(ToString::to_string).collect(),
        to: asked.to,
        tenants,
        exclude: asked.exclude.into_iter().map(TenantId::uuid).collect(),
        settings: asked.settings.document(),
        options: asked.options.patch()?,
    })
}

/// The tenants of a file, one per line, by UUID or by name; text after # is ignored.
fn listed(file: &Path) -> Result<Vec<Uuid>, AppError> {
    let text = text(file)?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let tenants: Vec<_> = lines
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().unwrap_or_else(|_| tenant_of(line).uuid()))
        .collect();
    if tenants.is_empty() {
        let message = format!("{} names no tenant", file.display());
        return Err(AppError::new(Kind::Usage, "no_tenants", message));
    }
    Ok(tenants)
}

fn text(file: &Path) -> Result<String, AppError> {
    let failed = |error: std::io::Error| {
        AppError::failed("unreadable", format!("cannot read {}: {error}", file.display()))
    };
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(failed)
}

fn read(file: &Path) -> Result<DrainPlan, AppError> {
    serde_json::from_str(&text(file)?).map_err(|error| {
        let message = format!("{} is not a plan of a drain: {error}", file.display());
        AppError::new(Kind::Usage, "bad_plan", message)
    })
}

fn write(file: &Path, plan: &DrainPlan) -> Result<(), AppError> {
    let failed = |error: String| {
        AppError::failed("unwritable", format!("cannot write {}: {error}", file.display()))
    };
    let text = serde_json::to_string_pretty(plan).map_err(|error| failed(error.to_string()))?;
    std::fs::write(file, text).map_err(|error| failed(error.to_string()))
}
