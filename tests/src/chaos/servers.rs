//! The servers of a deployment.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use rehome_cluster::{Cluster, Database, Options, Patroni};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The store that the tenant begins in.
    Shared,
    /// The store that it moves to.
    Dedicated,
    /// The control plane.
    Control,
}

impl Server {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shared, Self::Dedicated, Self::Control];

    /// The store's name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Dedicated => "dedicated",
            Self::Control => "control",
        }
    }
}

/// A server for each store and one for the control plane.
#[derive(Debug)]
pub struct Servers {
    alone: BTreeMap<Server, Arc<Cluster>>,
    /// The one that is a cluster with failover.
    patroni: Option<(Server, Arc<Patroni>)>,
    small_target: bool,
}

impl Servers {
    /// Starts them.
    pub fn start() -> Result<Self> {
        Self::start_with(|_| Options::default())
    }

    /// Starts them, the store that the tenant moves to with databases on a disk of this size.
    pub fn with_small_target(mib: u32) -> Result<Self> {
        let small = |server| match server {
            Server::Dedicated => Options::default().small_disk(mib),
            Server::Shared | Server::Control => Options::default(),
        };
        Ok(Self { small_target: true, ..Self::start_with(small)? })
    }

    fn start_with(options: impl Fn(Server) -> Options) -> Result<Self> {
        let start = |server| Ok((server, Arc::new(Cluster::start(&options(server).in_memory())?)));
        let alone = Server::ALL.into_iter().map(start).collect::<Result<_>>()?;
        Ok(Self { alone, patroni: None, small_target: false })
    }

    /// The same servers, of which a cluster with failover replaces one.
    #[must_use]
    pub fn with_patroni(&self, server: Server, patroni: &Arc<Patroni>) -> Self {
        let mut alone = self.alone.clone();
        alone.remove(&server);
        let patroni = Some((server, Arc::clone(patroni)));
        Self { alone, patroni, small_target: self.small_target }
    }

    pub(super) fn database(&self, server: Server) -> Result<Database> {
        if let Some(patroni) = self.clustered(server) {
            return patroni.database();
        }
        match server {
            Server::Dedicated if self.small_target => self.of(server).database_on_small_disk(),
            _ => self.of(server).database(),
        }
    }

    /// One of them that is alone.
    pub fn of(&self, server: Server) -> &Cluster {
        &self.alone[&server]
    }

    /// Those that are alone.
    pub(super) fn alone(&self) -> impl Iterator<Item = (Server, &Cluster)> {
        self.alone.iter().map(|(server, cluster)| (*server, &**cluster))
    }

    /// The cluster with failover that replaces this one.
    fn clustered(&self, server: Server) -> Option<&Patroni> {
        self.patroni.as_ref().filter(|(of, _)| *of == server).map(|(_, patroni)| &**patroni)
    }

    pub(super) fn sql(&self, server: Server, database: &str, statements: &str) -> Result<String> {
        match self.clustered(server) {
            Some(patroni) => patroni.sql(database, statements),
            None => self.of(server).sql(database, statements),
        }
    }

    /// Begins or resumes whichever was left stopped.
    pub fn mend(&self) -> Result<()> {
        self.alone.values().try_for_each(|cluster| cluster.mend())
    }
}
