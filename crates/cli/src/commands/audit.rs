//! `rehome audit ...`

use rehome_api::audit::AuditReport;
use rehome_app::{AppError, CancellationToken, Kind};
use rehome_observe::AuditExport;

use crate::args::AuditCommand;
use crate::operate::{Reach, Signals, Task, open, stop_on_signal};
use crate::output::{Counter, Out, cell, count, line, table};

const WHY: &str = "it reads the control plane directly, and trusts no server";

pub(super) async fn run(out: Out, reach: &Reach, command: AuditCommand) -> Result<(), AppError> {
    match command {
        AuditCommand::Verify => verify(out, reach).await,
        AuditCommand::Export { follow, after } => {
            export(out, reach, AuditExport { after, follow }).await
        }
    }
}

async fn verify(out: Out, reach: &Reach) -> Result<(), AppError> {
    let deployment = open(reach.stores("audit verify", WHY)?).await?;
    let mut counter = Counter::of(out, "checked", "logs");
    let report = deployment.verify_audit(|logs| counter.show(logs, None)).await;
    drop(counter);
    deployment.close().await;
    let report = report?;
    out.show(&report, words)?;
    let of_migration = report
        .broken
        .first()
        .map(|first| format!("migration {}: {}", first.migration_id, first.detail));
    let of_drain = report
        .broken_drains
        .first()
        .map(|first| format!("drain {}: {}", first.drain_id, first.detail));
    match of_migration.or(of_drain) {
        None => Ok(()),
        Some(first) => {
            let message = format!(
                "{} of {} logs are not as they were recorded; the first is of {first}",
                count(report.broken_total),
                count(report.logs_checked + report.drains_checked),
            );
            Err(AppError::new(Kind::Violated, "chain_broken", message))
        }
    }
}

fn words(report: &AuditReport) -> String {
    let mut text = format!(
        "{}: {} entries of {} logs checked, {} compared with what route rows and stores have seen",
        if report.ok { "ok" } else { "NOT OK" },
        count(report.entries_checked),
        count(report.logs_checked + report.drains_checked),
        count(report.anchors_checked)
    );
    for why in &report.anchors_unread {
        text += "\nnot compared: ";
        text += &cell(why);
    }
    if !report.ok {
        let rows = report.broken.iter().map(|broken| {
            let (migration, tenant) = (broken.migration_id, broken.tenant_id);
            let detail = broken.detail.clone();
            [migration.to_string(), tenant.to_string(), broken.index.to_string(), detail]
        });
        text += "\n";
        text += &table(["MIGRATION", "TENANT", "ENTRY", "WHAT"], &[2], rows);
        for broken in &report.broken_drains {
            text += "\ndrain ";
            text += &broken.drain_id.to_string();
            text += ": ";
            text += &cell(&broken.detail);
        }
        if report.broken_total > (report.broken.len() + report.broken_drains.len()) as u64 {
            text += "\nin all: ";
            text += &count(report.broken_total);
        }
    }
    text
}

async fn export(out: Out, reach: &Reach, what: AuditExport) -> Result<(), AppError> {
    let deployment = open(reach.stores("audit export", WHY)?).await?;
    let stop = CancellationToken::new();
    let signals = what
        .follow
        .then(|| Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen()))));
    let exported = deployment.export_audit(what, &stop, line).await;
    drop(signals);
    deployment.close().await;
    let exported = exported?;
    out.remark(format!("{} entries exported", count(exported.lines)));
    exported
        .broken
        .map_or(Ok(()), |broken| Err(AppError::new(Kind::Violated, "chain_broken", cell(&broken))))
}
