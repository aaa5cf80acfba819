//! Connections: accepted up to a bound, read within a time, and finished before the end.
//!
//! HTTP/1.1 only: followers hold connections of their own, and a smaller protocol is a smaller
//! surface. A proxy in front may speak whatever it likes to its clients.

mod paced;
mod places;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rehome_app::CancellationToken;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::rooms::{Proxies, prefix};
use crate::tls::Acceptor;
pub(crate) use paced::Pace;
use paced::Paced;
use places::Place;
pub(crate) use places::Places;

/// Maximum size of a request's first line and headers, and of the buffered part of its body, in bytes.
const BUFFER_BYTES: usize = 32 << 10;
/// How long accepted requests may take to end when the server stops.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Until the next try when the system gives no connection (no descriptors are left).
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How much, and for how long, to read of what a client still sends after its last response:
/// closing the connection at once would discard the response.
const LINGER_BYTES: u64 = 32 << 20;
const LINGER_WITHIN: Duration = Duration::from_secs(1);

/// Data of the connection for its requests.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: IpAddr,
    following: AtomicBool,
    too_slow: Arc<AtomicU64>,
    /// The client's certificate, in DER, which the handshake found good.
    certificate: OnceLock<Vec<u8>>,
}

impl Connection {
    /// The address at the other end.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The client's certificate, in DER, if it showed a good one.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        self.certificate.get().map(Vec::as_slice)
    }

    /// From now on the client only listens; when it closes its side, it has left.
    pub(crate) fn follows(&self) {
        self.following.store(true, Ordering::Relaxed);
    }

    fn is_following(&self) -> bool {
        self.following.load(Ordering::Relaxed)
    }

    fn is_too_slow(&self) {
        self.too_slow.fetch_add(1, Ordering::Relaxed);
    }
}

/// How connections are served.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) tls: watch::Receiver<Option<Acceptor>>,
    pub(crate) router: Router,
    pub(crate) places: Arc<Places>,
    pub(crate) proxies: Proxies,
    pub(crate) pace: Pace,
    /// Clients that were disconnected because they did not read their responses.
    pub(crate) too_slow: Arc<AtomicU64>,
}

/// Serves until `stop` is cancelled, and then until accepted requests are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    connections: Connections,
    stop: &CancellationToken,
) {
    let (tasks, leave) = (TaskTracker::new(), CancellationToken::new());
    while let Some((stream, peer)) = next(&listener, stop).await {
        let address = prefix(peer.ip());
        let has_share = !connections.proxies.has(peer.ip());
        let place = tokio::select! {
            place = connections.places.enter(address, has_share) => place,
            () = stop.cancelled() => break,
        };
        let (connections, leave, stop) = (connections.clone(), leave.clone(), stop.clone());
        let closing = place.closing();
        tasks.spawn(async move {
            tokio::select! {
                () = connections.serve(stream, peer, place, &stop) => {}
                () = closing.cancelled() => {}
                () = leave.cancelled() => {}
            }
        });
    }
    // New connections are refused by the system.
    drop(listener);
    tasks.close();
    if tokio::time::timeout(STOP_WITHIN, tasks.wait()).await.is_err() {
        tracing::warn!("requests were still running when the server stopped");
    }
    leave.cancel();
    tasks.wait().await;
}

/// The next connection; none any more once `stop` is cancelled.
async fn next(listener: &TcpListener, stop: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
    let accepted = async {
        loop {
            match listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = accepted => Some(accepted),
        () = stop.cancelled() => None,
    }
}

impl Connections {
    async fn serve(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        stop: &CancellationToken,
    ) {
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let connection = Arc::new(Connection {
            peer: peer.ip().to_canonical(),
            following: AtomicBool::new(false),
            too_slow: Arc::clone(&self.too_slow),
            certificate: OnceLock::new(),
        });
        let stream = Paced::new(stream, Arc::clone(&connection), self.pace);
        let acceptor = self.tls.borrow().clone();
        match acceptor {
            None => self.speak(stream, connection, place, stop).await,
            Some(acceptor) => {
                let handshake = acceptor.accept(stream);
                match tokio::time::timeout(self.pace.within, handshake).await {
                    Ok(Ok(stream)) => {
                        let shown = stream.get_ref().1.peer_certificates();
                        if let Some(shown) = shown.and_then(<[_]>::first) {
                            // It is the first and only time.
                            let _ = connection.certificate.set(shown.to_vec());
                        }
                        self.speak(stream, connection, place, stop).await;
                    }
                    // A client that does not use TLS, or does not trust the certificate.
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            }
        }
    }

    async fn speak(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        connection: Arc<Connection>,
        place: Place,
        stop: &CancellationToken,
    ) {
        let place = Arc::new(Mutex::new(place));
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (router, place) = (self.router.clone(), Arc::clone(&place));
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Arc::clone(&connection));
            Box::pin(async move {
                let serving = Serving::begin(place)?;
                let response = match router.oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                Ok::<_, Lost>(response.map(|body| Served { body, _serving: serving }))
            })
        });
        let mut http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.pace.within)
            .max_buf_size(BUFFER_BYTES)
            // A client that has closed its sending side still gets its response.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut stopping = pin!(stop.cancelled());
        let mut is_stopping = false;
        let ended = poll_fn(|cx| {
            if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                Pin::new(&mut http).graceful_shutdown();
            }
            http.poll_without_shutdown(cx)
        });
        match ended.await {
            Ok(()) => linger(http.into_parts().io.into_inner()).await,
            Err(error) => {
                tracing::debug!(%error, "a connection ended");
                if error.is_parse() {
                    linger(http.into_parts().io.into_inner()).await;
                }
            }
        }
    }
}

/// Closes the sending side, and reads from the client for a while.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let heard = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // A client that continues to send is disconnected.
    let _ = tokio::time::timeout(LINGER_WITHIN, heard).await;
}

/// The place went to another connection before the request was there.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed to admit another")]
struct Lost;

/// A request that is being served: its connection cannot be evicted.
struct Serving(Arc<Mutex<Place>>);

impl Serving {
    fn begin(place: Arc<Mutex<Place>>) -> Result<Self, Lost> {
        let has_place = place.lock().unwrap_or_else(PoisonError::into_inner).serve();
        if has_place { Ok(Self(place)) } else { Err(Lost) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

/// An answer that is on its way.
struct Served {
    body: Body,
    _serving: Serving,
}

impl hyper::body::Body for Served {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
