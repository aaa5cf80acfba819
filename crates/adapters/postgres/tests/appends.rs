//! Random appends to a server and to a store in memory: SQL decides as the domain does.

use std::sync::Arc;

use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Activation;
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::{event_id, store_id, tenant};
use rehome_ports::memory::MemoryStore;
use rehome_ports::{BatchLimit, LedgerStore};
use rehome_postgres::{PgStore, PgStoreOptions};

const BATCHES: u64 = 600;
/// Few, so that retries, repeated ids and conflicts are as frequent as successes.
const IDS: u64 = 600;
const STREAMS: [(&str, &str); 5] =
    [("a", "1"), ("a", "2"), ("b", "1"), ("A", "1"), ("é\"\\", "{,}")];

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Dice(u64);

impl Dice {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// The event of an id, nearly always with the same content. Its times are given: the stores'
    /// clocks are not compared.
    fn event(&mut self, id: u64) -> NewEvent {
        let version = u64::from(self.one_in(25));
        let micros = i64::try_from(id).expect("small") + 1_700_000_000_000_000;
        NewEvent {
            id: event_id(id),
            event_type: EventType::new(if id.is_multiple_of(3) { "placed" } else { "paid" })
                .expect("a type"),
            occurred_at: (!id.is_multiple_of(4)).then_some(Timestamp::from_micros(micros - 5)),
            recorded_at: Some(Timestamp::from_micros(micros)),
            data: Json::trusted(format!("{{\"n\":{id},\"v\":{version},\"u\":\"\\u0000\"}}")),
            metadata: Json::trusted("null"),
        }
    }

    fn append(&mut self, sent: &[Append]) -> Append {
        if !sent.is_empty() && self.one_in(4) {
            return self.again(sent);
        }
        let (of, id) = STREAMS[usize::try_from(self.below(5)).expect("small")];
        let expected = match self.below(6) {
            0..3 => ExpectedVersion::Any,
            3 => ExpectedVersion::NoStream,
            4 => ExpectedVersion::Exact(self.below(60)),
            _ => ExpectedVersion::Exact(
                [0, 1, u64::MAX][usize::try_from(self.below(3)).expect("small")],
            ),
        };
        let first = self.below(IDS);
        let in_a_row = self.one_in(2);
        let events = (0..self.below(5))
            .map(|i| {
                let id = if in_a_row { first + i } else { self.below(IDS) };
                self.event(id)
            })
            .collect();
        Append { stream: StreamName::new(of, id).expect("a name"), expected, events }
    }

    /// One that was sent before, as it was or changed.
    fn again(&mut self, sent: &[Append]) -> Append {
        let place = usize::try_from(self.below(sent.len() as u64)).expect("small");
        let mut append = sent[place].clone();
        match self.below(6) {
            0 => append.events.reverse(),
            1 => drop(append.events.pop()),
            2 => append.expected = ExpectedVersion::Exact(self.below(9)),
            3 => {
                let id = self.below(IDS);
                let more = self.event(id);
                append.events.push(more);
            }
            _ => {}
        }
        append
    }
}

fn seed() -> u64 {
    match std::env::var("REHOME_APPENDS_SEED") {
        Ok(seed) => seed.parse().expect("REHOME_APPENDS_SEED is a number"),
        Err(_) => Timestamp::micros(rehome_ports::clock::Clock::now(&SystemClock)).unsigned_abs(),
    }
}

#[tokio::test]
async fn random_appends_end_as_the_domain_says() {
    let seed = seed();
    println!("REHOME_APPENDS_SEED={seed}");
    let mut dice = Dice(seed);
    let database = rehome_cluster::shared().database().expect("a new database");
    let server = PgStore::open(PgStoreOptions {
        id: store_id("server"),
        url: database.url().parse().expect("a URL"),
        deployment: "appends".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    });
    let server = server.await.expect("a new store");
    let oracle = MemoryStore::new(store_id("oracle"), Arc::new(SystemClock));
    let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
    // A neighbour with the same ids in the same streams.
    for n in [1, 2] {
        server.activate(tenant(n), newborn).await.expect("an active tenant");
        oracle.activate(tenant(n), newborn).await.expect("an active tenant");
    }

    let mut sent: Vec<Append> = Vec::new();
    let (mut taken, mut refused) = (0, 0);
    // Of those that go their own way, a single event each.
    let mut ones = [0, 0];
    for _ in 0..BATCHES {
        let tenant = tenant(1 + u64::from(dice.one_in(8)));
        let mut batch: Vec<Append> = Vec::new();
        let one = dice.one_in(2);
        for _ in 0..if one { 1 } else { dice.below(6) } {
            // Also one that is twice in the batch.
            let from = if dice.one_in(2) { &batch } else { &sent };
            let mut append = dice.append(from);
            if one {
                append.events.truncate(1);
            }
            batch.push(append);
        }
        let theirs = server.append(tenant, Epoch(1), &batch).await.expect("an answer");
        let ours = oracle.append(tenant, Epoch(1), &batch).await.expect("an answer");
        assert_eq!(theirs, ours, "{batch:?}");
        if let ([append], [outcome]) = (batch.as_slice(), ours.as_slice())
            && append.events.len() == 1
        {
            ones[usize::from(outcome.is_ok())] += 1;
        }
        taken += ours.iter().filter(|outcome| outcome.is_ok()).count();
        refused += ours.iter().filter(|outcome| outcome.is_err()).count();
        sent.extend(batch);
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
    assert!(ones.iter().all(|&some| some > 40), "of single events refused and taken: {ones:?}");

    for n in [1, 2] {
        let all = BatchLimit { events: usize::MAX, bytes: usize::MAX };
        let theirs = server.read_feed(tenant(n), 0, all).await.expect("a history");
        let ours = oracle.read_feed(tenant(n), 0, all).await.expect("a history");
        assert!(!ours.events.is_empty());
        assert_eq!(theirs.events, ours.events);
        assert_eq!(theirs.ledger, ours.ledger);
    }
}
