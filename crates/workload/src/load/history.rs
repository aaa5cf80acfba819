//! Histories to begin with: tenants of a made-up shop, interleaved in time.

use std::sync::Arc;

use futures_util::StreamExt as _;
use rehome_domain::append::Append;
use rehome_domain::event::{NewEvent, Timestamp};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::{AppendError, EventStore};

use super::sample::{self, CART, Draw, ORDER};

/// Events of a stream; they are appended together.
const STREAM_EVENTS: u64 = 10;
/// Appends under way at a time: enough for large groups, little enough to hold in memory.
const UNDER_WAY: usize = 192;
/// The first event's time: 2025-01-01T00:00:00Z, in microseconds.
const BEGAN: i64 = 1_735_689_600_000_000;
/// Between two events.
const APART: i64 = 1_250_000;

/// A tenant and how many events it is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The tenant.
    pub tenant: TenantId,
    /// How many.
    pub events: u64,
}

/// Tenants of falling size: each has a third of the events of the one before, at least one.
pub fn tenants(count: u16, largest: u64, seed: u64) -> Vec<Wanted> {
    let mut draw = Draw::new(&[seed, 0x7E4A]);
    let mut events = largest;
    (0..count)
        .map(|_| {
            let wanted = Wanted { tenant: TenantId::new(draw.uuid()), events };
            events = (events / 3).max(1);
            wanted
        })
        .collect()
}

/// Appends the histories; `made` gets the number of acknowledged events. The same
/// seed gives the same events, except for their recording times.
pub async fn make(
    store: &Arc<dyn EventStore>,
    wanted: &[Wanted],
    seed: u64,
    made: impl Fn(u64),
) -> Result<(), AppendError> {
    let mut under_way = futures_util::stream::iter(appends(wanted, seed))
        .map(|(tenant, append)| async move {
            let events = append.events.len() as u64;
            store.append(tenant, append).await.map(|_| events)
        })
        .buffer_unordered(UNDER_WAY);
    let mut total = 0;
    while let Some(events) = under_way.next().await {
        total += events?;
        made(total);
    }
    Ok(())
}

/// One append per stream; the tenants take turns by their share.
fn appends(wanted: &[Wanted], seed: u64) -> impl Iterator<Item = (TenantId, Append)> + '_ {
    let total: u64 = wanted.iter().map(|wanted| wanted.events).sum();
    let mut done = vec![0_u64; wanted.len()];
    let mut written = 0_u64;
    std::iter::from_fn(move || {
        // The tenant furthest behind its share is next.
        let left = |i: usize| wanted[i].events - done[i];
        let behind = |i: &usize| u128::from(left(*i)) * (1 << 32) / u128::from(wanted[*i].events);
        let next = (0..wanted.len()).filter(|i| left(*i) > 0).max_by_key(behind)?;
        let events = left(next).min(STREAM_EVENTS);
        let index = next as u64;
        let append = append(seed, index, done[next]..done[next] + events, written);
        done[next] += events;
        written += events;
        debug_assert!(written <= total);
        Some((wanted[next].tenant, append))
    })
}

fn append(seed: u64, tenant: u64, numbers: std::ops::Range<u64>, written: u64) -> Append {
    let mut draw = Draw::new(&[seed, tenant, numbers.start, 0x5712]);
    let stream_type = if draw.below(4) == 0 { CART } else { ORDER };
    let stream = StreamName::new(stream_type, draw.uuid().to_string());
    let events = numbers.zip(written..).map(|(number, before)| {
        let content = sample::content(Draw::new(&[seed, tenant, number, 0xE7E7]), stream_type);
        let passed = i64::try_from(before).unwrap_or(i64::MAX / APART) * APART;
        NewEvent {
            id: EventId::new(draw.uuid()),
            event_type: content.event_type,
            occurred_at: Some(Timestamp::from_micros(BEGAN.saturating_add(passed))),
            recorded_at: None,
            data: content.data,
            metadata: content.metadata,
        }
    });
    let events = events.collect();
    Append {
        stream: stream.expect("a word and a UUID make a name"),
        expected: ExpectedVersion::NoStream,
        events,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns_and_get_what_was_wanted() {
        let wanted = tenants(3, 900, 5);
        assert_eq!(wanted.iter().map(|w| w.events).collect::<Vec<_>>(), [900, 300, 100]);
        let all: Vec<_> = appends(&wanted, 5).collect();
        for wanted in &wanted {
            let of_tenant = all.iter().filter(|(tenant, _)| *tenant == wanted.tenant);
            let events: usize = of_tenant.map(|(_, append)| append.events.len()).sum();
            assert_eq!(events as u64, wanted.events);
        }
        let others_among_the_first_half =
            all[..all.len() / 2].iter().filter(|(tenant, _)| *tenant != wanted[0].tenant).count();
        assert!(others_among_the_first_half > all.len() / 10);
    }

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let ids = |seed| {
            let wanted = tenants(2, 50, seed);
            let appends = appends(&wanted, seed).flat_map(|(_, append)| append.events);
            appends.map(|event| event.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
    }
}
