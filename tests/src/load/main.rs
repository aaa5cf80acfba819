//! `rehome-load`: writers in a process of their own, over a `rehome.toml`.
//!
//! It writes until its standard input is closed, a SIGTERM or SIGINT comes, or its time is over;
//! then each writer finishes its append. The record goes to a file as it comes about (see
//! `rehome_app::load::journal`), so that a checker has it also when the process is killed. On stdout:
//! one line of JSON once the writers run, one more at the end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use rehome_app::load::observe::{Latencies, Timeline, observe};
use rehome_app::load::record::{Record, Sent};
use rehome_app::load::{Load, LoadOptions};
use rehome_app::{Access, Config, Deployment};
use rehome_domain::ids::TenantId;
use rehome_ports::{EventStore, Migrations};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

/// How long a writer may take for its last append.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writers on one tenant, with a record of what they were told.
#[derive(Parser)]
struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Whose events they append.
    #[arg(long, value_name = "UUID")]
    tenant: TenantId,
    /// How many there are.
    #[arg(long, value_name = "N", default_value_t = 8)]
    writers: u16,
    /// Events per second of all together; as fast as they are answered if it is not given.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Where to keep the record; a new file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// End by itself after so many seconds.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// What the events' content is drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let config = Config::load(Some(&args.config))?;
    let deployment = Deployment::open(&config, Access::Existing).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let router: Arc<dyn EventStore> = Arc::new(deployment.engine().router().clone());
    let options = LoadOptions {
        tenant: args.tenant,
        writers: args.writers,
        rate: args.rate,
        seed: args.seed,
        journal: args.record.clone(),
    };
    let load = Load::start(&router, options).context("the record cannot be made")?;
    println!("{}", json!({ "writing": true, "pid": std::process::id() }));

    let time = args.seconds.map(Duration::from_secs_f64);
    tokio::select! {
        () = closed() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(time.unwrap_or(Duration::MAX)) => {}
    }
    let retries = load.retries();
    let record = load.stop(PATIENCE).await;
    println!("{}", summary(&deployment, &record, retries).await?);
    deployment.close().await;
    Ok(())
}

/// Resolves when the standard input is closed by whoever started us.
async fn closed() {
    // An input that cannot be read is as good as closed.
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
}

async fn summary(deployment: &Deployment, record: &Record, retries: u64) -> Result<Value> {
    let latencies = record.appends().filter_map(Sent::latency).collect();
    let control = deployment.engine().control();
    let which = Migrations { tenant: Some(record.tenant), limit: 100, ..Migrations::default() };
    let mut cutovers = Vec::new();
    for migration in control.migrations(which).await? {
        let timeline = Timeline::of(&control.log(migration.id, 0, 1_000).await?);
        let seen = observe(std::slice::from_ref(record), &timeline);
        if seen.pause.count > 0 {
            cutovers.push(json!({ "migration_id": migration.id.to_string(), "pause_ms": spread(&seen.pause) }));
        }
    }
    let open = record.appends().filter(|sent| sent.ack().is_none()).count();
    Ok(json!({
        "load": record.id.to_string(),
        "acked": record.acked(),
        "not_answered": open,
        "retries": retries,
        "append_ms": spread(&Latencies::of(latencies)),
        "cutovers": cutovers,
    }))
}

fn spread(seen: &Latencies) -> Value {
    json!({ "p50": seen.p50_ms, "p99": seen.p99_ms, "max": seen.max_ms, "appends": seen.count })
}
