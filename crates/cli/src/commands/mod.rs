//! One file per group of commands: asks `rehome_app`, shows what it answers.

mod checklist;
mod drive;
mod estimate;
mod health;
mod migration;
mod monitoring;
mod quickstart;
mod recover;
mod serve;
mod store;
mod tenant;
mod token;
mod transfer;

use rehome_app::config::LogFormat;
use rehome_app::telemetry::begin_lines;
use rehome_app::{Access, AppError, Config, Deployment};
use rehome_domain::ids::{StoreId, TenantId};

use crate::args::{Args, Command, LogForm};
use crate::output::{Out, table};
pub(crate) use quickstart::QuickstartArgs;

/// Does what the arguments say.
pub(crate) async fn run(args: Args, out: &Out) -> Result<(), AppError> {
    let out = *out;
    let log_level = args.log_level();
    let Args { config, log, command, .. } = args;
    if let Command::Estimate(asked) = &command
        && let Some(events) = asked.events
    {
        return estimate::from_numbers(out, events, asked);
    }
    if let Command::Token(command) = command {
        return token::run(out, command);
    }
    if let Command::Monitoring(command) = command {
        return monitoring::run(out, config.as_deref(), command);
    }
    if let Command::Quickstart(args) = &command {
        begin_lines(log_level, log_format(log, out, LogFormat::Pretty));
        return quickstart::run(out, args, config.as_deref()).await;
    }
    let file = config;
    let config = Config::load(file.as_deref())?;
    begin_lines(log_level, log_format(log, out, config.log));
    match command {
        Command::Import { store, file } => transfer::import(out, &config, store, file).await,
        Command::Export { store, tenant, file } => {
            transfer::export(out, &config, store, tenant, file).await
        }
        Command::Serve(args) => serve::run(out, config, file.as_deref(), args).await,
        Command::Store(command) => store::run(out, &config, command).await,
        Command::Plan { tenant, to } => plan(out, &config, tenant, &to).await,
        Command::Checklist { phase, id } => checklist::run(out, &config, phase, id).await,
        Command::Estimate(asked) => estimate::by_probe(out, &config, &asked).await,
        Command::Health => health::run(out, &config).await,
        Command::Migration(command) => migration::run(out, &config, command).await,
        Command::Tenant(command) => tenant::run(out, &config, command).await,
        Command::Recover { tenant, store, yes } => {
            recover::run(out, &config, tenant, store, yes).await
        }
        // Need no configuration; done above.
        Command::Monitoring(_) | Command::Quickstart(_) | Command::Token(_) => Ok(()),
    }
}

/// What was said for this run, or what programs read, or what was configured.
fn log_format(said: Option<LogForm>, out: Out, configured: LogFormat) -> LogFormat {
    match said {
        Some(LogForm::Json) => LogFormat::Json,
        Some(LogForm::Pretty) => LogFormat::Pretty,
        None if out.is_json() => LogFormat::Json,
        None => configured,
    }
}

/// Opens what is there.
async fn open(config: &Config) -> Result<Deployment, AppError> {
    Deployment::open(config, Access::Existing).await
}

async fn plan(
    out: Out,
    config: &Config,
    tenant: TenantId,
    target: &StoreId,
) -> Result<(), AppError> {
    let deployment = open(config).await?;
    let plan = deployment.plan(tenant, target).await?;
    out.show(&plan, |plan| {
        let rows = plan.findings.iter().map(|finding| {
            let ok = if finding.ok { "ok" } else { "NO" };
            [ok.to_owned(), finding.check.clone(), finding.detail.clone()]
        });
        let mut text = table(["", "CHECK", "FOUND"], &[], rows);
        if let Some(estimate) = &plan.estimate {
            text += "\n\n";
            text += &estimate::words(estimate);
        }
        text
    })?;
    deployment.close().await;
    if plan.possible {
        return Ok(());
    }
    let why: Vec<_> =
        plan.findings.iter().filter(|f| !f.ok).map(|finding| finding.detail.as_str()).collect();
    let message = format!("the migration would be refused: {}", why.join("; "));
    Err(AppError::refused(message).tenant(tenant))
}
