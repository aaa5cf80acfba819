//! `rehome tenant ...`

use std::fmt::Write as _;

use rehome_api::{MovedCheckpoints, Tenant};
use rehome_app::{AppError, CancellationToken, Kind, TenantsWanted};
use rehome_domain::ids::TenantId;

use crate::args::{TenantCommand, Yes};
use crate::operate::{Reach, Signals, Task, stop_on_signal};
use crate::output::{Out, cell, count, return_until, table};

pub(super) async fn run(out: Out, reach: &Reach, command: TenantCommand) -> Result<(), AppError> {
    match command {
        TenantCommand::Show { id, tenant } => {
            let tenant = one(id, tenant)?;
            let deployment = reach.open(out).await?;
            let found = deployment.tenant(tenant).await?;
            deployment.close().await;
            out.show(&found, words)
        }
        TenantCommand::List { store, state, search, pinned, limit } => {
            let wanted = TenantsWanted { after: None, store, phase: state, search, pinned, limit };
            list(out, reach, wanted).await
        }
        TenantCommand::Pin { tenant, why } => {
            let deployment = reach.open(out).await?;
            let notice = deployment.pin(tenant, Some(why.as_deref().unwrap_or_default())).await?;
            deployment.close().await;
            out.show(&notice, |notice| {
                format!("tenant {} is pinned; no drain moves it", notice.what)
            })
        }
        TenantCommand::Unpin { tenant } => {
            let deployment = reach.open(out).await?;
            let notice = deployment.pin(tenant, None).await?;
            deployment.close().await;
            out.show(&notice, |notice| format!("tenant {} is not pinned", notice.what))
        }
        TenantCommand::Purge { id, tenant, store, close_window, yes, why } => {
            let tenant = one(id, tenant)?;
            let closes = if close_window { ", and the tenant cannot return there" } else { "" };
            let what =
                format!("This removes the copy of tenant {tenant} from store \"{store}\"{closes}.");
            out.confirm(yes, &what)?;
            let deployment = reach.open(out).await?;
            let rest = format!(
                "a part of the copy may be removed; `rehome tenant purge {tenant} --store {store}` removes the rest"
            );
            let purge = deployment.purge(tenant, &store, close_window, why.why());
            let purged = to_the_end(out, purge, &rest).await?;
            deployment.close().await;
            out.show(&purged, |purged| {
                let events = count(purged.events_purged);
                format!("{events} events removed from store \"{}\"", purged.store)
            })
        }
        TenantCommand::Remove { tenant, events, dry_run: _, yes, why } => {
            remove(out, reach, (tenant, events), yes, why.why()).await
        }
        TenantCommand::Unguard { id, tenant, yes, why } => {
            let tenant = one(id, tenant)?;
            out.confirm(
                yes,
                &format!(
                    "This removes the guard of tenant {tenant}: its events lose their numbers."
                ),
            )?;
            let deployment = reach.open(out).await?;
            let found = deployment.unguard(tenant, why.why()).await?;
            deployment.close().await;
            out.show(&found, |found| {
                let how = if found.changed { "is no longer guarded" } else { "is not guarded" };
                format!("tenant {} {how} in store \"{}\"", found.tenant_id, found.store)
            })
        }
        TenantCommand::Checkpoints { id, tenant, from, to, why } => {
            let tenant = one(id, tenant)?;
            let deployment = reach.open(out).await?;
            let moved = deployment.move_checkpoints(tenant, &from, &to, why.why()).await?;
            deployment.close().await;
            out.show(&moved, checkpoints)
        }
        TenantCommand::Position { id, tenant, position, from, to } => {
            let tenant = one(id, tenant)?;
            let deployment = reach.open(out).await?;
            let found = deployment.position(tenant, position, &from, &to).await?;
            deployment.close().await;
            out.show(&found, |found| found.translated.to_string())
        }
    }
}

/// Removes the tenant if it has this number of events; without a number only counts them.
async fn remove(
    out: Out,
    reach: &Reach,
    (tenant, events): (TenantId, Option<u64>),
    yes: Yes,
    why: Option<&str>,
) -> Result<(), AppError> {
    if let Some(events) = events {
        let events = count(events);
        let what = format!(
            "This removes tenant {tenant} with all its {events} events and its checkpoints."
        );
        out.confirm(yes, &what)?;
    }
    let deployment = reach.open(out).await?;
    let rest = events.map_or("nothing was changed".to_owned(), |events| {
        format!(
            "if the removal had begun, the tenant has neither readers nor writers until `rehome tenant \
             remove {tenant} --events {events}` completes it"
        )
    });
    let found = to_the_end(out, deployment.remove(tenant, events, why), &rest).await?;
    deployment.close().await;
    out.show(&found, |found| {
        let (tenant, events) = (found.tenant_id, count(found.events));
        if found.removed {
            return format!(
                "tenant {tenant} is removed: {events} events in store \"{}\"",
                found.store
            );
        }
        format!(
            "tenant {tenant} has {events} events in store \"{}\"; nothing was removed. To remove it: \
             `rehome tenant remove {tenant} --events {}`",
            found.store, found.events
        )
    })
}

/// An action of several steps. Where a person stops it, the error says what is left to do.
async fn to_the_end<T>(
    out: Out,
    action: impl Future<Output = Result<T, AppError>>,
    rest: &str,
) -> Result<T, AppError> {
    let stop = CancellationToken::new();
    let _signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
    tokio::select! {
        biased;
        done = action => done,
        () = stop.cancelled() => Err(AppError::failed("stopped", format!("stopped; {rest}"))),
    }
}

/// Tenants in pages until there are as many as were asked for.
async fn list(out: Out, reach: &Reach, mut wanted: TenantsWanted) -> Result<(), AppError> {
    let deployment = reach.open(out).await?;
    let limit = wanted.limit;
    let mut tenants = Vec::new();
    while tenants.len() < limit {
        wanted.limit = (limit - tenants.len()).min(1_000);
        let page = deployment.tenants(&wanted).await?;
        tenants.extend(page.tenants);
        wanted.after = page.next_cursor.map(TenantId::new);
        if wanted.after.is_none() {
            break;
        }
    }
    deployment.close().await;
    out.show(&tenants, |tenants| {
        let rows = tenants.iter().map(|row| {
            let pinned = row.pinned.as_ref().map(|why| format!("pinned {why}"));
            let removing =
                row.removing.map(|events| format!("removal of {events} events not complete"));
            let notes: Vec<_> = pinned.into_iter().chain(removing).collect();
            let state = row.state.clone().unwrap_or_default();
            let name = row.name.clone().unwrap_or_default();
            [row.tenant_id.to_string(), name, row.store.clone(), state, notes.join("; ")]
        });
        table(["TENANT", "NAME", "STORE", "MIGRATION", ""], &[], rows)
    })
}

/// As an option or as an argument; the parser requires one of them.
fn one(id: Option<TenantId>, tenant: Option<TenantId>) -> Result<TenantId, AppError> {
    id.or(tenant).ok_or_else(|| AppError::new(Kind::Usage, "bad_usage", "name a tenant"))
}

fn checkpoints(moved: &MovedCheckpoints) -> String {
    let rows = moved.moved.iter().map(|one| {
        let row = one.row.iter().map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        [
            one.table.clone(),
            row.collect::<Vec<_>>().join(" "),
            one.position.to_string(),
            one.translated.to_string(),
            if one.written { "written" } else { "was as far" }.to_owned(),
        ]
    });
    let mut text = table(["TABLE", "ROW", "POSITION", "THERE", ""], &[2, 3], rows);
    for sentence in &moved.left {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "stays: {}", cell(sentence));
    }
    text
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
    if let Some(until) = tenant.migration.as_ref().and_then(return_until) {
        row("can return", until);
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
