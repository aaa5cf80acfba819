//! One file per group of commands: asks `rehome_app`, shows what it answers.

mod audit;
mod checklist;
mod estimate;
mod health;
mod layout;
mod migration;
mod monitoring;
mod quickstart;
mod recover;
mod serve;
mod store;
mod tenant;
mod token;
mod transfer;

use std::path::Path;

use rehome_app::config::{ClientConfig, LogFormat};
use rehome_app::telemetry::begin_lines;
use rehome_app::{AppError, Config};
use rehome_domain::ids::{StoreId, TenantId};

use crate::args::{Args, Command, LogForm, StoreCommand, TokenCommand};
use crate::operate::{Reach, not_by_a_server};
use crate::output::{Out, table};
pub(crate) use quickstart::{PlainWriterArgs, QuickstartArgs};

/// Does what the arguments say.
pub(crate) async fn run(args: Args, out: &Out) -> Result<(), AppError> {
    let out = *out;
    let log_level = args.log_level();
    let Args { config: file, server, local, log, command, .. } = args;
    if let Some((name, why)) = alone(&command)
        && server.is_some()
    {
        return Err(not_by_a_server(name, why));
    }
    let begin = |configured| begin_lines(log_level, log_format(log, out, configured));
    match command {
        Command::Estimate(asked) if asked.events.is_some() => estimate::from_numbers(out, &asked),
        Command::Token(TokenCommand::Create(wanted)) if wanted.for_configuration => {
            token::for_configuration(out, &wanted)
        }
        Command::Monitoring(command) => monitoring::run(out, file.as_deref(), command),
        Command::Store(StoreCommand::Layout(command)) => {
            begin(LogFormat::Pretty);
            layout::run(out, command).await
        }
        Command::Quickstart(args) => {
            begin(LogFormat::Pretty);
            quickstart::run(out, &args, file.as_deref()).await
        }
        Command::PlainWriter(args) => quickstart::write_plainly(args),
        Command::Serve(args) => {
            let config = Config::load(file.as_deref())?;
            begin(config.log);
            serve::run(out, config, file.as_deref(), args).await
        }
        command => {
            let reach = reach(file.as_deref(), server.as_deref(), local)?;
            begin(match &reach {
                Reach::Stores(config) => config.log,
                Reach::Server(config) => config.log,
            });
            if let Reach::Server(config) = &reach {
                config.warn_of_wide_files();
            }
            through(out, &reach, command).await
        }
    }
}

/// What never acts through a server, and why; a server that is configured is in nobody's way there.
fn alone(command: &Command) -> Option<(&'static str, &'static str)> {
    Some(match command {
        Command::Token(TokenCommand::Create(wanted)) if wanted.for_configuration => {
            ("token create --for-configuration", "a token is made here and shown once")
        }
        Command::Monitoring(_) => ("monitoring export", "it writes files here"),
        Command::Quickstart(_) => ("quickstart", "it makes stores of its own here"),
        Command::PlainWriter(_) => ("plain-writer", "it writes files here"),
        Command::Serve(_) => ("serve", "it is the server"),
        Command::Store(StoreCommand::Layout(_)) => {
            ("store layout", "it reads a file here, or the database that is named")
        }
        _ => return None,
    })
}

/// The server that is named, or else the stores.
fn reach(file: Option<&Path>, server: Option<&str>, local: bool) -> Result<Reach, AppError> {
    if !local {
        let client = ClientConfig::load(file, server)?;
        if client.server.is_some() {
            return Ok(Reach::Server(Box::new(client)));
        }
    }
    Ok(Reach::Stores(Box::new(Config::load(file)?)))
}

async fn through(out: Out, reach: &Reach, command: Command) -> Result<(), AppError> {
    match command {
        Command::Import { store, allow_empty, file } => {
            transfer::import(out, reach, store, allow_empty, file).await
        }
        Command::Export { store, tenant, file } => {
            transfer::export(out, reach, store, tenant, file).await
        }
        Command::Audit(command) => audit::run(out, reach, command).await,
        Command::Store(command) => store::run(out, reach, command).await,
        Command::Plan { tenant, to } => plan(out, reach, tenant, &to).await,
        Command::Checklist { phase, id } => checklist::run(out, reach, phase, id).await,
        Command::Estimate(asked) => estimate::by_probe(out, reach, &asked).await,
        Command::Health => health::run(out, reach).await,
        Command::Migration(command) => migration::run(out, reach, command).await,
        Command::Token(command) => token::run(out, reach, command).await,
        Command::Tenant(command) => tenant::run(out, reach, command).await,
        Command::Recover { tenant, store, yes, why } => {
            recover::run(out, reach, tenant, store, yes, why.why()).await
        }
        // Done already.
        Command::Monitoring(_)
        | Command::Quickstart(_)
        | Command::PlainWriter(_)
        | Command::Serve(_) => Ok(()),
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

async fn plan(out: Out, reach: &Reach, tenant: TenantId, target: &StoreId) -> Result<(), AppError> {
    let deployment = reach.open(out).await?;
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
