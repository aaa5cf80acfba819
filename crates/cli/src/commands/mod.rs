//! One file per group of commands: calls `rehome_app`, shows the result.

mod audit;
mod checklist;
mod config;
mod drain;
mod estimate;
mod health;
mod layout;
mod manual;
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
use rehome_app::{AppError, Config, RecoverRequest};
use rehome_domain::ids::{StoreId, TenantId};
use rehome_observe::telemetry::{SERVICE, begin_lines};

use crate::args::{Args, Command, LogForm, StoreCommand, TokenCommand};
use crate::operate::{Reach, not_by_a_server};
use crate::output::{Out, table};
pub(crate) use quickstart::{PlainWriterArgs, QuickstartArgs};

/// Carries out the arguments.
pub(crate) async fn run(args: Args, out: &Out) -> Result<(), AppError> {
    let out = *out;
    let log_level = args.log_level();
    let Args { config: file, server, local, log, command, .. } = args;
    if let Some((name, why)) = alone(&command)
        && server.is_some()
    {
        return Err(not_by_a_server(name, why));
    }
    let begin = |configured, service: &str| {
        begin_lines(log_level, log_format(log, out, configured), service);
    };
    match command {
        Command::Estimate(asked) if asked.events.is_some() => estimate::from_numbers(out, &asked),
        Command::Token(TokenCommand::Create(wanted)) if wanted.for_configuration => {
            token::for_configuration(out, &wanted)
        }
        Command::Monitoring(command) => monitoring::run(out, file.as_deref(), command),
        Command::Config(command) => config::run(out, file.as_deref(), command),
        Command::Completions { shell } => manual::completions(out, shell),
        Command::Man { folder } => manual::pages(out, &folder),
        Command::Init(args) => {
            begin(LogFormat::Pretty, SERVICE);
            config::init(out, file.as_deref(), args).await
        }
        Command::Store(StoreCommand::Layout(command)) => {
            begin(LogFormat::Pretty, SERVICE);
            layout::run(out, command).await
        }
        Command::Quickstart(args) => {
            begin(LogFormat::Pretty, SERVICE);
            Box::pin(quickstart::run(out, &args, file.as_deref())).await
        }
        Command::PlainWriter(args) => quickstart::write_plainly(args).await,
        Command::Serve(args) => {
            let config = Config::load(file.as_deref())?;
            begin(config.log, &config.otlp.service);
            Box::pin(serve::run(out, config, file.as_deref(), args)).await
        }
        command => {
            let reach = reach(file.as_deref(), server.as_deref(), local)?;
            match &reach {
                Reach::Stores(config) => begin(config.log, &config.otlp.service),
                Reach::Server(config) => begin(config.log, SERVICE),
            }
            if let Reach::Server(config) = &reach {
                config.warn_of_wide_files();
            }
            through(out, &reach, command).await
        }
    }
}

/// Commands that never act through a server, and why; a configured server does not matter for them.
fn alone(command: &Command) -> Option<(&'static str, &'static str)> {
    Some(match command {
        Command::Token(TokenCommand::Create(wanted)) if wanted.for_configuration => {
            ("token create --for-configuration", "it creates a token here and shows it once")
        }
        Command::Monitoring(_) => ("monitoring export", "it writes files here"),
        Command::Completions { .. } => ("completions", "it describes this command"),
        Command::Man { .. } => ("man", "it writes files here"),
        Command::Config(_) => ("config", "it reads the configuration here"),
        Command::Init(_) => ("init", "it writes files here"),
        Command::Quickstart(_) => ("quickstart", "it creates its own stores here"),
        Command::PlainWriter(_) => ("plain-writer", "it writes files here"),
        Command::Serve(_) => ("serve", "it is the server"),
        Command::Store(StoreCommand::Layout(_)) => {
            ("store layout", "it reads a file here, or the named database")
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
        Command::Import(args) => transfer::import(out, reach, *args).await,
        Command::Export { store, tenant, file, yes } => {
            out.may_replace(yes, &file)?;
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
        Command::Drain(command) => drain::run(out, reach, command).await,
        Command::Tenant(command) => tenant::run(out, reach, command).await,
        Command::Recover { tenant, store, yes, accept_loss, why } => {
            let request = RecoverRequest { tenant, store, apply: yes, accept_loss };
            recover::run(out, reach, &request, why.why()).await
        }
        // Done already.
        Command::Monitoring(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Config(_)
        | Command::Init(_)
        | Command::Quickstart(_)
        | Command::PlainWriter(_)
        | Command::Serve(_) => Ok(()),
    }
}

/// The format for this run, else that of JSON output, else the configured one.
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
