//! The chain: nothing can be changed without its digest changing.

use proptest::prelude::*;
use rehome_domain::digest::{Digest, Parts, chain, sha256};
use rehome_domain::event::{Event, EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::EventId;
use rehome_domain::stream::StreamName;

use crate::kit::{config, rechained};

fn text() -> impl Strategy<Value = String> {
    // Few letters, so that borders between fields are often next to the same ones.
    prop::collection::vec(prop::sample::select(vec!['a', 'b', '\u{e9}', '\u{1f600}']), 1..6)
        .prop_map(|letters| letters.into_iter().collect())
}

fn event() -> impl Strategy<Value = Event> {
    let names = (text(), text(), text());
    let numbers = (any::<u64>(), any::<u64>(), any::<[u8; 16]>(), any::<i64>(), any::<i64>());
    (names, numbers, text(), text()).prop_map(|(names, numbers, data, metadata)| Event {
        seq: numbers.0,
        stream: StreamName::new(names.0, names.1).unwrap(),
        version: numbers.1,
        id: EventId::from_slice(&numbers.2).unwrap(),
        event_type: EventType::new(names.2).unwrap(),
        occurred_at: Timestamp::from_micros(numbers.3),
        recorded_at: Timestamp::from_micros(numbers.4),
        data: Json::trusted(data),
        metadata: Json::trusted(metadata),
        digest: Digest::EMPTY,
        row: None,
    })
}

/// Without the digest, which is not part of itself.
fn content(event: &Event) -> Event {
    Event { digest: Digest::EMPTY, ..event.clone() }
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn any_change_of_any_field_changes_the_digest(
        event in event(), other in event(), field in 0..9_u8, previous in any::<[u8; 32]>(),
    ) {
        let mut changed = event.clone();
        match field {
            0 => changed.seq = other.seq,
            1 => changed.stream = other.stream,
            2 => changed.version = other.version,
            3 => changed.id = other.id,
            4 => changed.event_type = other.event_type,
            5 => changed.occurred_at = other.occurred_at,
            6 => changed.recorded_at = other.recorded_at,
            7 => changed.data = other.data,
            _ => changed.metadata = other.metadata,
        }
        let previous = Digest::new(previous);
        let same = content(&changed) == content(&event);
        prop_assert_eq!(chain(&previous, &changed) == chain(&previous, &event), same);
    }

    #[test]
    fn a_store_that_numbers_and_chains_by_itself_comes_to_the_same_digest(
        event in event(), previous in any::<[u8; 32]>(),
    ) {
        let new = NewEvent {
            id: event.id,
            event_type: event.event_type.clone(),
            occurred_at: Some(event.occurred_at),
            recorded_at: None,
            data: event.data.clone(),
            metadata: event.metadata.clone(),
        };
        let parts = Parts::of(&event.stream, &new);
        let numbers = [
            event.seq.to_be_bytes(),
            event.version.to_be_bytes(),
            event.occurred_at.micros().to_be_bytes(),
            event.recorded_at.micros().to_be_bytes(),
        ];
        let by_hand = sha256(&[
            &previous, &numbers[0], &parts.stream, &numbers[1], &parts.kind, &numbers[2],
            &numbers[3], &parts.payload,
        ]);
        prop_assert_eq!(by_hand, chain(&Digest::new(previous), &event));
    }

    #[test]
    fn different_events_have_different_digests(one in event(), two in event()) {
        let same = content(&one) == content(&two);
        prop_assert_eq!(chain(&Digest::EMPTY, &one) == chain(&Digest::EMPTY, &two), same);
    }

    #[test]
    fn what_came_before_is_in_the_digest(
        event in event(), previous in any::<[u8; 32]>(), bit in 0..256_usize,
    ) {
        let mut other = previous;
        other[bit / 8] ^= 1 << (bit % 8);
        let (previous, other) = (Digest::new(previous), Digest::new(other));
        prop_assert_ne!(chain(&previous, &event), chain(&other, &event));
    }

    #[test]
    fn borders_between_fields_cannot_be_moved(event in event()) {
        // The last letter of each text becomes the first one of the next.
        let (kind, id) = (event.stream.stream_type(), event.stream.stream_id());
        let name = &*event.event_type;
        let digest = chain(&Digest::EMPTY, &event);
        if let Some((at, letter)) = kind.char_indices().last().filter(|(at, _)| *at > 0) {
            let stream = StreamName::new(&kind[..at], format!("{letter}{id}")).unwrap();
            prop_assert_ne!(chain(&Digest::EMPTY, &Event { stream, ..event.clone() }), digest);
        }
        if let Some((at, letter)) = id.char_indices().last().filter(|(at, _)| *at > 0) {
            let stream = StreamName::new(kind, &id[..at]).unwrap();
            let event_type = EventType::new(format!("{letter}{name}")).unwrap();
            let moved = Event { stream, event_type, ..event.clone() };
            prop_assert_ne!(chain(&Digest::EMPTY, &moved), digest);
        }
        let swapped = Event {
            data: event.metadata.clone(),
            metadata: event.data.clone(),
            ..event.clone()
        };
        let same = event.data == event.metadata;
        prop_assert_eq!(chain(&Digest::EMPTY, &swapped) == digest, same);
    }

    #[test]
    fn the_digest_kept_with_an_event_is_not_read(event in event(), kept in any::<[u8; 32]>()) {
        let other = Event { digest: Digest::new(kept), ..event.clone() };
        prop_assert_eq!(rechained(&Digest::EMPTY, &other), rechained(&Digest::EMPTY, &event));
    }

    #[test]
    fn digests_are_read_as_they_are_written(bytes in any::<[u8; 32]>()) {
        let digest = Digest::new(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(format!("{digest:?}"), digest.to_string());
        prop_assert_eq!(digest.to_string().to_uppercase().parse(), Ok(digest));
        prop_assert_eq!(Digest::from_slice(&bytes), Some(digest));
        prop_assert_eq!(Digest::from_slice(&bytes[1..]), None);
    }

    #[test]
    fn what_is_no_digest_is_not_read(text in ".{0,70}") {
        let hexadecimal = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        prop_assert_eq!(text.parse::<Digest>().is_ok(), hexadecimal);
    }
}

/// `digest(n) = SHA-256(digest(n-1) ‖ u64 seq ‖ str stream_type ‖ str stream_id ‖ u64 version ‖
/// 16 bytes event_id ‖ str event_type ‖ i64 occurred_at ‖ i64 recorded_at ‖ SHA-256(data) ‖
/// SHA-256(metadata))`, big-endian, `str` a u32 length and the bytes. The two values were computed
/// from this formula with Python's `hashlib` and `struct`, not with this code.
#[test]
fn digests_are_those_of_the_documented_formula() {
    let first = Event {
        seq: 1,
        stream: StreamName::new("order", "caf\u{e9}-1").unwrap(),
        version: 1,
        id: EventId::from_slice(&std::array::from_fn::<u8, 16, _>(|i| u8::try_from(i).unwrap()))
            .unwrap(),
        event_type: EventType::new("OrderPlaced").unwrap(),
        occurred_at: Timestamp::from_micros(-1),
        recorded_at: Timestamp::from_micros(1_767_225_600_123_456),
        data: Json::trusted("{\"total\":12.50,\"total\":1e400}"),
        metadata: Json::trusted("{}"),
        digest: Digest::EMPTY,
        row: None,
    };
    let digest = chain(&Digest::EMPTY, &first);
    assert_eq!(
        digest.to_string(),
        "290350ea1ceadb06821c0f02bf9b3452a8137cfafdc6cd620b7a1f8807e221e1"
    );
    let second =
        Event { seq: 2, version: 2, id: EventId::from_slice(&[255; 16]).unwrap(), ..first };
    assert_eq!(
        chain(&digest, &second).to_string(),
        "4bb247b7be678fe58b1a6fc5dc1d2c06b01a43e1255581034211afb818c3d32d"
    );
}

#[test]
fn sha256_is_the_one_of_fips_180() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sha256(&[b"abc"]).to_string(), abc);
    assert_eq!(sha256(&[b"a", b"", b"bc"]).to_string(), abc);
}
