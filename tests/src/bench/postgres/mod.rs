//! The same on PostgreSQL: two servers of its own, the control plane and the first store on one, the
//! other store on the other.

mod adopted;
mod append;
mod copy;

use std::path::Path;

pub(crate) use adopted::write;
use anyhow::Result;
use rehome_cluster::{Cluster, Database, Options};

use super::Sizes;
use super::harness::{self, CONTROL, DEDICATED, SHARED};
use super::report::Line;
use super::{dual_write, fleet, gateway, memory, pause, resources};

/// The parts that need PostgreSQL.
pub(crate) const PARTS: [&str; 12] = [
    "pg_copy",
    "pg_append",
    "pg_dual_write",
    "pg_pause",
    "pg_memory",
    "pg_resources",
    "pg_gateway",
    "pg_fleet",
    "adopted_guard",
    "adopted_copy",
    "adopted_pause",
    "adopted_library",
];

/// Bounds of a pause, in milliseconds.
const PAUSES: pause::Bounds = pause::Bounds { max: 100.0, median: Some(30.0), processes: &[2] };
const MIRRORED: dual_write::Bounds =
    dual_write::Bounds { rates: &[Some(400.0)], p50: 1.2, p99: Some(1.7) };
/// The most memory that a process may need that copies, in MiB.
const MEMORY_MAX: f64 = 64.0;

/// Two servers.
struct Servers {
    source: Cluster,
    target: Cluster,
}

impl Servers {
    fn start() -> Result<Self> {
        let options = Options::default();
        Ok(Self { source: Cluster::start(&options)?, target: Cluster::start(&options)? })
    }

    /// Has the sites of `folder` use databases of their own on these servers. Answers the source's.
    fn name(&self, folder: &Path, targets: &[&str]) -> Result<(Database, Vec<Database>)> {
        let source = self.source.database()?;
        let control = self.source.database()?;
        let mut urls = vec![(CONTROL, control.url()), (SHARED, source.url())];
        let mut databases = Vec::new();
        for name in targets {
            let database = self.target.database()?;
            urls.push((name, database.url()));
            databases.push(database);
        }
        harness::name_servers(folder, &urls)?;
        Ok((source, databases))
    }
}

/// Measures one of [`PARTS`].
pub(crate) async fn run(part: &str, folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let servers = Servers::start()?;
    match part {
        "pg_copy" => return copy::ratio(&servers, folder, sizes).await,
        "adopted_guard" => return adopted::guard::costs(&servers, sizes).await,
        "adopted_copy" => return Box::pin(adopted::copy::ratio(&servers, folder, sizes)).await,
        "adopted_library" => {
            return Box::pin(adopted::library::beside(&servers, folder, sizes)).await;
        }
        "adopted_pause" => return Box::pin(adopted::pause::pauses(&servers, folder, sizes)).await,
        _ => {}
    }
    if part == "pg_fleet" {
        servers.name(folder, &fleet::TARGETS)?;
        return fleet::numbers(folder, sizes).await;
    }
    if part == "pg_memory" {
        return memory::bound(folder, sizes, MEMORY_MAX, |folder| {
            servers.name(folder, &[DEDICATED]).map(|_| ())
        })
        .await;
    }
    let (source, _) = servers.name(folder, &[DEDICATED])?;
    match part {
        "pg_append" => append::ratios(&source, folder, sizes).await,
        "pg_resources" => resources::table(folder, sizes).await,
        "pg_gateway" => gateway::numbers(folder, sizes).await,
        "pg_dual_write" => dual_write::ratios(folder, sizes, &MIRRORED).await,
        _ => pause::pauses(folder, sizes, &PAUSES).await,
    }
}
