//! `rehome recover`

use rehome_api::Recovery;
use rehome_app::{AppError, Kind, RecoverRequest};
use rehome_domain::ids::{StoreId, TenantId};

use crate::operate::Reach;
use crate::output::{Out, count, table};

pub(super) async fn run(
    out: Out,
    reach: &Reach,
    tenant: Option<TenantId>,
    store: Option<StoreId>,
    yes: bool,
    why: Option<&str>,
) -> Result<(), AppError> {
    let deployment = reach.open(out).await?;
    let found = deployment.recover(&RecoverRequest { tenant, store, apply: yes }, why).await?;
    deployment.close().await;
    out.show(&found, |found| {
        if found.is_empty() {
            return "no store is ahead of the control plane, and none has lost events".to_owned();
        }
        let each: Vec<_> = found.iter().map(words).collect();
        each.join("\n")
    })?;
    let ahead = |tenant: &&Recovery| !tenant.recovered && tenant.losses.is_empty();
    let left = found.iter().filter(ahead).count();
    let lost: Vec<&str> = found.iter().flat_map(|one| &one.losses).map(String::as_str).collect();
    if !lost.is_empty() {
        return Err(AppError::new(Kind::Violated, "store_behind", lost.join("\n")));
    }
    if left == 0 {
        return Ok(());
    }
    let next = if yes {
        "say which store has the authority with --tenant and --store"
    } else {
        "nothing was changed; stop the writers, look, then say --yes"
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
        (Some(store), _, true) => format!("  the authority is store \"{store}\" now"),
        (Some(store), _, false) if !found.losses.is_empty() => {
            let lost: Vec<_> = found.losses.iter().map(|loss| format!("  {loss}")).collect();
            format!("  the authority is store \"{store}\"\n{}", lost.join("\n"))
        }
        (Some(store), _, false) => format!("  the authority would be store \"{store}\""),
        (None, why, _) => format!("  {}", why.as_deref().unwrap_or("undecided")),
    };
    format!(
        "tenant {}: the control plane knows epoch {} at {route}\n{}\n{decision}\n",
        found.tenant_id,
        found.route_epoch,
        table(["  STORE", "ROLE", "EPOCH", "EVENTS"], &[2, 3], rows)
    )
}
