//! One connection: two pumps, and the faults that they meet.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Direction, Trap, Weather};

/// A trap, and how far it has come.
#[derive(Debug, Default)]
pub(super) enum TrapSet {
    #[default]
    None,
    Set(Trap),
    Sprung,
}

impl TrapSet {
    pub(super) fn new(trap: Trap) -> Self {
        Self::Set(trap)
    }

    pub(super) fn is_sprung(&self) -> bool {
        matches!(self, Self::Sprung)
    }
}

/// A trap's decision about some bytes.
enum Passage {
    Whole,
    /// Only so many of them, and then the end.
    Part(usize),
    /// All of them, and nothing that comes back.
    Answered,
    /// All of them, and then nothing until everything is let go.
    Held,
}

pub(super) struct Connection {
    pub(super) client: TcpStream,
    pub(super) end: CancellationToken,
    pub(super) weather: watch::Receiver<Weather>,
    pub(super) trap: Arc<Mutex<TrapSet>>,
}

impl Connection {
    /// Runs until one side ends it, a trap springs, or it is cut. Both sides are
    /// then reset, except after an end by one side, which is forwarded unchanged.
    pub(super) async fn run(mut self, server: SocketAddr) {
        let Ok(mut server) = TcpStream::connect(server).await else {
            return reset(&self.client);
        };
        // Requests and responses are small, and their times are measured.
        let _ = self.client.set_nodelay(true).and(server.set_nodelay(true));
        let swallow = CancellationToken::new();
        let (hold, held) = watch::channel(None);
        let gently = {
            let (from_client, to_client) = self.client.split();
            let (from_server, to_server) = server.split();
            let pump = |direction| Pump {
                direction,
                weather: self.weather.clone(),
                trap: Arc::clone(&self.trap),
                swallow: swallow.clone(),
                hold: hold.clone(),
                held: held.clone(),
            };
            tokio::select! {
                () = self.end.cancelled() => false,
                gently = pump(Direction::Up).run(from_client, to_server) => gently,
                gently = pump(Direction::Down).run(from_server, to_client) => gently,
            }
        };
        if !gently {
            reset(&self.client);
            reset(&server);
        }
    }
}

fn reset(stream: &TcpStream) {
    // One that is gone already needs none.
    let _ = stream.set_zero_linger();
}

struct Pump {
    direction: Direction,
    weather: watch::Receiver<Weather>,
    trap: Arc<Mutex<TrapSet>>,
    /// Set when the response to the sent bytes must not arrive.
    swallow: CancellationToken,
    /// Set when the connection is held: how often everything had been let go by then.
    hold: watch::Sender<Option<u64>>,
    held: watch::Receiver<Option<u64>>,
}

impl Pump {
    /// True if the sending side ended the connection in good order.
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> bool {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = match from.read(&mut buffer).await {
                Ok(0) => return true,
                Ok(read) => read,
                Err(_) => return false,
            };
            let delay = self.weather.borrow().delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let held = *self.held.borrow();
            if let Some(before) = held
                && self.weather.wait_for(|weather| weather.let_go > before).await.is_err()
            {
                return false;
            }
            let direction = self.direction;
            if self.weather.wait_for(|weather| !weather.stalled(direction)).await.is_err() {
                return false;
            }
            if direction == Direction::Down && self.swallow.is_cancelled() {
                return false;
            }
            let part = match self.passage(&buffer[..read]) {
                Passage::Whole => read,
                Passage::Part(part) => {
                    let _ = to.write_all(&buffer[..part]).await;
                    return false;
                }
                Passage::Answered => {
                    self.swallow.cancel();
                    read
                }
                Passage::Held => {
                    self.hold.send_replace(Some(self.weather.borrow().let_go));
                    read
                }
            };
            if to.write_all(&buffer[..part]).await.is_err() {
                return false;
            }
        }
    }

    fn passage(&self, bytes: &[u8]) -> Passage {
        let mut set = self.trap.lock().unwrap_or_else(PoisonError::into_inner);
        let passage = match &mut *set {
            TrapSet::Set(Trap::Reply(text))
                if self.direction == Direction::Up && contains(bytes, text) =>
            {
                Passage::Answered
            }
            TrapSet::Set(Trap::Hold(text))
                if self.direction == Direction::Up && contains(bytes, text) =>
            {
                Passage::Held
            }
            TrapSet::Set(Trap::Bytes(direction, left)) if *direction == self.direction => {
                match usize::try_from(*left) {
                    Ok(left) if left <= bytes.len() => Passage::Part(left),
                    _ => {
                        *left -= bytes.len() as u64;
                        Passage::Whole
                    }
                }
            }
            _ => Passage::Whole,
        };
        if !matches!(passage, Passage::Whole) {
            *set = TrapSet::Sprung;
        }
        passage
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
}
