//! Retries: what was sent before is answered as the first time.

use rehome_domain::append::AppendConflict;
use rehome_domain::event::{EventType, Json, Timestamp};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Head, Refusal};
use rehome_domain::stream::ExpectedVersion::{Any, Exact, NoStream};

use crate::contract::kit::{At, Store, append_of, appended, at_epoch, event_id, head_of, stream};

fn reused(n: u64) -> Result<rehome_domain::append::Appended, AppendConflict> {
    Err(AppendConflict::Id { id: event_id(n) })
}

pub async fn a_retry_is_answered_as_the_first_time(store: Store) {
    let at = At::born(&store, 1).await;
    at.append(1, "b", Any, [9]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(at.append(1, "a", Exact(0), [1, 2]).await, Ok(appended(1, 2, 2)));
    }
    assert_eq!(at.audit().await.len(), 3);
}

pub async fn a_retry_after_later_appends_is_answered_as_the_first_time(store: Store) {
    let at = At::born(&store, 1).await;
    let first = at.append(1, "a", NoStream, [1, 2]).await;
    at.append(1, "a", Exact(2), [3]).await.unwrap();
    at.append(1, "b", Any, [4]).await.unwrap();
    assert_eq!(at.append(1, "a", NoStream, [1, 2]).await, first);
    assert_eq!(at.append(1, "a", Exact(2), [3]).await, Ok(appended(3, 3, 1)));
    assert_eq!(at.audit().await.len(), 4);
}

pub async fn a_retry_with_a_stale_expectation_is_answered_as_the_first_time(store: Store) {
    let at = At::born(&store, 1).await;
    at.append(1, "a", Any, [1]).await.unwrap();
    // An append is checked for being a retry before its expected version.
    for expected in [Any, NoStream, Exact(0), Exact(1), Exact(77)] {
        assert_eq!(at.append(1, "a", expected, [1]).await, Ok(appended(1, 1, 1)));
    }
    assert_eq!(at.audit().await.len(), 1);
}

pub async fn a_retry_on_the_store_that_took_over_is_answered_as_the_first_time(store: Store) {
    let source = At::born(&store, 1).await;
    let first = source.append(1, "a", NoStream, [1, 2]).await;
    // Another tenant of the same store stands for the target.
    let target = At::nowhere(&store, 2);
    store.adopt(target.tenant, Epoch(2), Head::EMPTY).await.unwrap();
    target.extend_all(2, Head::EMPTY, &source.audit().await).await;
    store.activate(target.tenant, at_epoch(4)).await.unwrap();
    assert_eq!(target.append(4, "a", NoStream, [1, 2]).await, first);
    assert_eq!(target.append(4, "a", Exact(2), [3]).await, Ok(appended(3, 3, 1)));
    assert_eq!(target.audit().await.len(), 3);
}

pub async fn a_retry_under_a_stale_epoch_is_refused(store: Store) {
    let at = At::born(&store, 1).await;
    at.append(1, "a", Any, [1]).await.unwrap();
    let retry = [append_of("a", Any, [1])];
    store.activate(at.tenant, at_epoch(3)).await.unwrap();
    at.refused(store.append(at.tenant, Epoch(1), &retry).await, Refusal::StaleEpoch).await;
    store.fence(at.tenant, Epoch(3), Epoch(4)).await.unwrap();
    at.refused(store.append(at.tenant, Epoch(3), &retry).await, Refusal::Fenced).await;
    assert_eq!(at.audit().await.len(), 1);
}

pub async fn an_id_with_other_content_is_a_conflict(store: Store) {
    let at = At::born(&store, 1).await;
    let mut first = append_of("a", Any, [1]);
    first.events[0].occurred_at = Some(Timestamp::from_micros(5));
    first.events[0].recorded_at = Some(Timestamp::from_micros(6));
    at.send(1, first.clone()).await.unwrap();

    let with = |change: &dyn Fn(&mut rehome_domain::event::NewEvent)| {
        let mut append = first.clone();
        change(&mut append.events[0]);
        append
    };
    let others = [
        with(&|event| event.event_type = EventType::new("order_Placed").unwrap()),
        with(&|event| event.data = Json::trusted("{\"n\": 1}")),
        with(&|event| event.metadata = Json::trusted("{\"a\":1}")),
        with(&|event| event.occurred_at = Some(Timestamp::from_micros(6))),
        with(&|event| event.recorded_at = Some(Timestamp::from_micros(7))),
    ];
    for other in others {
        assert_eq!(at.send(1, other).await, reused(1));
    }
    // Times that a retry leaves to the store are the store's.
    let same = with(&|event| (event.occurred_at, event.recorded_at) = (None, None));
    assert_eq!(at.send(1, same).await, Ok(appended(1, 1, 1)));
    assert_eq!(at.audit().await.len(), 1);
}

pub async fn an_id_in_another_stream_is_a_conflict(store: Store) {
    let at = At::born(&store, 1).await;
    at.append(1, "a", Any, [1]).await.unwrap();
    assert_eq!(at.append(1, "b", Any, [1]).await, reused(1));
    assert_eq!(at.append(1, "b", Exact(0), [2, 1]).await, reused(1));
    let conflict = AppendConflict::Version { stream: stream("b"), actual: 0 };
    assert_eq!(at.append(1, "b", Exact(1), [3]).await, Err(conflict));
    assert_eq!(at.audit().await.len(), 1);
}

pub async fn a_part_of_a_batch_is_a_conflict(store: Store) {
    let at = At::born(&store, 1).await;
    at.append(1, "a", Any, [1, 2]).await.unwrap();
    assert_eq!(at.append(1, "a", Any, [1, 2, 3]).await, reused(3));
    assert_eq!(at.append(1, "a", Any, [0, 1, 2]).await, reused(1));
    assert_eq!(at.append(1, "a", Any, [1, 3, 2]).await, reused(3));
    let events = at.audit().await;
    assert_eq!(head_of(&events), at.ledger().await.head);
    assert_eq!(events.len(), 2);
}

pub async fn a_batch_in_another_order_is_a_conflict(store: Store) {
    let at = At::born(&store, 1).await;
    at.append(1, "a", Any, [1, 2]).await.unwrap();
    assert_eq!(at.append(1, "a", Any, [2, 1]).await, reused(1));
    assert_eq!(at.audit().await.len(), 2);
}

pub async fn an_id_twice_in_one_append_is_a_conflict(store: Store) {
    let at = At::born(&store, 1).await;
    assert_eq!(at.append(1, "a", Any, [1, 2, 1]).await, reused(1));
    assert_eq!(at.audit().await.len(), 0);
    at.append(1, "a", Any, [1]).await.unwrap();
    assert_eq!(at.append(1, "a", Any, [1, 1]).await, reused(1));
    assert_eq!(at.audit().await.len(), 1);
}
