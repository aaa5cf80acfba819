//! After the verdict: the console, for interactive use.

use std::net::Ipv4Addr;

use rehome_app::{AppError, CancellationToken};
use rehome_server::Server;
use rehome_workload::quickstart::{PATIENCE, QuickstartOptions, SLOW_RATE, Stay};
use tokio::net::TcpListener;

use super::QuickstartArgs;
use crate::commands::serve::Listening;
use crate::operate::{Signals, Task, stop_on_signal};
use crate::output::terminal::is_attended;
use crate::output::{Out, count, line};

/// The first port to try by default: that of `rehome serve`.
const FIRST: u16 = 7411;
/// The last one, before any free one will do.
const LAST: u16 = 7430;

/// Where the console is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// No console.
    Nowhere,
    /// On this port and no other; 0: any free one.
    Port(u16),
    /// On the usual port, or the next free one.
    Usual,
}

/// Whether to serve the console: by default only on a terminal, where the address can be read and
/// Ctrl-C can be pressed.
pub(super) fn place(out: Out, args: &QuickstartArgs) -> Place {
    let watched = is_attended();
    match args.port {
        Some(port) => Place::Port(port),
        // Its writers are processes that have ended.
        None if args.layout.is_some() => Place::Nowhere,
        None if watched && !args.exit && !out.is_json() && !out.is_quiet() => Place::Usual,
        None => Place::Nowhere,
    }
}

/// Binds a port of the loopback address. Connections before the verdict wait for it.
pub(super) async fn listen(place: Place) -> Result<Option<TcpListener>, AppError> {
    let ports = match place {
        Place::Nowhere => return Ok(None),
        Place::Port(port) => port..=port,
        Place::Usual => FIRST..=LAST,
    };
    let mut bound = bind(*ports.start()).await;
    for port in ports.skip(1) {
        if bound.is_ok() {
            break;
        }
        bound = bind(port).await;
    }
    if bound.is_err() && place == Place::Usual {
        bound = bind(0).await;
    }
    bound.map(Some)
}

async fn bind(port: u16) -> Result<TcpListener, AppError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        let message = format!("cannot listen on {}:{port}: {error}", Ipv4Addr::LOCALHOST);
        AppError::failed("cannot_listen", message)
    })
}

/// Serves the console until Ctrl-C or SIGTERM, while the writers continue slowly.
pub(super) async fn serve(
    out: Out,
    options: &QuickstartOptions,
    stay: Stay,
    listener: TcpListener,
) -> Result<(), AppError> {
    let server = Server::on(stay.deployment.clone(), listener).await?;
    let stop = CancellationToken::new();
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
    let load = stay.write_slowly(options)?;
    if out.is_json() {
        line(&Listening::of(&server))?;
    } else {
        say(out, options, &server.url(), &stay);
    }
    let writers = async {
        stop.cancelled().await;
        load.stop(PATIENCE).await.acked()
    };
    let ((), acked) = tokio::join!(server.run(&stop), writers);
    drop(signals);
    let folder = stay.verdict.directory.display();
    out.remark(format!("stopped; {} more events were acknowledged; files: {folder}", count(acked)));
    stay.deployment.close().await;
    Ok(())
}

fn say(out: Out, options: &QuickstartOptions, url: &str, stay: &Stay) {
    let verdict = &stay.verdict;
    let moved = verdict.back.as_ref().map_or(&verdict.migration, |back| &back.migration);
    out.remark(format!(
        "\nThe console: {url}\n  \
         the migration: {url}/migrations/{}\n  \
         the {} writers continue at {} events/s: return the tenant, or move another one\n  \
         Ctrl-C stops it; the files stay",
        moved.id,
        options.writers,
        options.rate.min(SLOW_RATE),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_refused_when_it_was_said() {
        let taken = listen(Place::Port(0)).await.unwrap().unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(port, 0);
        assert_eq!(listen(Place::Port(port)).await.unwrap_err().code(), "cannot_listen");
    }

    #[tokio::test]
    async fn the_next_port_is_taken_when_none_was_said() {
        let first = listen(Place::Usual).await.unwrap().unwrap().local_addr().unwrap();
        let held = listen(Place::Usual).await.unwrap().unwrap();
        let next = listen(Place::Usual).await.unwrap().unwrap();
        assert!(first.ip().is_loopback());
        assert_ne!(held.local_addr().unwrap().port(), next.local_addr().unwrap().port());
    }

    #[tokio::test]
    async fn nobody_who_looks_nothing_to_listen_on() {
        assert!(listen(Place::Nowhere).await.unwrap().is_none());
    }
}
