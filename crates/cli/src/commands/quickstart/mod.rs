//! `rehome quickstart`: see a tenant move.

mod console;
mod live;
mod words;

use std::path::{Path, PathBuf};

use rehome_app::CancellationToken;
use rehome_app::error::{AppError, Kind};
use rehome_domain::ids::TenantId;
use rehome_workload::quickstart::{self, PlainWriter, QuickstartOptions, Step};

use crate::operate::{Signals, Task, stop_on_signal};
use crate::output::Out;
use live::{Left, Live};

/// Demonstrate a migration: move a tenant under load, on stores in a folder.
///
/// Creates or imports events, starts writers, migrates one tenant to another store, and checks
/// afterwards that the stores match every acknowledgement. Then, on a terminal or with --port, serves
/// the console of its stores until Ctrl-C, while the writers continue slowly. The files stay, so that you can
/// inspect them and continue.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct QuickstartArgs {
    /// Number of tenants to create; each has a third of the events of the one before.
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "input")]
    tenants: u16,
    /// Number of events of the largest tenant.
    #[arg(long, value_name = "N", default_value_t = 60_000, conflicts_with = "input")]
    events: u64,
    /// Number of writers of the tenant that moves.
    #[arg(long, value_name = "N", default_value_t = 8)]
    writers: u16,
    /// Events per second of all writers together.
    #[arg(long, value_name = "N", default_value_t = 800.0)]
    rate: f64,
    /// Import these events instead of generating some: NDJSON, optionally gzipped.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The tenant to move; by default the largest.
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// An empty folder for the stores; by default a new temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Seed of the generated events.
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Use tables of another program, whose processes write them and do not use
    /// rehome: eventsource-py, by its tables; in SQLite files, unless --postgres names a server.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["input", "port"])]
    layout: Option<String>,
    /// Make two databases for these tables on this server, as postgres://ROLE@HOST/DATABASE. The role needs
    /// CREATEDB. The databases stay; the output names them.
    #[arg(long, value_name = "URL", requires = "layout")]
    postgres: Option<String>,
    /// Let the tenant return afterwards, within the rollback window.
    #[arg(long = "return")]
    there_and_back: bool,
    /// Serve the console on this port of 127.0.0.1 after the verdict, also without a terminal; 0: on
    /// any free one [default: on a terminal, 7411 or the next free one].
    #[arg(long, value_name = "PORT", conflicts_with = "exit")]
    port: Option<u16>,
    /// Exit after the verdict, also on a terminal. This is the default without a terminal, with --json and with
    /// --quiet, unless --port is given.
    #[arg(long)]
    exit: bool,
}

impl QuickstartArgs {
    fn options(&self) -> QuickstartOptions {
        QuickstartOptions {
            tenants: self.tenants,
            events: self.events,
            writers: self.writers,
            rate: self.rate,
            input: self.input.clone(),
            tenant: self.tenant,
            folder: self.dir.clone(),
            seed: self.seed,
            there_and_back: self.there_and_back,
            layout: self.layout.clone(),
            postgres: self.postgres.clone(),
            ..QuickstartOptions::default()
        }
    }
}

/// Write events with plain SQL, as a process that does not use rehome; `quickstart --layout` starts it. Ends with its
/// standard input.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlainWriterArgs {
    /// The configuration with the stores that may have the tenant.
    #[arg(value_name = "FILE")]
    config: PathBuf,
    /// Whose events.
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Which writer it is.
    #[arg(long, value_name = "N")]
    number: u64,
    /// What ids are made of.
    #[arg(long, value_name = "N")]
    seed: u64,
    /// Events per second.
    #[arg(long, value_name = "N")]
    rate: f64,
    /// The file of its record.
    #[arg(long, value_name = "FILE")]
    journal: PathBuf,
}

/// Writes until its standard input ends.
pub(super) async fn write_plainly(args: PlainWriterArgs) -> Result<(), AppError> {
    let PlainWriterArgs { config, tenant, number, seed, rate, journal } = args;
    quickstart::write_plainly(&PlainWriter { config, tenant, number, seed, rate, journal }).await
}

/// An error, with what it leaves behind.
fn leaving(error: AppError, left: Option<&Left>) -> AppError {
    let Some(Left { folder, databases }) = left else { return error };
    let files = format!("; its files are in {}", folder.display());
    if databases.is_empty() {
        return error.followed_by(&files);
    }
    error.followed_by(&format!(
        "{files}, its databases, if they were made, are {}",
        databases.join(" and ")
    ))
}

/// Does it, and shows the verdict; one that is not good is an error too.
pub(super) async fn run(
    out: Out,
    args: &QuickstartArgs,
    config: Option<&Path>,
) -> Result<(), AppError> {
    if config.is_some() {
        let message = "quickstart creates its own configuration; omit --config, and name \
                       a folder with --dir";
        return Err(AppError::new(Kind::Usage, "bad_option", message));
    }
    let options = args.options();
    // A port that is not to be had is found before the work.
    let listener = console::listen(console::place(out, args)).await?;
    let live = Live::new(out, &options);
    let stop = CancellationToken::new();
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
    let hear = |step: Step| live.hear(&step);
    let outcome = tokio::select! {
        outcome = quickstart::stay(&options, &hear) => outcome,
        () = stop.cancelled() => Err(AppError::failed("interrupted", "the quickstart was stopped")),
    };
    drop(signals);
    live.end();
    let stay = outcome.map_err(|error| leaving(error, live.left().as_ref()))?;
    out.show(&stay.verdict, words::say)?;
    if !stay.verdict.ok {
        stay.deployment.close().await;
        let message = "the stores contradict the acknowledgements of the writers; see the verdict";
        let error = AppError::new(Kind::Violated, "verdict", message);
        return Err(leaving(error, live.left().as_ref()));
    }
    if let Some(listener) = listener {
        console::serve(out, &options, stay, listener).await
    } else {
        stay.deployment.close().await;
        Ok(())
    }
}
