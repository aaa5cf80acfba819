//! A minimal TCP load balancer: each connection goes to the next server, or to the other one
//! if that refuses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs until it is dropped; its connections end with it.
pub(crate) struct Balancer {
    address: SocketAddr,
    taken: Arc<[AtomicU64; 2]>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Balancer {
    pub(crate) fn start(servers: [SocketAddr; 2]) -> Result<Self> {
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (taken, stop) = (Arc::<[AtomicU64; 2]>::default(), CancellationToken::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (counts, until) = (Arc::clone(&taken), stop.clone());
        let thread = thread::Builder::new().name("balancer".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(socket) else { return };
                tokio::select! {
                    () = balance(listener, servers, counts) => {}
                    () = until.cancelled() => {}
                }
            });
        })?;
        Ok(Self { address, taken, stop, thread: Some(thread) })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections to each server.
    pub(crate) fn taken(&self) -> [u64; 2] {
        [0, 1].map(|server| self.taken[server].load(Ordering::Relaxed))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic has printed its message.
            let _ = thread.join();
        }
    }
}

async fn balance(listener: TcpListener, servers: [SocketAddr; 2], taken: Arc<[AtomicU64; 2]>) {
    let mut connections = JoinSet::new();
    let mut next = 0;
    // Its clients see a listener that accepts no more.
    while let Ok((client, _)) = listener.accept().await {
        let order = [next, 1 - next];
        next = 1 - next;
        let taken = Arc::clone(&taken);
        connections.spawn(pass(client, order, servers, taken));
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(
    mut client: TcpStream,
    order: [usize; 2],
    servers: [SocketAddr; 2],
    taken: Arc<[AtomicU64; 2]>,
) {
    for server in order {
        if let Ok(mut stream) = TcpStream::connect(servers[server]).await {
            taken[server].fetch_add(1, Ordering::Relaxed);
            // However it ends, both sides see their end.
            let _ = copy_bidirectional(&mut client, &mut stream).await;
            return;
        }
    }
}
