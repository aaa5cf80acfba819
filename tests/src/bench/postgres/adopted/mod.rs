//! Adopted stores: events in the table of another library, with its indexes, written by its own statement.
//!
//! | file | what is measured |
//! |---|---|
//! | `guard` | the cost of the guard for inserts |
//! | `copy` | a migration's copy |
//! | `pause` | the cost of a cutover for writers that do not use rehome |
//! | `library` | the library's own migration, compared with ours |
//! | `table` | nothing: the library's table, and rows as the library writes them |

pub(super) mod copy;
pub(super) mod guard;
pub(super) mod library;
pub(super) mod pause;
mod table;

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rehome_app::config::Config;
use rehome_app::deployment::Access;
use rehome_cluster::Database;
use rehome_domain::layout::Layout;
use rehome_observe::Observed;
use rehome_ports::TenantNames;
use rehome_ports::clock::SystemClock;
use rehome_postgres::Adoption;

pub(crate) use pause::write;

use super::Servers;
use crate::harness::{self, SHARED, Site};

/// The layout of the library's table.
const LAYOUT: &str = "eventsource-py";

/// A table outside of any deployment.
fn adoption(database: &Database) -> Result<Adoption> {
    Ok(Adoption {
        id: harness::id(SHARED)?,
        url: database.url().parse()?,
        layout: Layout::built_in(LAYOUT).with_context(|| format!("there is no layout {LAYOUT}"))?,
        deployment: "bench".to_owned(),
        clock: Arc::new(SystemClock),
        names: TenantNames::default(),
    })
}

/// A deployment over tables that are there: adopts all of them, and publishes switches in `routing`, if that
/// is given.
async fn open(
    servers: &Servers,
    folder: &Path,
    stores: &[(&str, &Database)],
    routing: Option<&Database>,
) -> Result<Site> {
    let control = servers.source.database()?;
    let mut text = format!("[control_plane]\nurl = \"{}\"\n", control.url());
    for (n, (name, database)) in stores.iter().enumerate() {
        let (url, default) = (database.url(), n == 0);
        write!(
            text,
            "[[stores]]\nid = \"{name}\"\nurl = \"{url}\"\nlayout = \"{LAYOUT}\"\ndefault = {default}\n"
        )?;
    }
    if let Some(routing) = routing {
        write!(text, "[[publish]]\nkind = \"{LAYOUT}\"\nurl = \"{}\"\n", routing.url())?;
    }
    let file = folder.join("rehome.toml");
    std::fs::write(&file, text)?;
    // There are passwords in it.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    let config = Config::load(Some(&file))?;
    for store in &config.stores {
        rehome_app::adoption::adopt(&config, &store.id, false).await?;
    }
    let deployment = Observed::open(&config, Access::Existing).await?;
    Ok(Site::of(&deployment, folder))
}
