//! Connections: accepted up to a bound, read within a time, and finished before the end.
//!
//! HTTP/1.1 only: followers hold connections of their own, and a smaller protocol is a smaller
//! surface. A proxy in front may speak whatever it likes to its clients.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rehome_app::CancellationToken;
use rehome_app::config::ServerLimits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::tls::Acceptor;

/// Most bytes of a request's first line and headers, and of what is buffered of its body.
const BUFFER_BYTES: usize = 64 << 10;
/// How long requests that were accepted may take to end when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Until the next try when the system gives no connection (no descriptors are left).
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves until `stop` is cancelled, and then until what was accepted is answered.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Option<Acceptor>>,
    router: Router,
    limits: &ServerLimits,
    stop: &CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections_max as usize));
    let (tasks, leave) = (TaskTracker::new(), CancellationToken::new());
    let connections = Connections { tls, router, client_timeout: limits.client_timeout };
    while let Some((stream, place)) = next(&listener, &places, stop).await {
        let (connections, watcher) = (connections.clone(), graceful.watcher());
        let leave = leave.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = connections.serve(stream, place, watcher) => {}
                () = leave.cancelled() => {}
            }
        });
    }
    // Whoever comes now is told by the system that nobody listens.
    drop(listener);
    if tokio::time::timeout(STOP_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the server stopped");
    }
    leave.cancel();
    tasks.close();
    tasks.wait().await;
}

/// The next connection, as soon as there is a place for it; none any more once `stop` is cancelled.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = accepted => accepted,
        () = stop.cancelled() => None,
    }
}

/// How connections are served.
#[derive(Clone)]
struct Connections {
    tls: watch::Receiver<Option<Acceptor>>,
    router: Router,
    client_timeout: Duration,
}

impl Connections {
    async fn serve(self, stream: TcpStream, _place: OwnedSemaphorePermit, watcher: Watcher) {
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.client_timeout));
        let stream = Box::pin(stream);
        let acceptor = self.tls.borrow().clone();
        match acceptor {
            None => self.speak(stream, watcher).await,
            Some(acceptor) => {
                let handshake = acceptor.accept(stream);
                match tokio::time::timeout(self.client_timeout, handshake).await {
                    Ok(Ok(stream)) => self.speak(stream, watcher).await,
                    // Somebody who speaks no TLS, or trusts other certificates.
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            }
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, watcher: Watcher) {
        let router = self.router;
        let service = router.map_request(|request: Request<Incoming>| request.map(Body::new));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.client_timeout)
            .max_buf_size(BUFFER_BYTES)
            // Who has said all and goes on listening gets an answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
