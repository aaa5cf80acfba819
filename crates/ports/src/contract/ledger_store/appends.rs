//! Appends: expected versions, groups, numbering.

use rehome_domain::append::{Append, AppendConflict};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Refusal;
use rehome_domain::stream::ExpectedVersion::{Any, Exact, NoStream};

use crate::contract::kit::{At, Store, append_of, appended, event, event_id, stream};

pub async fn an_exact_version_is_appended_to(store: Store) {
    let at = At::born(&store, 1).await;
    assert_eq!(at.append(1, "a", Exact(0), [1, 2]).await, Ok(appended(1, 1, 2)));
    assert_eq!(at.append(1, "a", Exact(2), [3]).await, Ok(appended(3, 3, 1)));
    assert_eq!(at.audit().await.len(), 3);
}

pub async fn any_version_is_appended_to(store: Store) {
    let at = At::born(&store, 1).await;
    assert_eq!(at.append(1, "a", Any, [1]).await, Ok(appended(1, 1, 1)));
    assert_eq!(at.append(1, "a", Any, [2]).await, Ok(appended(2, 2, 1)));
    assert_eq!(at.audit().await.len(), 2);
}

pub async fn no_stream_is_a_stream_without_events(store: Store) {
    let at = At::born(&store, 1).await;
    assert_eq!(at.append(1, "a", NoStream, [1]).await, Ok(appended(1, 1, 1)));
    let conflict = AppendConflict::Version { stream: stream("a"), actual: 1 };
    assert_eq!(at.append(1, "a", NoStream, [2]).await, Err(conflict));
    assert_eq!(at.audit().await.len(), 1);
}

pub async fn a_version_conflict_says_the_actual_version(store: Store) {
    let at = At::born(&store, 1).await;
    let conflict = |actual| Err(AppendConflict::Version { stream: stream("a"), actual });
    assert_eq!(at.append(1, "a", Exact(1), [1]).await, conflict(0));
    at.append(1, "a", Any, [1, 2, 3]).await.unwrap();
    at.append(1, "b", Any, [4]).await.unwrap();
    for expected in [0, 2, 4, u64::MAX] {
        assert_eq!(at.append(1, "a", Exact(expected), [5]).await, conflict(3));
    }
    assert_eq!(at.audit().await.len(), 4);
}

pub async fn one_of_many_writers_with_the_same_expectation_wins(store: Store) {
    let at = At::born(&store, 1).await;
    for round in 0..5 {
        let writers: Vec<_> = (0..6)
            .map(|i| {
                let at = at.clone();
                tokio::spawn(async move { at.append(1, "a", Exact(round), [round * 10 + i]).await })
            })
            .collect();
        let mut taken = 0;
        for writer in writers {
            match writer.await.unwrap() {
                Ok(answer) => {
                    assert_eq!(answer, appended(round + 1, round + 1, 1));
                    taken += 1;
                }
                Err(conflict) => {
                    let actual = round + 1;
                    assert_eq!(conflict, AppendConflict::Version { stream: stream("a"), actual });
                }
            }
        }
        assert_eq!(taken, 1);
    }
    assert_eq!(at.audit().await.len(), 5);
}

pub async fn a_group_has_an_outcome_for_each_append(store: Store) {
    let at = At::born(&store, 1).await;
    at.append(1, "a", Any, [1]).await.unwrap();
    let group = [
        append_of("a", Exact(1), [2, 3]),
        append_of("b", Exact(7), [4]),
        append_of("b", NoStream, [5]),
        append_of("c", Any, []),
        append_of("c", Any, [1]),
        append_of("a", Exact(0), [1]),
        append_of("c", Any, [6, 7]),
    ];
    let outcomes = store.append(at.tenant, Epoch(1), &group).await.unwrap();
    assert_eq!(
        outcomes,
        [
            Ok(appended(2, 2, 2)),
            Err(AppendConflict::Version { stream: stream("b"), actual: 0 }),
            Ok(appended(1, 4, 1)),
            Err(AppendConflict::Empty),
            Err(AppendConflict::Id { id: event_id(1) }),
            Ok(appended(1, 1, 1)),
            Ok(appended(1, 5, 2)),
        ]
    );
    assert_eq!(at.audit().await.len(), 6);
}

pub async fn a_group_sees_what_came_before_in_it(store: Store) {
    let at = At::born(&store, 1).await;
    let group = [
        append_of("a", NoStream, [1, 2]),
        append_of("a", Exact(2), [3]),
        append_of("a", Exact(2), [4]),
        append_of("a", Exact(0), [1, 2]),
        append_of("b", Any, [3]),
        append_of("a", Exact(3), [4]),
    ];
    let outcomes = store.append(at.tenant, Epoch(1), &group).await.unwrap();
    assert_eq!(
        outcomes,
        [
            Ok(appended(1, 1, 2)),
            Ok(appended(3, 3, 1)),
            Err(AppendConflict::Version { stream: stream("a"), actual: 3 }),
            Ok(appended(1, 1, 2)),
            Err(AppendConflict::Id { id: event_id(3) }),
            Ok(appended(4, 4, 1)),
        ]
    );
    assert_eq!(at.audit().await.len(), 4);
}

pub async fn a_chain_ends_with_the_first_that_is_refused(store: Store) {
    let at = At::born(&store, 1).await;
    let chain =
        async |appends: &[Append]| store.append_chain(at.tenant, Epoch(1), appends).await.unwrap();
    let first = [append_of("a", Any, [1]), append_of("b", Any, [2]), append_of("a", Exact(1), [3])];
    let taken = [Ok(appended(1, 1, 1)), Ok(appended(1, 2, 1)), Ok(appended(2, 3, 1))];
    assert_eq!(chain(&first).await, taken);
    // Again, as after a lost reply, and further.
    let mut further = first.to_vec();
    further.extend((4..=9).map(|n| append_of("c", Exact(n - 4), [n])));
    let outcomes = chain(&further).await;
    assert_eq!(outcomes[..3], taken);
    assert_eq!(outcomes.len(), 9);
    assert!(outcomes.iter().all(Result::is_ok));
    // One that is refused in between.
    let conflict = AppendConflict::Version { stream: stream("a"), actual: 2 };
    let mut broken: Vec<_> = (10..=14).map(|n| append_of("d", Any, [n])).collect();
    broken.insert(3, append_of("a", Exact(7), [15]));
    let outcomes = chain(&broken).await;
    assert_eq!(outcomes.len(), 4);
    assert!(outcomes[..3].iter().all(Result::is_ok));
    assert_eq!(outcomes[3], Err(conflict));
    assert_eq!(at.audit().await.len(), 12);
    assert_eq!(chain(&[]).await, []);
}

pub async fn an_empty_group_is_no_append(store: Store) {
    let at = At::written(&store, 1, 3).await;
    assert_eq!(store.append(at.tenant, Epoch(1), &[]).await.unwrap(), []);
    at.refused(store.append(at.tenant, Epoch(2), &[]).await, Refusal::StaleEpoch).await;
    assert_eq!(at.audit().await.len(), 3);
}

pub async fn an_empty_append_is_a_conflict(store: Store) {
    let at = At::born(&store, 1).await;
    for expected in [Any, NoStream, Exact(9)] {
        assert_eq!(at.append(1, "a", expected, []).await, Err(AppendConflict::Empty));
    }
    assert_eq!(at.audit().await.len(), 0);
}

pub async fn numbering_is_gap_free_per_tenant_and_stream(store: Store) {
    let at = At::born(&store, 1).await;
    let mut next = 1;
    for (i, id) in (0..30).zip(["a", "b", "c", "b"].into_iter().cycle()) {
        let count = i % 4 + 1;
        // A conflict in between leaves no hole.
        at.append(1, id, Exact(1_000), [next]).await.unwrap_err();
        let answer = at.append(1, id, Any, next..next + count).await.unwrap();
        assert_eq!((answer.first_seq, answer.last_seq), (next, next + count - 1));
        next += count;
    }
    let ids: Vec<_> = at.audit().await.into_iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..next).map(event_id).collect::<Vec<_>>());
}

pub async fn tenants_are_independent(store: Store) {
    let one = At::written(&store, 1, 5).await;
    let before = one.audit().await;
    let two = At::born(&store, 2).await;
    // The same stream and the same ids are others in another tenant.
    assert_eq!(two.append(1, "a", NoStream, [1, 2]).await, Ok(appended(1, 1, 2)));
    assert_eq!(two.audit().await.len(), 2);
    store.fence(two.tenant, Epoch(1), Epoch(2)).await.unwrap();
    assert_eq!(one.append(1, "a", Any, [6]).await, Ok(appended(3, 6, 1)));
    assert_eq!(one.audit().await[..5], before);
    assert_eq!(two.audit().await.len(), 2);
}

pub async fn writers_at_once_make_one_history(store: Store) {
    let at = At::born(&store, 1).await;
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let at = at.clone();
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for i in 0..10 {
                    let n = writer * 100 + i * 2;
                    let id = ["a", "b"][usize::try_from(i % 2).unwrap()];
                    answers.push((n, at.append(1, id, Any, [n, n + 1]).await.unwrap()));
                }
                answers
            })
        })
        .collect();
    let mut answers = Vec::new();
    for writer in writers {
        answers.extend(writer.await.unwrap());
    }
    let events = at.audit().await;
    assert_eq!(events.len(), 80);
    for (n, answer) in answers {
        let first = &events[usize::try_from(answer.first_seq).unwrap() - 1];
        assert_eq!((first.id, first.version), (event_id(n), answer.first_version));
        let last = &events[usize::try_from(answer.last_seq).unwrap() - 1];
        assert_eq!((last.id, last.version), (event_id(n + 1), answer.last_version));
    }
}

pub async fn times_are_kept_or_set(store: Store) {
    let at = At::born(&store, 1).await;
    let (occurred, recorded) = (Timestamp::from_micros(1), Timestamp::from_micros(2));
    let mut append = append_of("a", Any, [1, 2, 3, 4]);
    append.events[1].occurred_at = Some(occurred);
    append.events[2].recorded_at = Some(recorded);
    append.events[3].occurred_at = Some(occurred);
    append.events[3].recorded_at = Some(recorded);
    at.send(1, append).await.unwrap();
    let events = at.audit().await;
    assert!(events[0].recorded_at > recorded, "set by the store");
    assert_eq!(events[0].occurred_at, events[0].recorded_at);
    assert_eq!(events[1].occurred_at, occurred);
    assert_eq!(events[1].recorded_at, events[0].recorded_at, "one append, one time");
    assert_eq!((events[2].occurred_at, events[2].recorded_at), (recorded, recorded));
    assert_eq!((events[3].occurred_at, events[3].recorded_at), (occurred, recorded));
    let (kept, given) = (&events[0], event(1));
    assert_eq!((&kept.data, &kept.metadata), (&given.data, &given.metadata));
}
