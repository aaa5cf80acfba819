//! `rehome store ...`

use std::fmt::Write as _;

use rehome_api::{DamagedTenant, StoreAdoption, StoreCheck, StoreVerification, Violation};
use rehome_app::{
    AppError, CancellationToken, Kind, StoreVerifyRequest, adoption, store_verify, stores,
};
use rehome_observe::Observed;

use crate::args::{StoreCommand, VerifyStore};
use crate::operate::{Reach, Signals, Task, open, stop_on_signal};
use crate::output::{Counter, Out, cell, count, table};

pub(super) async fn run(out: Out, reach: &Reach, command: StoreCommand) -> Result<(), AppError> {
    match command {
        StoreCommand::Check { id } => {
            let deployment = reach.open(out).await?;
            let report = deployment.check_stores(id.as_ref()).await?;
            deployment.close().await;
            out.show(&report, |report| {
                let stores: Vec<_> = report.stores.iter().map(words).collect();
                stores.join("\n")
            })?;
            let bad: Vec<_> = report
                .stores
                .iter()
                .filter(|store| !store.ok)
                .flat_map(|store| store.problems.iter().map(|problem| about(&store.id, problem)))
                .collect();
            if bad.is_empty() {
                Ok(())
            } else {
                Err(AppError::failed("store_not_fit", bad.join("\n")))
            }
        }
        StoreCommand::Cordon { id, why } => {
            let deployment = reach.open(out).await?;
            let notice = deployment.cordon(&id, Some(why.as_deref().unwrap_or_default())).await?;
            deployment.close().await;
            out.show(&notice, |notice| {
                format!("store \"{}\" accepts no new tenants and no arrivals", notice.what)
            })
        }
        StoreCommand::Uncordon { id } => {
            let deployment = reach.open(out).await?;
            let notice = deployment.cordon(&id, None).await?;
            deployment.close().await;
            out.show(&notice, |notice| format!("store \"{}\" accepts tenants", notice.what))
        }
        StoreCommand::Adopt { id, dry_run, yes } => {
            let config =
                reach.stores("store adopt", "it installs the guard in the store's database")?;
            if !dry_run {
                let what = format!(
                    "This installs the guard on the table of store \"{id}\"; --dry-run prints what it is."
                );
                out.confirm(yes, &what)?;
            }
            let adoption = adoption::adopt(config, &id, dry_run).await?;
            out.show(&adoption, |adoption| match (adoption.changed, adoption.installed) {
                (true, _) => format!("{}\nstore \"{id}\" is adopted", steps(adoption)),
                (false, true) => format!("store \"{id}\" is already adopted"),
                (false, false) => format!("{}\nnothing was installed", steps(adoption)),
            })
        }
        StoreCommand::Release { id, no_writers_left, reason, yes } => {
            let why_here = "it removes the guard from the store's database";
            let config = reach.stores("store release", why_here)?;
            out.confirm(yes, &format!("This removes the guard from the table of store \"{id}\"."))?;
            let released = adoption::release(config, &id, no_writers_left, reason.as_deref()).await;
            out.show(&released?, |adoption| {
                format!("{}\nstore \"{id}\" is released", steps(adoption))
            })
        }
        StoreCommand::Verify(asked) => verify(out, reach, asked).await,
        StoreCommand::Create { id } => {
            let why = "it creates the store's file, or its schema";
            let config = reach.stores("store create", why)?;
            let deployment = Observed::create_store(config, &id).await?;
            let report = stores::check(&deployment, Some(&id)).await?;
            deployment.close().await;
            out.show(&report, |_| format!("store \"{id}\" was created"))
        }
        // Done already: it needs neither stores nor a server.
        StoreCommand::Layout(_) => Ok(()),
    }
}

fn steps(adoption: &StoreAdoption) -> String {
    let steps = adoption.steps.iter().map(|step| format!("  {step}"));
    steps.collect::<Vec<_>>().join("\n")
}

async fn verify(out: Out, reach: &Reach, asked: VerifyStore) -> Result<(), AppError> {
    let VerifyStore { id: store, tenant, level, rate: rate_max, after } = asked;
    let request = StoreVerifyRequest { store, tenant, level, rate_max, after };
    let deployment = open(reach.stores("store verify", "it reads the store directly")?).await?;
    let stop = CancellationToken::new();
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
    let mut counter = Counter::new(out, "checked");
    let report =
        store_verify::verify(&deployment, &request, &stop, |events, _| counter.show(events, None));
    let report = report.await;
    drop((counter, signals));
    deployment.close().await;
    let report = report?;
    out.show(&report, verified)?;
    if let Some(first) = report.damaged.first() {
        let message = format!(
            "store \"{}\" has damage in {} of {} tenants; the first is of tenant {}: {}",
            report.store,
            count(report.damaged_total),
            count(report.tenants_checked),
            first.tenant_id,
            damage_words(first)
        );
        return Err(AppError::new(Kind::Violated, "damaged", message));
    }
    match report.next.filter(|_| !report.complete) {
        Some(next) => {
            Err(AppError::failed("stopped", format!("stopped; continue with --after {next}")))
        }
        None if !report.complete => {
            Err(AppError::failed("stopped", "stopped before anything was checked"))
        }
        None => Ok(()),
    }
}

fn verified(report: &StoreVerification) -> String {
    let mut text = format!(
        "{}: {} events of {} tenants of store \"{}\" checked (level {}){}",
        if report.ok { "ok" } else { "NOT OK" },
        count(report.events_checked),
        count(report.tenants_checked),
        report.store,
        report.level,
        if report.complete { "" } else { ", not to the end" }
    );
    if !report.ok {
        let rows = report.damaged.iter().map(|one| {
            let damage = &one.damage;
            let seq = damage.seq.map(|seq| seq.to_string()).unwrap_or_default();
            [one.tenant_id.to_string(), damage.kind.clone(), seq, damage_words(one)]
        });
        text += "\n";
        text += &table(["TENANT", "DAMAGE", "SEQ", "WHAT"], &[2], rows);
    }
    text
}

fn damage_words(one: &DamagedTenant) -> String {
    let Violation { seq, stream_type, stream_id, detail, .. } = &one.damage;
    let seq = seq.map(|seq| format!("seq {seq}, ")).unwrap_or_default();
    let stream = match (stream_type, stream_id) {
        (Some(kind), Some(id)) => format!("stream {kind}/{id}: "),
        _ => String::new(),
    };
    format!("{seq}{stream}{detail}")
}

/// Most problems name the store by themselves.
fn about(store: &str, problem: &str) -> String {
    let named = format!("store \"{store}\"");
    if problem.starts_with(&named) { problem.to_owned() } else { format!("{named}: {problem}") }
}

fn words(store: &StoreCheck) -> String {
    let mut text = format!(
        "store \"{}\"{}: {}\n",
        store.id,
        if store.default { " (default)" } else { "" },
        if store.ok { "ok" } else { "NOT OK" }
    );
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {name:<12}{}", cell(&value));
        }
    };
    row("url", Some(store.url.clone()));
    row("engine", store.engine.clone());
    row("format", store.format.map(|format| format.to_string()));
    row("durability", store.durability.clone());
    row("clock", store.clock_skew_ms.map(|ms| format!("{ms} ms off")));
    row("deployment", store.deployment.clone());
    row("tenants", store.tenants_total.map(count));
    for problem in &store.problems {
        row("problem", Some(problem.clone()));
    }
    if !store.tenants.is_empty() {
        let rows = store.tenants.iter().map(|tenant| {
            [
                format!("  {}", tenant.tenant_id),
                tenant.role.clone(),
                if tenant.authority { "authority" } else { "" }.to_owned(),
                tenant.epoch.to_string(),
                count(tenant.seq),
            ]
        });
        text += &table(["  TENANT", "ROLE", "", "EPOCH", "EVENTS"], &[3, 4], rows);
        text.push('\n');
    }
    text
}
