//! A store of some hundred tenants is drained into two while writers continue: a second server is added
//! half-way, and the first one is killed.
//!
//! The result is read from the database files, with SQL of this file: each imported or acknowledged event of every
//! tenant is in the store that its route names, once and in positions 1..n, and
//! no other store accepts its writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rehome_tests::process::{Process, wait_for};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::Site;
use crate::http::ask;
use crate::together::Stage;

const TENANTS: u64 = 240;
/// Every so many tenants has a writer.
const WRITTEN: usize = 40;
/// Those that are pinned: one that is written to and one that is not.
const PINNED: [u64; 2] = [40, 41];

const CONFIG: &str = "[control_plane]\nurl = \"sqlite:control.db\"\n\
    [[stores]]\nid = \"shared\"\nurl = \"sqlite:shared.db\"\n\
    [[stores]]\nid = \"a\"\nurl = \"sqlite:a.db\"\ndefault = true\n\
    [[stores]]\nid = \"b\"\nurl = \"sqlite:b.db\"\n\
    [migration]\nlease_ttl_ms = 1000\n";

fn tenant(n: u64) -> Uuid {
    Uuid::from_u128(0x7a00_0000_0000_4000_8000_0000_0000_0000 + u128::from(n))
}

fn event(tenant: u64, n: u64) -> Uuid {
    Uuid::from_u128(u128::from(tenant) << 64 | u128::from(n))
}

/// Events by tenant.
type Known = BTreeMap<Uuid, BTreeSet<Uuid>>;

fn import(site: &Site) -> Result<Known> {
    let (mut lines, mut known) = (String::new(), Known::new());
    for of in 1..=TENANTS {
        for n in 0..3 + of % 9 {
            let (tenant, event) = (tenant(of), event(of, n));
            let line = json!({
                "tenant_id": tenant, "stream_type": "order", "stream_id": format!("o-{}", n % 2),
                "event_id": event, "event_type": "OrderChanged",
                "occurred_at": "2024-06-15T10:30:00Z", "data": { "n": n }, "metadata": {},
            });
            writeln!(lines, "{line}")?;
            known.entry(tenant).or_default().insert(event);
        }
    }
    fs::write(site.path("many.ndjson"), lines)?;
    let file = site.path("many.ndjson").display().to_string();
    site.command_of(&["import", "--store", "shared", &file], "import")?.succeeds()?;
    Ok(known)
}

/// Appends one event after the other until it is stopped; each is sent again until it is acknowledged.
fn write(of: u64, servers: &Mutex<Vec<SocketAddr>>, stop: &AtomicBool) -> Result<BTreeSet<Uuid>> {
    let mut acknowledged = BTreeSet::new();
    let path = format!("/v1/tenants/{}/streams/order/o-w/events", tenant(of));
    for n in 1_000.. {
        if stop.load(Ordering::SeqCst) {
            return Ok(acknowledged);
        }
        let event = event(of, n);
        let body =
            json!({ "events": [{ "event_id": event, "event_type": "OrderChanged", "data": {} }] });
        wait_for("an append to be acknowledged", || {
            let server = *servers.lock().expect("nobody panics").last().context("a server")?;
            match ask(server, "POST", &path, &[], Some(&body)) {
                Ok(answer) if answer.status == 201 => Ok(Some(())),
                Ok(answer) => {
                    ensure!(matches!(answer.status, 429 | 503), "{answer:?}");
                    Ok(None)
                }
                // It died; the append is sent again to the other one.
                Err(_) => Ok(None),
            }
        })?;
        acknowledged.insert(event);
        thread::sleep(Duration::from_millis(5));
    }
    Ok(acknowledged)
}

fn drain(server: SocketAddr, id: &str) -> Result<Value> {
    Ok(ask(server, "GET", &format!("/v1/drains/{id}"), &[], None)?.body)
}

fn open(path: &Path) -> Result<Connection> {
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

/// The store of each tenant, by its route.
fn routes(site: &Site) -> Result<BTreeMap<Uuid, String>> {
    let control = open(&site.path("control.db"))?;
    let mut statement = control.prepare("SELECT tenant, store FROM routes")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
    rows.map(|row| {
        let (tenant, store) = row?;
        Ok((Uuid::from_slice(&tenant)?, store))
    })
    .collect()
}

/// Whether a store accepts a tenant's writes, and the tenant's events there by position.
type Held = (bool, Vec<(i64, Uuid)>);

/// What a store has of each tenant.
fn held(site: &Site, store: &str) -> Result<BTreeMap<Uuid, Held>> {
    let file = open(&site.path(&format!("{store}.db")))?;
    let mut statement = file.prepare("SELECT tenant, role, tenant_no FROM ledger")?;
    let ledgers = statement.query_map([], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
    })?;
    let mut found = BTreeMap::new();
    for ledger in ledgers {
        let (tenant, role, number) = ledger?;
        let sql = "SELECT position & ((1 << 40) - 1), event_id FROM events \
                   WHERE position >> 40 = ?1 ORDER BY position";
        let mut statement = file.prepare_cached(sql)?;
        let events =
            statement.query_map([number], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let events = events.map(|event| {
            let (seq, id) = event?;
            Ok::<_, anyhow::Error>((seq, Uuid::from_slice(&id)?))
        });
        let events = events.collect::<Result<_>>()?;
        found.insert(Uuid::from_slice(&tenant)?, (role == "active", events));
    }
    Ok(found)
}

/// Nothing is lost, doubled or out of its place, and each tenant has one authority.
fn check(site: &Site, known: &Known) -> Result<()> {
    let routes = routes(site)?;
    let stores =
        ["shared", "a", "b"].map(|store| Ok::<_, anyhow::Error>((store, held(site, store)?)));
    let stores: BTreeMap<_, _> = stores.into_iter().collect::<Result<_>>()?;
    for (tenant, expected) in known {
        let at = routes.get(tenant).with_context(|| format!("{tenant} has no route"))?;
        let (_, events) = &stores[at.as_str()][tenant];
        let ids: BTreeSet<_> = events.iter().map(|(_, id)| *id).collect();
        ensure!(ids.len() == events.len(), "{tenant} has an event twice");
        let lost: Vec<_> = expected.difference(&ids).collect();
        ensure!(lost.is_empty(), "{tenant} in {at} has lost {lost:?}");
        let positions = events.iter().map(|(seq, _)| *seq);
        ensure!(positions.eq((1..).take(events.len())), "{tenant} has a gap in its positions");
        let active: Vec<_> = stores
            .iter()
            .filter(|(_, held)| held.get(tenant).is_some_and(|(active, _)| *active))
            .collect();
        let active: Vec<_> = active.into_iter().map(|(store, _)| *store).collect();
        ensure!(
            active == [at.as_str()],
            "{tenant} is active in {active:?}, and its route says {at}"
        );
        let pinned = PINNED.into_iter().any(|n| self::tenant(n) == *tenant);
        ensure!((at == "shared") == pinned, "{tenant} is in {at}");
    }
    Ok(())
}

#[test]
fn a_store_is_emptied_while_servers_come_and_die() -> Result<()> {
    let site = Site::new(CONFIG)?;
    site.with(|site: &Site| {
        let mut known = import(site)?;
        let (mut first, one) = site.serve("first", "")?;
        for n in PINNED {
            let why = json!({ "reason": "a contract" });
            let pinned =
                ask(one, "POST", &format!("/v1/tenants/{}/pin", tenant(n)), &[], Some(&why))?;
            ensure!(pinned.status == 200, "{pinned:?}");
        }
        ensure!(ask(one, "POST", "/v1/stores/shared/cordon", &[], None)?.status == 200);
        let (servers, stop) = (Mutex::new(vec![one]), AtomicBool::new(false));
        let id = Uuid::new_v4().to_string();
        let start = json!({ "id": id, "request": {
            "from": ["shared"], "to": [{ "store": "a" }, { "store": "b", "weight": 2 }],
            "settings": { "concurrency": 4 } } });
        let second = thread::scope(|scope| -> Result<Process> {
            let writers: Vec<_> = (40..=TENANTS)
                .step_by(WRITTEN)
                .map(|of| {
                    (
                        of,
                        scope.spawn({
                            let (servers, stop) = (&servers, &stop);
                            move || write(of, servers, stop)
                        }),
                    )
                })
                .collect();
            let mut play = || -> Result<Process> {
                let started = ask(one, "POST", "/v1/drains", &[], Some(&start))?;
                ensure!(started.status == 201, "{started:?}");
                let again = ask(one, "POST", "/v1/drains", &[], Some(&start))?;
                ensure!(again.body["id"] == started.body["id"], "the same again: {again:?}");
                wait_for("a part of it", || {
                    Ok((drain(one, &id)?["moved"].as_u64() > Some(30)).then_some(()))
                })?;
                let (second, two) = site.serve("second", "")?;
                wait_for("both to work on it", || {
                    let workers = drain(one, &id)?["workers"].as_array().map_or(0, Vec::len);
                    Ok((workers == 2).then_some(()))
                })?;
                servers.lock().expect("nobody panics").push(two);
                wait_for("half of it", || {
                    Ok((drain(two, &id)?["moved"].as_u64() > Some(100)).then_some(()))
                })?;
                first.kill()?;
                wait_for(
                    "its end",
                    || Ok((drain(two, &id)?["state"] == "finished").then_some(())),
                )?;
                let end = drain(two, &id)?;
                let statement = &end["statement"];
                ensure!(statement["moved"] == json!(TENANTS - 2), "{end}");
                ensure!(
                    statement["tenants_left"] == 2 && statement["can_be_switched_off"] == false,
                    "{end}"
                );
                ensure!(end["set_aside"] == 0 && end["again"] == 0, "{end}");
                Ok(second)
            };
            let played = play();
            stop.store(true, Ordering::SeqCst);
            for (of, writer) in writers {
                let acknowledged = writer.join().expect("a writer does not panic")?;
                ensure!(acknowledged.len() > 10, "{of} was written to");
                known.entry(tenant(of)).or_default().extend(acknowledged);
            }
            played
        })?;
        Stage::ends(second)?;
        check(site, &known)
    })
}
