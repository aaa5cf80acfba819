//! The proxy's task: it accepts connections and requests, and owns the open connections.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, TrapSet};
use super::{Trap, Weather, listen_again};

/// A request to it. The response comes when it is done.
pub(super) enum Request {
    Cut { nth: Option<u64>, told: Sender<usize> },
    Count(Sender<usize>),
    Refuse(Sender<()>),
    Accept(Sender<Result<()>>),
    Trap(Trap, Sender<()>),
    Sprung(Sender<bool>),
}

pub(super) struct Listener {
    port: u16,
    server: SocketAddr,
    weather: watch::Receiver<Weather>,
    trap: Arc<Mutex<TrapSet>>,
    /// By age.
    open: BTreeMap<u64, CancellationToken>,
    taken: u64,
    tasks: JoinSet<u64>,
}

impl Listener {
    pub(super) fn new(port: u16, server: SocketAddr, weather: watch::Receiver<Weather>) -> Self {
        let (trap, open, tasks) = (Arc::default(), BTreeMap::new(), JoinSet::new());
        Self { port, server, weather, trap, open, taken: 0, tasks }
    }

    /// Runs until no sender is left.
    pub(super) async fn run(mut self, first: StdListener, mut asked: UnboundedReceiver<Request>) {
        let mut socket = TcpListener::from_std(first).ok();
        loop {
            tokio::select! {
                request = asked.recv() => match request {
                    Some(request) => self.answer(request, &mut socket).await,
                    None => break,
                },
                Some(taken) = take(socket.as_ref()) => self.open(taken),
                Some(Ok(ended)) = self.tasks.join_next() => drop(self.open.remove(&ended)),
            }
        }
        self.cut(None).await;
    }

    fn open(&mut self, client: TcpStream) {
        self.taken += 1;
        let (number, end) = (self.taken, CancellationToken::new());
        self.open.insert(number, end.clone());
        let (weather, trap, server) = (self.weather.clone(), Arc::clone(&self.trap), self.server);
        self.tasks.spawn(async move {
            Connection { client, end, weather, trap }.run(server).await;
            number
        });
    }

    /// A response without a waiting receiver is dropped.
    async fn answer(&mut self, request: Request, socket: &mut Option<TcpListener>) {
        match request {
            Request::Cut { nth, told } => {
                let cut = self.cut(nth).await;
                let _ = told.send(cut);
            }
            Request::Count(told) => drop(told.send(self.open.len())),
            Request::Refuse(told) => {
                *socket = None;
                let _ = told.send(());
            }
            Request::Accept(told) => {
                let again = match socket {
                    Some(_) => Ok(()),
                    None => listen_again(self.port)
                        .and_then(|again| Ok(TcpListener::from_std(again)?))
                        .context("the proxy's port is taken")
                        .map(|again| *socket = Some(again)),
                };
                let _ = told.send(again);
            }
            Request::Trap(trap, told) => {
                *self.trap() = TrapSet::new(trap);
                let _ = told.send(());
            }
            Request::Sprung(told) => {
                let sprung = self.trap().is_sprung();
                let _ = told.send(sprung);
            }
        }
    }

    /// Ends these connections and waits until they are.
    async fn cut(&mut self, nth: Option<u64>) -> usize {
        let all: Vec<u64> = self.open.keys().copied().collect();
        let chosen = match nth {
            None => all,
            Some(_) if all.is_empty() => all,
            Some(nth) => {
                let index = usize::try_from(nth % all.len() as u64).unwrap_or_default();
                vec![all[index]]
            }
        };
        chosen
            .iter()
            .filter_map(|number| self.open.get(number))
            .for_each(CancellationToken::cancel);
        while chosen.iter().any(|number| self.open.contains_key(number)) {
            match self.tasks.join_next().await {
                Some(Ok(ended)) => drop(self.open.remove(&ended)),
                Some(Err(_)) => {}
                None => break,
            }
        }
        chosen.len()
    }

    fn trap(&self) -> std::sync::MutexGuard<'_, TrapSet> {
        self.trap.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The next connection; never, while there is no listener.
async fn take(socket: Option<&TcpListener>) -> Option<TcpStream> {
    match socket {
        Some(socket) => socket.accept().await.ok().map(|(client, _)| client),
        None => std::future::pending().await,
    }
}
