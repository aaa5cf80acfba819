//! `rehome import`, `rehome export`.

use std::path::PathBuf;

use rehome_app::AppError;
use rehome_app::transfer::{self, ExportRequest, ImportRequest, Input, Output};
use rehome_domain::ids::{StoreId, TenantId};

use crate::operate::{Reach, open};
use crate::output::{Counter, Out, count, table};

pub(super) async fn import(
    out: Out,
    reach: &Reach,
    store: Option<StoreId>,
    allow_empty: bool,
    file: PathBuf,
) -> Result<(), AppError> {
    let config =
        reach.stores("import", "it writes a file of this machine into the stores themselves")?;
    let request = ImportRequest { input: Input::new(file), store, allow_empty };
    let mut counter = Counter::new(out, "imported");
    let report = transfer::import(config, &request, |report| {
        counter.show(report.events_imported + report.events_already_there, None);
    })
    .await;
    drop(counter);
    out.show(&report?, |report| {
        let rows = report.tenants.iter().map(|tenant| {
            [
                tenant.tenant_id.to_string(),
                tenant.store.clone(),
                count(tenant.events_imported),
                count(tenant.events_already_there),
            ]
        });
        let tenants = table(["TENANT", "STORE", "IMPORTED", "ALREADY THERE"], &[2, 3], rows);
        format!(
            "{tenants}\n\n{} events imported, {} were there already",
            count(report.events_imported),
            count(report.events_already_there)
        )
    })
}

pub(super) async fn export(
    out: Out,
    reach: &Reach,
    store: Option<StoreId>,
    tenant: TenantId,
    file: PathBuf,
) -> Result<(), AppError> {
    let config =
        reach.stores("export", "it reads the stores themselves into a file of this machine")?;
    let deployment = open(config).await?;
    let request = ExportRequest { tenant, store, output: Output::new(Some(file)) };
    let mut counter = Counter::new(out, "exported");
    let report = deployment.export(&request, |now, of| counter.show(now, Some(of))).await;
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
