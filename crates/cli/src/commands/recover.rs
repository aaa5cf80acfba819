//! `rehome recover`

use std::fmt::Write as _;

use rehome_api::Recovery;
use rehome_app::{AppError, Kind, RecoverRequest};

use crate::operate::Reach;
use crate::output::{Out, cell, count, table};

pub(super) async fn run(
    out: Out,
    reach: &Reach,
    request: &RecoverRequest,
    why: Option<&str>,
) -> Result<(), AppError> {
    let deployment = reach.open(out).await?;
    let found = deployment.recover(request, why).await?;
    deployment.close().await;
    out.show(&found, |found| {
        if found.is_empty() {
            return "no store is ahead of the control plane, and no store has lost events"
                .to_owned();
        }
        let each: Vec<_> = found.iter().map(words).collect();
        each.join("\n")
    })?;
    let missed: Vec<&str> = found
        .iter()
        .filter(|one| !one.recovered)
        .flat_map(|one| &one.missed_logs)
        .map(String::as_str)
        .collect();
    let ahead = |one: &&Recovery| {
        !one.recovered && one.stores.iter().any(|row| row.epoch > one.route_epoch)
    };
    let left = found.iter().filter(ahead).count();
    // Where the loss was accepted, the losses are what was lost.
    let lost = found.iter().filter(|one| !(request.accept_loss && one.recovered));
    let lost: Vec<&str> = lost.flat_map(|one| &one.losses).map(String::as_str).collect();
    if !lost.is_empty() {
        return Err(AppError::new(Kind::Violated, "store_behind", lost.join("\n")));
    }
    if left == 0 && missed.is_empty() {
        return Ok(());
    }
    if left == 0 {
        let message = format!(
            "{}\nnothing was changed; if the control plane was restored, repeat with --yes to take the logs for what they are",
            missed.join("\n")
        );
        return Err(AppError::new(Kind::Violated, "logs_missed", message));
    }
    let next = if request.apply {
        "choose the store with the authority by --tenant and --store"
    } else {
        "nothing was changed; stop the writers, check the findings, then repeat with --yes"
    };
    let message = format!("{left} tenants are ahead of the control plane; {next}");
    Err(AppError::new(Kind::Violated, "control_plane_behind", message))
}

fn words(found: &Recovery) -> String {
    let rows = found.stores.iter().map(|row| {
        [format!("  {}", row.store), row.role.clone(), row.epoch.to_string(), count(row.seq)]
    });
    let route = found.route_store.as_deref().unwrap_or("nothing");
    let decision = match (&found.store, &found.undecided, found.recovered) {
        (Some(store), _, true) => {
            let lost: Vec<_> = found.losses.iter().map(|loss| format!("\n  was: {loss}")).collect();
            format!("  the authority is now store \"{store}\"{}", lost.concat())
        }
        (Some(store), _, false) if !found.losses.is_empty() => {
            let lost: Vec<_> = found.losses.iter().map(|loss| format!("  {loss}")).collect();
            format!("  the authority is store \"{store}\"\n{}", lost.join("\n"))
        }
        (Some(store), _, false) => format!("  the authority would be store \"{store}\""),
        (None, why, _) => format!("  {}", why.as_deref().unwrap_or("undecided")),
    };
    let of_logs = if found.recovered { "no longer missed by the stores" } else { "missed" };
    let mut logs = String::new();
    for log in &found.missed_logs {
        // Writing to a String cannot fail.
        let _ = writeln!(logs, "  {of_logs}: {}", cell(log));
    }
    format!(
        "tenant {}: the control plane knows epoch {} at {route}\n{}\n{decision}\n{logs}",
        found.tenant_id,
        found.route_epoch,
        table(["  STORE", "ROLE", "EPOCH", "EVENTS"], &[2, 3], rows)
    )
}
