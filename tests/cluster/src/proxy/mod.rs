//! A TCP proxy that breaks connections on demand.
//!
//! It runs on a separate thread and is controlled by ordinary calls. A fault holds from the
//! return of its call.
//!
//! | call | effect for a client |
//! |---|---|
//! | [`Proxy::cut`], [`Proxy::cut_one`] | connections are reset; new ones are made |
//! | [`Proxy::refuse`] | new connections are refused, existing ones continue |
//! | [`Proxy::stall`] | no bytes pass in that direction, connections stay open |
//! | [`Proxy::delay`] | all bytes pass later |
//! | [`Proxy::lose_reply`] | one request arrives, and instead of its response the connection is reset |
//! | [`Proxy::hold`] | one request arrives, and nothing further on its connection |
//! | [`Proxy::cut_after`] | one connection is reset after this many bytes in one direction |

mod connection;
mod listener;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc as requests, watch};

use crate::port;
use listener::{Listener, Request};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Faults that all connections have for as long as they are set.
#[derive(Clone, Debug, Default)]
struct Weather {
    stalled_up: bool,
    stalled_down: bool,
    delay: Duration,
    /// The number of releases: a held request waits for the next one.
    let_go: u64,
}

impl Weather {
    fn stalled(&self, direction: Direction) -> bool {
        match direction {
            Direction::Up => self.stalled_up,
            Direction::Down => self.stalled_down,
        }
    }

    fn stall(&mut self, direction: Direction, stalled: bool) {
        match direction {
            Direction::Up => self.stalled_up = stalled,
            Direction::Down => self.stalled_down = stalled,
        }
    }
}

/// What happens to one connection, the first that it fits, once.
#[derive(Clone, Debug)]
enum Trap {
    /// Reset when the server answers a request with this text in it.
    Reply(Vec<u8>),
    /// Nothing more in any direction after a request with this text in it.
    Hold(Vec<u8>),
    /// Reset after so many bytes.
    Bytes(Direction, u64),
}

/// A proxy on a port of 127.0.0.1; when it is dropped its connections are reset.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    requests: Option<requests::UnboundedSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy before the server on that port of 127.0.0.1.
    pub fn start(server: u16) -> Result<Self> {
        let (port, socket) = port::listen()?;
        socket.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (weather, forecast) = watch::channel(Weather::default());
        let (requests, asked) = requests::unbounded_channel();
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            let listener = Listener::new(port, local(server), forecast);
            runtime.block_on(listener.run(socket, asked));
        })?;
        Ok(Self { port, weather, requests: Some(requests), thread: Some(thread) })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resets all connections; how many there were.
    pub fn cut(&self) -> Result<usize> {
        self.ask(|told| Request::Cut { nth: None, told })
    }

    /// Resets one connection, the `nth` by age (modulo their number); how many it were: 1, or 0 if there
    /// is none.
    pub fn cut_one(&self, nth: u64) -> Result<usize> {
        self.ask(|told| Request::Cut { nth: Some(nth), told })
    }

    /// Connections that are open now.
    pub fn connections(&self) -> Result<usize> {
        self.ask(Request::Count)
    }

    /// Refuses new connections until [`Self::accept`].
    pub fn refuse(&self) -> Result<()> {
        self.ask(Request::Refuse)
    }

    /// Accepts new connections again.
    pub fn accept(&self) -> Result<()> {
        self.ask(Request::Accept)?
    }

    /// Nothing comes through in this direction until [`Self::flow`].
    pub fn stall(&self, direction: Direction) {
        self.weather.send_modify(|weather| weather.stall(direction, true));
    }

    /// Everything comes through again, and at once.
    pub fn flow(&self) {
        self.weather.send_modify(|weather| {
            *weather = Weather { let_go: weather.let_go + 1, ..Weather::default() };
        });
    }

    /// Everything that passes is held for so long.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// The next request that contains `text` reaches the server; its connection is reset when the server
    /// has responded, and the response is lost. An empty text matches any request. A request in several
    /// pieces matches if one piece contains the text.
    pub fn lose_reply(&self, text: &[u8]) -> Result<()> {
        self.ask(|told| Request::Trap(Trap::Reply(text.to_vec()), told))
    }

    /// The next request with `text` in it reaches the server, and then its connection is held, both ways,
    /// until [`Self::flow`]. With a client that is stopped while it is held, the server has a client that
    /// has stopped right there.
    pub fn hold(&self, text: &[u8]) -> Result<()> {
        self.ask(|told| Request::Trap(Trap::Hold(text.to_vec()), told))
    }

    /// The next connection to pass `bytes` in this direction, counted from now, is reset there; those
    /// after them are lost.
    pub fn cut_after(&self, direction: Direction, bytes: u64) -> Result<()> {
        self.ask(|told| Request::Trap(Trap::Bytes(direction, bytes), told))
    }

    /// Whether the trap that was set last has been sprung.
    pub fn sprung(&self) -> Result<bool> {
        self.ask(Request::Sprung)
    }

    fn ask<T>(&self, request: impl FnOnce(mpsc::Sender<T>) -> Request) -> Result<T> {
        let (told, answer) = mpsc::channel();
        let requests = self.requests.as_ref().context("the proxy runs until it is dropped")?;
        requests.send(request(told)).ok().context("the proxy is gone")?;
        answer.recv().context("the proxy is gone")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A panic has printed its message.
            let _ = thread.join();
        }
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn listen_again(port: u16) -> Result<TcpListener> {
    let socket = TcpListener::bind(local(port))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
