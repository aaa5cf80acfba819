//! `rehome store ...`

use std::fmt::Write as _;

use rehome_api::StoreCheck;
use rehome_app::{AppError, Deployment};

use crate::args::StoreCommand;
use crate::operate::Reach;
use crate::output::{Out, cell, count, table};

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
        StoreCommand::Create { id } => {
            let why = "it makes the store's file, or its schema";
            let config = reach.stores("store create", why)?;
            let deployment = Deployment::create_store(config, &id).await?;
            let report = deployment.check_stores(Some(&id)).await?;
            deployment.close().await;
            out.show(&report, |_| format!("store \"{id}\" was made"))
        }
    }
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
