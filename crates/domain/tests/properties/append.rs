//! Appends: numbering, expectations, retries.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use rehome_domain::append::{Append, AppendConflict, Appended, Decision, decide, ends_chain};
use rehome_domain::event::{Event, NewEvent, Timestamp};
use rehome_domain::ids::EventId;
use rehome_domain::ledger::{Head, follow_chain};
use rehome_domain::stream::ExpectedVersion::{self, Any, Exact, NoStream};
use rehome_domain::stream::StreamName;

use crate::kit::{NOW, append_of, config, event_id, head_of, new_event};

/// A minimal store: it keeps what it is given.
#[derive(Default)]
struct Kept {
    events: Vec<Event>,
}

impl Kept {
    fn version(&self, stream: &StreamName) -> u64 {
        self.events.iter().filter(|event| event.stream == *stream).count() as u64
    }

    fn append(&mut self, append: &Append) -> Result<Appended, AppendConflict> {
        let find = |id: EventId| self.events.iter().find(|event| event.id == id).cloned();
        let known: Vec<_> = append.events.iter().map(|event| find(event.id)).collect();
        let now = Timestamp::from_micros(NOW.micros() + i64::try_from(self.events.len()).unwrap());
        let actual = self.version(&append.stream);
        let decision = decide(append, &known, actual, head_of(&self.events), now)?;
        let answer = decision.appended();
        if let Decision::Write(events) = decision {
            self.events.extend(events);
        }
        Ok(answer)
    }
}

fn expected() -> impl Strategy<Value = ExpectedVersion> {
    prop_oneof![2 => Just(Any), 1 => Just(NoStream), 1 => (0..5_u64).prop_map(Exact)]
}

/// A step: something new (stream, expectation, count), or the retry of an earlier append.
#[derive(Clone, Debug)]
enum Step {
    New(u8, ExpectedVersion, u64),
    Retry(prop::sample::Index, ExpectedVersion),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_u8, expected(), 1..4_u64).prop_map(|(s, e, n)| Step::New(s, e, n)),
        (any::<prop::sample::Index>(), expected()).prop_map(|(i, e)| Step::Retry(i, e)),
    ]
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn every_retry_is_answered_as_the_first_time(steps in prop::collection::vec(step(), 1..40)) {
        let mut store = Kept::default();
        let mut taken: Vec<(Append, Appended)> = Vec::new();
        let mut versions: HashMap<StreamName, u64> = HashMap::new();
        let mut next_id = 0;
        for step in steps {
            match step {
                Step::New(which, expected, count) => {
                    let id = ["a", "b", "c"][usize::from(which)];
                    let events = (next_id..next_id + count).map(new_event).collect();
                    next_id += count;
                    let append = append_of(id, expected, events);
                    let actual = versions.entry(append.stream.clone()).or_default();
                    let length = store.events.len() as u64;
                    match store.append(&append) {
                        Ok(answer) => {
                            prop_assert!(expected.accepts(*actual));
                            let first = (answer.first_version, answer.first_seq);
                            prop_assert_eq!(first, (*actual + 1, length + 1));
                            *actual += count;
                            let last = (answer.last_version, answer.last_seq);
                            prop_assert_eq!(last, (*actual, length + count));
                            taken.push((append, answer));
                        }
                        Err(AppendConflict::Version { actual: told, .. }) => {
                            prop_assert!(!expected.accepts(*actual));
                            prop_assert_eq!(told, *actual);
                        }
                        Err(other) => prop_assert!(false, "{other:?}"),
                    }
                }
                Step::Retry(which, expected) if !taken.is_empty() => {
                    let (append, first) = which.get(&taken);
                    let retry = Append { expected, ..append.clone() };
                    let length = store.events.len();
                    prop_assert_eq!(store.append(&retry), Ok(*first));
                    prop_assert_eq!(store.events.len(), length, "a retry writes nothing");
                }
                Step::Retry(..) => {}
            }
        }
        prop_assert_eq!(follow_chain(Head::EMPTY, &store.events), Ok(head_of(&store.events)));
        let mut streams: BTreeMap<&StreamName, u64> = BTreeMap::new();
        for event in &store.events {
            let version = streams.entry(&event.stream).or_default();
            *version += 1;
            prop_assert_eq!(event.version, *version);
        }
    }

    #[test]
    fn any_mixture_of_known_and_new_is_a_conflict_and_writes_nothing(
        known in prop::collection::vec(any::<bool>(), 2..6), reversed in any::<bool>(),
    ) {
        let mut store = Kept::default();
        let ids = 0..known.len() as u64;
        let there: Vec<_> =
            ids.clone().zip(&known).filter(|(_, there)| **there).map(|(n, _)| new_event(n)).collect();
        prop_assume!(!there.is_empty());
        store.append(&append_of("a", Any, there)).unwrap();
        let mut batch: Vec<NewEvent> = ids.map(new_event).collect();
        if reversed {
            batch.reverse();
        }
        let length = store.events.len();
        let answer = store.append(&append_of("a", Any, batch));
        if known.iter().all(|there| *there) && !reversed {
            prop_assert!(answer.is_ok());
        } else {
            prop_assert!(matches!(answer, Err(AppendConflict::Id { .. })), "{answer:?}");
        }
        prop_assert_eq!(store.events.len(), length);
    }
}

#[test]
fn a_retry_that_an_append_of_the_same_ids_in_pieces_made_is_no_partial_batch() {
    // Two appends of one event each, one after the other in the same stream, are equal to one append
    // of both: the result is the same.
    let mut store = Kept::default();
    store.append(&append_of("a", Any, vec![new_event(1)])).unwrap();
    store.append(&append_of("a", Any, vec![new_event(2)])).unwrap();
    let both = append_of("a", NoStream, vec![new_event(1), new_event(2)]);
    let answer = store.append(&both).unwrap();
    assert_eq!((answer.first_seq, answer.last_seq), (1, 2));
    // With something in between they are not.
    store.append(&append_of("b", Any, vec![new_event(3)])).unwrap();
    store.append(&append_of("a", Any, vec![new_event(4)])).unwrap();
    let apart = append_of("a", Any, vec![new_event(2), new_event(4)]);
    assert_eq!(store.append(&apart), Err(AppendConflict::Id { id: event_id(4) }));
}

#[test]
fn the_order_of_the_questions_is_retry_then_expectation() {
    let mut store = Kept::default();
    assert_eq!(store.append(&append_of("a", Exact(9), vec![])), Err(AppendConflict::Empty));
    let twice = append_of("a", Exact(9), vec![new_event(1), new_event(1)]);
    assert_eq!(store.append(&twice), Err(AppendConflict::Id { id: event_id(1) }));
    store.append(&append_of("a", Any, vec![new_event(1)])).unwrap();
    let mut reused = append_of("a", Exact(9), vec![new_event(1)]);
    assert!(store.append(&reused).is_ok());
    reused.events[0].data = new_event(2).data;
    assert_eq!(store.append(&reused), Err(AppendConflict::Id { id: event_id(1) }));
}

#[test]
fn a_retry_with_times_has_those_of_the_first_time() {
    let mut store = Kept::default();
    let at = |micros| Some(Timestamp::from_micros(micros));
    let timed = |occurred_at, recorded_at| {
        let event = NewEvent { occurred_at, recorded_at, ..new_event(1) };
        append_of("a", Any, vec![event])
    };
    let first = store.append(&timed(at(5), at(9))).unwrap();
    for same in [timed(at(5), at(9)), timed(None, None), timed(at(5), None), timed(None, at(9))] {
        assert_eq!(store.append(&same), Ok(first), "{same:?}");
    }
    for other in [timed(at(6), None), timed(None, at(8))] {
        let conflict = Err(AppendConflict::Id { id: event_id(1) });
        assert_eq!(store.append(&other), conflict, "{other:?}");
    }
}

#[test]
fn a_chain_ends_where_an_append_is_refused_or_is_elsewhere() {
    let events = || vec![new_event(1)];
    let at = |first_version| {
        Ok(Appended { first_version, last_version: first_version, first_seq: 8, last_seq: 8 })
    };
    let ends = |expected, outcome| ends_chain(&append_of("a", expected, events()), &outcome);
    assert!(ends(Any, Err(AppendConflict::Empty)));
    assert!(!ends(Any, at(7)));
    assert!(!ends(NoStream, at(1)) && ends(NoStream, at(2)));
    assert!(!ends(Exact(3), at(4)));
    for elsewhere in [2, 3, 5] {
        assert!(ends(Exact(3), at(elsewhere)), "{elsewhere}");
    }
}
