//! `rehome serve`

use std::path::Path;

use rehome_app::{Access, AppError, CancellationToken, Config};
use rehome_observe::Observed;
use rehome_server::{Handle, Server};
use serde::Serialize;

use crate::args;
use crate::operate::{Signals, Task, stop_on_signal};
use crate::output::{Out, line};

/// That the server listens, for programs.
#[derive(Serialize)]
pub(super) struct Listening {
    event: &'static str,
    address: String,
    url: String,
}

impl Listening {
    pub(super) fn of(server: &Server) -> Self {
        Self { event: "listening", address: server.address().to_string(), url: server.url() }
    }
}

pub(super) async fn run(
    out: Out,
    config: Config,
    file: Option<&Path>,
    args: args::Serve,
) -> Result<(), AppError> {
    let config = with_flags(config, args);
    let deployment = Observed::open(&config, Access::Create).await?;
    let server = Server::bind(deployment.clone()).await?;
    let stop = CancellationToken::new();
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
    let file = file.map(Path::to_owned);
    let reloads = Task(tokio::spawn(reload_on_signal(out, server.handle(), move || {
        Config::load(file.as_deref()).map(|config| with_flags(config, args))
    })));
    if out.is_json() {
        line(&Listening::of(&server))?;
    } else {
        out.remark(format!("listening on {}", server.url()));
    }
    server.run(&stop).await;
    drop((signals, reloads));
    deployment.close().await;
    Ok(())
}

fn with_flags(mut config: Config, args: args::Serve) -> Config {
    config.server.without_tls |= args.without_tls;
    config.server.without_tokens |= args.without_tokens;
    config
}

/// Reloads tokens and certificate on SIGHUP; an invalid one is reported, and changes nothing.
#[cfg(unix)]
fn reload_on_signal(
    out: Out,
    handle: Handle,
    load: impl Fn() -> Result<Config, rehome_app::config::ConfigError>,
) -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    // Registered here, before the future is first polled.
    let hangups = signal(SignalKind::hangup());
    async move {
        let Ok(mut hangups) = hangups else { return };
        while hangups.recv().await.is_some() {
            let done = match load() {
                Ok(config) => handle.reload(&config).await,
                Err(error) => Err(error.into()),
            };
            match done {
                Ok(()) => {
                    tracing::info!("tokens and certificate reloaded");
                    out.remark("tokens and certificate reloaded");
                }
                Err(error) => {
                    tracing::error!(%error, "tokens and certificate not reloaded");
                    out.remark(format!("tokens and certificate not reloaded: {error}"));
                }
            }
        }
    }
}

#[cfg(not(unix))]
async fn reload_on_signal(
    _: Out,
    _: Handle,
    _: impl Fn() -> Result<Config, rehome_app::config::ConfigError>,
) {
}
