//! The quickstart with another program's stores: `--layout`. They are files, or databases of a server.
//!
//! ```text
//! stores of another program ─▶ adopt ─▶ writer processes on ─▶ migrate ─▶ writers off ─▶ verdict
//! ```
//!
//! The writers are other processes with plain SQL, which do not use rehome: where a store refuses them, they try the
//! other one. The verdict compares their own records, which each keeps in a file, with the rows.

mod journal;
mod judge;
mod plain;
mod writers;

use std::time::{Duration, Instant};

use rehome_postgres::{PostgresUrl, plain as postgres};
use uuid::Uuid;

use super::fill::Filled;
use super::folder::{Folder, Stores};
use super::journey::Journey;
use super::{QuickstartOptions, SOURCE, Stage, Stay, Step, TARGET, Tell, chosen};
use crate::load::history::{self, Wanted};
use plain::{Plain, PlainEvent, failed};
use rehome_app::error::{AppError, Kind};
use rehome_app::{Access, Config, adoption};
use rehome_observe::Observed;
use writers::Writers;
pub use writers::{PlainWriter, write};

/// Events of a stream of the history.
const STREAM_EVENTS: u64 = 20;
/// When the history's events happened.
const LONG_AGO: &str = "2025-01-01T00:00:00+00:00";
/// The interval between two reads of the writers' records.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Does all of it, and leaves the deployment open.
pub(super) async fn stay(
    options: &QuickstartOptions,
    layout: &str,
    tell: Tell<'_>,
) -> Result<Stay, AppError> {
    let stores = match &options.postgres {
        None => Stores::files(Some(layout)),
        Some(url) => databases(url, layout)?,
    };
    let folder = Folder::prepare(options.folder.as_deref(), stores)?;
    tell(folder.opened());
    if let Some(url) = &options.postgres {
        let url: PostgresUrl = url.parse().map_err(|error| failed(&error))?;
        for name in &folder.databases {
            postgres::create_database(&url, name).await.map_err(|error| failed(&error))?;
        }
    }
    let config = Config::load_from(Some(&folder.config), [])?;
    let filled = fill(&config, options).await?;
    let moving = chosen(&filled, options.tenant)?;
    tell(Step::Filled { took: filled.took, tenants: filled.all, moving: moving.tenant });
    for store in [SOURCE, TARGET] {
        adoption::adopt(&config, &store.parse()?, false).await?;
    }
    let deployment = Observed::open(&config, Access::Existing).await?;

    let writers = Writers::start(options, &folder, moving.tenant)?;
    watch(&writers, options.watch, Stage::Before, tell).await;
    let mut journeys = Vec::new();
    let mut on_the_way = Journey::there(&deployment, moving.tenant).await?;
    loop {
        on_the_way.until_switched(&|| writers.seen(), tell).await?;
        watch(&writers, options.watch, Stage::After, tell).await;
        if journeys.is_empty() && options.there_and_back {
            let back = on_the_way.and_back().await?;
            journeys.push(std::mem::replace(&mut on_the_way, back));
        } else {
            break;
        }
    }
    let records = writers.stop().await?;
    tell(Step::Verifying);
    let verification = on_the_way.verify().await?;
    journeys.push(on_the_way);
    tell(Step::Checking { acked: records.iter().map(journal::Journal::acked).sum() });
    let verdict = judge::judge(
        &deployment,
        &folder,
        &config,
        options,
        moving,
        &journeys,
        &records,
        verification,
    )
    .await?;
    Ok(Stay { verdict, deployment })
}

/// The databases of both stores, on the server of that URL, with names that no other has.
fn databases(url: &str, layout: &str) -> Result<Stores, AppError> {
    let usage = |why: &str| AppError::new(Kind::Usage, "bad_option", format!("--postgres: {why}"));
    url.parse::<PostgresUrl>().map_err(|error| usage(&error.to_string()))?;
    let unique = Uuid::new_v4().simple().to_string();
    let names = [SOURCE, TARGET].map(|store| format!("rehome_quickstart_{}_{store}", &unique[..8]));
    let urls = names.each_ref().map(|name| with_database(url, name));
    match urls {
        [Some(source), Some(target)] => Ok(Stores {
            layout: Some(layout.to_owned()),
            urls: [source, target],
            databases: names.into(),
        }),
        _ => Err(usage("must be a URL like postgres://ROLE@HOST/DATABASE")),
    }
}

/// The URL with another database. `None`: it is not a URL that a configuration can hold.
fn with_database(url: &str, name: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if rest.contains(['"', '\\']) || rest.chars().any(char::is_control) {
        return None;
    }
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (rest, String::new()),
    };
    let servers = place.split('/').next()?;
    Some(format!("{scheme}://{servers}/{name}{query}"))
}

/// Makes both tables, and the histories in the first.
async fn fill(config: &Config, options: &QuickstartOptions) -> Result<Filled, AppError> {
    let began = Instant::now();
    let mut wanted = history::tenants(options.tenants, options.events, options.seed);
    if let (Some(named), Some(largest)) = (options.tenant, wanted.first_mut()) {
        largest.tenant = named;
    }
    for (Wanted { tenant, events }, number) in wanted.iter().zip(0_u64..) {
        let tenant = tenant.to_string();
        Plain::open(config, TARGET, &tenant).await?;
        let mut plain = Plain::open(config, SOURCE, &tenant).await?;
        let made: Vec<_> = (0..*events).map(|n| old_event(options.seed, number, n)).collect();
        for some in made.chunks(5_000) {
            plain.append(some).await.map_err(|error| failed(&error))?;
        }
    }
    Ok(Filled { all: wanted, took: began.elapsed() })
}

fn old_event(seed: u64, tenant: u64, n: u64) -> PlainEvent {
    let (stream, version) = (n / STREAM_EVENTS, n % STREAM_EVENTS + 1);
    PlainEvent {
        id: mixed(seed, tenant << 40 | n).to_string(),
        stream: mixed(!seed, tenant << 40 | stream).to_string(),
        version: version.cast_signed(),
        at: LONG_AGO.to_owned(),
        payload: format!("{{\"n\": {n}, \"note\": \"an event of before\"}}"),
    }
}

/// A pseudo-random id, the same for the same numbers.
fn mixed(seed: u64, number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::from_u64_pair(seed, 0x7E40_3E00), &number.to_be_bytes())
}

async fn watch(writers: &Writers, time: Duration, stage: Stage, tell: Tell<'_>) {
    let began = tokio::time::Instant::now();
    while began.elapsed() < time {
        tokio::time::sleep(LOOK_EVERY).await;
        tell(Step::Watching { stage, writers: writers.seen() });
    }
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_of_a_url_is_another() {
        for (url, wanted) in [
            (
                "postgres://me:p%40w@h:1,g:2/db?sslmode=require",
                "postgres://me:p%40w@h:1,g:2/n?sslmode=require",
            ),
            ("postgresql://h", "postgresql://h/n"),
            ("postgres:///db", "postgres:///n"),
            ("postgres://?host=/tmp", "postgres:///n?host=/tmp"),
        ] {
            assert_eq!(with_database(url, "n").as_deref(), Some(wanted));
        }
        for refused in ["host=h dbname=db", "postgres://h/a\"b", "postgres://h/a\nb"] {
            assert_eq!(with_database(refused, "n"), None);
        }
    }
}
