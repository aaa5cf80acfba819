//! `rehome-load`: an application in a separate process, configured by a `rehome.toml`: writers and, on request,
//! a subscriber and a reader.
//!
//! It writes until its stdin is closed or has a line, a SIGTERM or SIGINT comes, or its time is
//! over; then each writer finishes its append. After a line the subscriber and the reader continue until the input is
//! closed, and the subscriber then goes to the end of the feed. The record is written to a file immediately (see
//! `rehome_workload::load::journal`), so that a checker has it even if the process is killed. On stdout:
//! one line of JSON once the writers run, one more at the end.

mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Parser;
use rehome_app::config::LogFormat;
use rehome_app::{Access, Config, Deployment};
use rehome_domain::ids::TenantId;
use rehome_observe::Observed;
use rehome_observe::telemetry::{LineLevel, SERVICE, begin_lines};
use rehome_ports::{EventStore, Migrations};
use rehome_workload::load::observe::{Latencies, Timeline, observe};
use rehome_workload::load::record::{Record, Sent};
use rehome_workload::load::{Load, LoadOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Stdin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longest duration of a writer's last append.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes to one tenant, and records the responses.
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
    /// End after this many seconds.
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// What the events' content is drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A subscriber of this name.
    #[arg(long, value_name = "NAME", requires = "seen")]
    subscriber: Option<String>,
    /// Where to keep what the subscriber saw; added to if it is there.
    #[arg(long, value_name = "FILE")]
    seen: Option<PathBuf>,
    /// A reader of the feed's end, and where to keep what it saw.
    #[arg(long, value_name = "FILE")]
    reads: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    begin_lines(LineLevel::Info, LogFormat::Pretty, SERVICE);
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
    let deployment = Observed::open(&config, Access::Existing).await?;
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
    let mut watchers = watchers(&args, &deployment);

    let mut input = BufReader::new(tokio::io::stdin());
    let time = args.seconds.map(Duration::from_secs_f64);
    tokio::select! {
        () = line(&mut input) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tokio::time::sleep(time.unwrap_or(Duration::MAX)) => {}
        failed = watchers.failed() => return Err(failed),
    }
    let retries = load.retries();
    let record = load.stop(PATIENCE).await;
    println!("{}", summary(&deployment, &record, retries).await?);
    watchers.end(&mut input).await?;
    deployment.close().await;
    Ok(())
}

/// The subscriber and the reader.
struct Watchers {
    tasks: JoinSet<Result<()>>,
    stop: CancellationToken,
}

fn watchers(args: &Args, deployment: &Deployment) -> Watchers {
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    let engine = || deployment.engine().clone();
    if let (Some(name), Some(seen)) = (args.subscriber.clone(), args.seen.clone()) {
        tasks.spawn(watch::subscribe(engine(), args.tenant, name, seen, stop.clone()));
    }
    if let Some(reads) = args.reads.clone() {
        tasks.spawn(watch::read(engine(), args.tenant, reads, stop.clone()));
    }
    Watchers { tasks, stop }
}

impl Watchers {
    /// Why one of them ended; they end by themselves only if something is wrong.
    async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Ok(()))) => anyhow!("who looks on ended too early"),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            None => std::future::pending().await,
        }
    }

    /// Lets them continue until the input is closed, and finish.
    async fn end(mut self, input: &mut BufReader<Stdin>) -> Result<()> {
        if !self.tasks.is_empty() {
            // An input that cannot be read is as good as closed.
            let _ = input.read_to_end(&mut Vec::new()).await;
        }
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Resolves at the end of a line of the input, or of all of it.
async fn line(input: &mut BufReader<Stdin>) {
    // An input that cannot be read is as good as closed.
    let _ = input.read_line(&mut String::new()).await;
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
