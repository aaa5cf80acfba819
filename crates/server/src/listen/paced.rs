//! A connection whose client has to keep up: a client that does not read, or reads too slowly, is
//! disconnected. So is a follower that has closed its side.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::Connection;

/// How fast a client has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Maximum time without reading.
    pub(crate) within: Duration,
    /// Minimum rate of reading, in bytes per second, while there is data.
    pub(crate) bytes_per_second: u32,
}

/// See the module.
pub(super) struct Paced {
    stream: TcpStream,
    connection: Arc<Connection>,
    pace: Pace,
    /// Since when, and at most until when, the client does not read.
    blocked: Option<Instant>,
    until: Pin<Box<Sleep>>,
    /// In this window: the blocked time, and the bytes read.
    waited: Duration,
    taken: u64,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>, pace: Pace) -> Self {
        let until = Box::pin(tokio::time::sleep(Duration::ZERO));
        let waited = Duration::ZERO;
        Self { stream, connection, pace, blocked: None, until, waited, taken: 0 }
    }

    fn took(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        if let Some(since) = self.blocked.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing can be written now. An error once that has lasted too long.
    fn block(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let within = self.pace.within;
        let since = *self.blocked.get_or_insert_with(|| {
            let now = Instant::now();
            self.until.as_mut().reset(now + within.saturating_sub(self.waited));
            now
        });
        loop {
            ready!(self.until.as_mut().poll(cx));
            let least = within.as_secs_f64() * f64::from(self.pace.bytes_per_second);
            if since.elapsed() >= within || (self.taken as f64) < least {
                self.connection.is_too_slow();
                let why = "the client does not read the response";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            (self.waited, self.taken) = (Duration::ZERO, 0);
            self.until.as_mut().reset(since + within);
        }
    }

    /// Writes until the client has read something or cannot.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(&self.stream) {
                Ok(bytes) => {
                    self.took(bytes);
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            match self.stream.poll_write_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return self.block(cx),
            }
        }
    }

    /// Whether the client will send nothing more.
    fn has_left(&self) -> bool {
        let ready = self.stream.ready(Interest::READABLE).now_or_never();
        matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_following() && self.has_left() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
