//! `rehome tenant ...`

use std::fmt::Write as _;

use rehome_api::Tenant;
use rehome_app::{AppError, Deployment, Kind};
use rehome_domain::ids::TenantId;

use crate::args::TenantCommand;
use crate::operate::Reach;
use crate::output::{Out, cell, count, table};

pub(super) async fn run(out: Out, reach: &Reach, command: TenantCommand) -> Result<(), AppError> {
    match command {
        TenantCommand::Show { id, tenant } => {
            let tenant = one(id, tenant)?;
            let deployment = reach.open(out).await?;
            let found = deployment.tenant(tenant).await?;
            deployment.close().await;
            out.show(&found, words)
        }
        TenantCommand::Purge { id, tenant, store, close_window, why } => {
            let tenant = one(id, tenant)?;
            let deployment = reach.open(out).await?;
            let purged = deployment.purge(tenant, &store, close_window, why.why()).await?;
            deployment.close().await;
            out.show(&purged, |purged| {
                let events = count(purged.events_purged);
                format!("{events} events removed from store \"{}\"", purged.store)
            })
        }
        TenantCommand::Position { id, tenant, position, from, to } => {
            let tenant = one(id, tenant)?;
            let config = reach.stores("tenant position", "it reads the stores' tables")?;
            let found =
                Deployment::translate_position(config, tenant, position, &from, &to).await?;
            out.show(&found, |found| found.translated.to_string())
        }
    }
}

/// Said with or without the flag; the parser has seen to it that it was said.
fn one(id: Option<TenantId>, tenant: Option<TenantId>) -> Result<TenantId, AppError> {
    id.or(tenant).ok_or_else(|| AppError::new(Kind::Usage, "bad_usage", "which tenant?"))
}

fn words(tenant: &Tenant) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<11}{}", cell(&value));
    };
    row("tenant", tenant.tenant_id.to_string());
    row("store", tenant.store.clone());
    row("events", tenant.seq.map_or_else(|| "unknown".to_owned(), count));
    if let Some(digest) = &tenant.digest {
        row("digest", digest.clone());
    }
    row("epoch", tenant.epoch.to_string());
    if let Some(migration) = &tenant.migration {
        row("migration", format!("{}, {}", migration.id, migration.state));
    }
    if tenant.rollback_window_open {
        row("return", "possible: a rollback window is open".to_owned());
    }
    for problem in &tenant.problems {
        row("problem", problem.clone());
    }
    let rows = tenant.stores.iter().map(|row| {
        let authority = if row.authority { "authority" } else { "" };
        [
            row.store.clone(),
            row.role.clone(),
            authority.to_owned(),
            row.epoch.to_string(),
            count(row.seq),
        ]
    });
    text += "\n";
    text += &table(["STORE", "ROLE", "", "EPOCH", "EVENTS"], &[3, 4], rows);
    text
}
