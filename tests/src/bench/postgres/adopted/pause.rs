//! The cost of a cutover for writers that do not use rehome: eight in two processes, which insert where the
//! library's routing points, and read the routing again after a refusal.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rehome_cluster::Database;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Fact, Options};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::Servers;
use super::table::{self, Inserter, Rows, Session};
use crate::Sizes;
use crate::child::{self, Working};
use crate::harness::{self, DEDICATED, SHARED, Site};
use crate::report::{Line, median};

/// Where the routing is, beside the stores.
const ROUTING: &str = "routing";
const PROCESSES: usize = 2;
const WRITERS: usize = 4;
/// What all writers together insert, in rows per second.
const RATE: f64 = 800.0;
/// The longest time without an acknowledgement, in milliseconds.
const PAUSE_MAX: f64 = 50.0;
/// How long writers write before the first move, and between two.
const BETWEEN: Duration = Duration::from_millis(400);
/// The guard's word for a tenant that is elsewhere.
const ELSEWHERE: &str = "RH001";
/// How soon a writer reads an unchanged routing again.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Moves there and back under the writers.
pub(in super::super) async fn pauses(
    servers: &Servers,
    folder: &Path,
    sizes: &Sizes,
) -> Result<Vec<Line>> {
    let (tenant, rows) = (Uuid::new_v4(), sizes.large / 30);
    let (shared, dedicated) = (servers.source.database()?, servers.target.database()?);
    let routing = servers.source.database()?;
    table::make(&shared, &[tenant, Uuid::new_v4()], rows).await?;
    table::make(&dedicated, &[], 0).await?;
    table::make_routing(&routing).await?;
    let stores = [(SHARED, &shared), (DEDICATED, &dedicated)];
    let site = super::open(servers, folder, &stores, Some(&routing)).await?;
    let urls = [(SHARED, &shared), (DEDICATED, &dedicated), (ROUTING, &routing)];
    harness::name_servers(folder, &urls.map(|(name, database)| (name, database.url())))?;

    let mut writers = Vec::new();
    for _ in 0..PROCESSES {
        let args = [folder.as_os_str(), tenant.to_string().as_ref()].map(std::ffi::OsStr::to_owned);
        let mut command = child::command("adopted", &[&args[0], &args[1]])?;
        writers.push(Working::start(&mut command).await?);
    }
    sleep(BETWEEN).await;
    let mut moves = Vec::new();
    for _ in 0..sizes.returns.div_ceil(2) {
        for target in [DEDICATED, SHARED] {
            let options = Options { rollback_window_ms: 0, ..Options::default() };
            let moving = site.start(TenantId::new(tenant), target, options, |_| false).await?;
            moves.push((moving.id, target));
            moving.done().await?;
            sleep(BETWEEN).await;
        }
    }
    let mut acks = Vec::new();
    for process in writers {
        let said = process.end().await?;
        for line in said.lines() {
            acks.push(Ack::read(line).with_context(|| format!("no ack: {line}"))?);
        }
    }
    acks.sort_by_key(|ack| ack.at);
    let check = checked(&shared, tenant, rows, &acks).await?;
    let mut pauses = Vec::new();
    for (id, target) in moves {
        pauses.push(Pause::of(&site, id, target, &acks).await?);
    }
    site.close().await;
    let worst = pauses.iter().max_by(|a, b| a.gap.total_cmp(&b.gap)).context("no move")?;
    let of = |number: fn(&Pause) -> f64| pauses.iter().map(number).collect::<Vec<_>>();
    let waited = of(|pause| pause.longest).into_iter().fold(0.0, f64::max);
    let name = |what: &str| format!("pause of a cutover, {rows} rows, 2 processes, {what}");
    let detail = format!(
        "of {} cutovers; the worst had {:.1} ms from intent to switch, {:.1} ms more until it was published",
        pauses.len(),
        worst.to_switch,
        worst.to_published
    );
    let medians = format!(
        "{:.1} ms from intent to switch, {:.1} ms more until it was published",
        median(&of(|pause| pause.to_switch)),
        median(&of(|pause| pause.to_published))
    );
    Ok(vec![
        Line::at_most(name("max"), worst.gap, PAUSE_MAX, " ms", detail),
        Line::seen(name("median"), median(&of(|pause| pause.gap)), " ms", medians),
        Line::seen(name("longest insert"), waited, " ms", "of any writer, all its tries together"),
        Line::at_most("acknowledged rows lost or doubled", check.wrong, 0.0, "", check.told),
    ])
}

/// Compares the table with the acknowledged events.
struct Check {
    wrong: f64,
    told: String,
}

/// By SQL, at the store that the tenant is in now.
async fn checked(authority: &Database, tenant: Uuid, before: u64, acks: &[Ack]) -> Result<Check> {
    let session = Session::open(&authority.url()).await?;
    let ids: Vec<Uuid> = acks.iter().map(|ack| ack.id).collect();
    let found = session
        .client
        .query_one(
            "SELECT (SELECT count(*) FROM events WHERE tenant_id = $1), \
                    (SELECT count(*) FROM unnest($2::uuid[]) AS acked (id) WHERE NOT EXISTS ( \
                         SELECT FROM events AS e WHERE e.tenant_id = $1 AND e.event_id = acked.id)), \
                    (SELECT count(*) FROM ( \
                         SELECT FROM events WHERE tenant_id = $1 GROUP BY aggregate_id \
                         HAVING count(*) <> max(version)) AS broken)",
            &[&tenant, &ids],
        )
        .await?;
    let (rows, lost, broken): (i64, i64, i64) = (found.get(0), found.get(1), found.get(2));
    let wanted = i64::try_from(before)? + i64::try_from(acks.len())?;
    let more = (rows - wanted + lost).abs();
    let told = format!(
        "{} acknowledged: {lost} lost, {more} too many, {broken} streams with a gap",
        acks.len()
    );
    Ok(Check { wrong: (lost + more + broken) as f64, told })
}

/// A cutover, in milliseconds.
struct Pause {
    /// The longest time in which no writer got an acknowledgement.
    gap: f64,
    /// The longest duration of one insert.
    longest: f64,
    /// By the migration's log.
    to_switch: f64,
    to_published: f64,
}

impl Pause {
    async fn of(site: &Site, id: MigrationId, target: &str, acks: &[Ack]) -> Result<Self> {
        let log = site.log(id).await?;
        let at = |wanted: fn(&Fact) -> bool| {
            log.iter().rfind(|entry| wanted(&entry.fact)).map(|entry| entry.at.micros())
        };
        let from = at(|fact| matches!(fact, Fact::CutoverStarted { .. })).context("no cutover")?;
        let switched = at(|fact| matches!(fact, Fact::Switched { .. })).context("no switch")?;
        let told = at(|fact| matches!(fact, Fact::TargetActivated { .. })).context("not told")?;
        // The first that was acknowledged by the target is the end of it.
        let there = acks.iter().find(|ack| ack.at >= from && ack.store == target);
        let until = there.context("nobody wrote at the target")?.at;
        let gaps = acks.windows(2).filter(|pair| pair[1].at >= from && pair[0].at <= until);
        let gap = gaps.map(|pair| pair[1].at - pair[0].at).max().context("no acknowledgements")?;
        let met = acks.iter().filter(|ack| ack.at >= from && ack.sent <= until);
        let longest = met.map(|ack| ack.at - ack.sent).max().unwrap_or(0);
        let ms = |micros: i64| micros as f64 / 1_000.0;
        let (to_switch, to_published) = (ms(switched - from), ms(told - switched));
        Ok(Self { gap: ms(gap), longest: ms(longest), to_switch, to_published })
    }
}

/// A row that was acknowledged, in microseconds of the clock that all processes here share.
struct Ack {
    sent: i64,
    at: i64,
    store: String,
    id: Uuid,
}

impl Ack {
    fn line(&self) -> String {
        format!("{} {} {} {}", self.sent, self.at, self.store, self.id)
    }

    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let mut next = || fields.next();
        let (sent, at) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let (store, id) = (next()?.to_owned(), next()?.parse().ok()?);
        Some(Self { sent, at, store, id })
    }
}

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

/// Runs in a separate process: writers until stdin is closed; then their acknowledgements.
pub(crate) async fn write(folder: &Path, tenant: Uuid) -> Result<()> {
    let url = |name: &str| harness::server(folder, name).with_context(|| format!("no {name}"));
    let end = CancellationToken::new();
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let writer = Writer {
            stores: [
                (SHARED, Inserter::open(&url(SHARED)?).await?),
                (DEDICATED, Inserter::open(&url(DEDICATED)?).await?),
            ],
            routing: Session::open(&url(ROUTING)?).await?,
            tenant,
        };
        writers.spawn(writer.work(end.clone()));
    }
    println!("writing");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    end.cancel();
    while let Some(acks) = writers.join_next().await {
        for ack in acks?? {
            println!("{}", ack.line());
        }
    }
    Ok(())
}

/// A writer of the application.
struct Writer {
    stores: [(&'static str, Inserter); 2],
    routing: Session,
    tenant: Uuid,
}

impl Writer {
    async fn work(self, end: CancellationToken) -> Result<Vec<Ack>> {
        let mut due = interval(Duration::from_secs_f64((PROCESSES * WRITERS) as f64 / RATE));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut rows, mut acks) = (Rows::of(self.tenant), Vec::new());
        let mut place = SHARED.to_owned();
        while !end.is_cancelled() {
            due.tick().await;
            let (row, sent) = (rows.next(), now()?);
            loop {
                let store = self.stores.iter().find(|(name, _)| *name == place);
                let (_, store) = store.with_context(|| format!("there is no store {place}"))?;
                match store.write(&row).await {
                    Ok(()) => break,
                    Err(error) if error.code().is_some_and(|code| code.code() == ELSEWHERE) => {
                        let told = self.look_up().await?;
                        if told == place {
                            sleep(ASK_AGAIN).await;
                        }
                        place = told;
                    }
                    Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) => {}
                    Err(error) => bail!("an insert at {place}: {error:?}"),
                }
            }
            acks.push(Ack { sent, at: now()?, store: place.clone(), id: row.id });
        }
        Ok(acks)
    }

    /// Where the library's router would go.
    async fn look_up(&self) -> Result<String> {
        let ask = "SELECT store_id FROM tenant_routing WHERE tenant_id = $1";
        let found = self.routing.client.query_opt(ask, &[&self.tenant]).await?;
        Ok(found.map_or_else(|| SHARED.to_owned(), |row| row.get(0)))
    }
}
