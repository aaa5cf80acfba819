//! Names and counters: valid and invalid values.

use std::sync::Arc;

use proptest::prelude::*;
use rehome_domain::drain::{Halt, Order, Placement, State, Stay, TenantState};
use rehome_domain::event::{EVENT_TYPE_BYTES_MAX, Event, EventType, Json};
use rehome_domain::ids::{Epoch, EventId, StoreId, TenantId};
use rehome_domain::layout::ForeignRow;
use rehome_domain::ledger::Head;
use rehome_domain::stream::{
    ExpectedVersion, InvalidStreamName, STREAM_NAME_BYTES_MAX, StreamName,
};
use rehome_domain::verification::{Level, Side};

use crate::kit::{config, next_event};

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn stream_names_are_kept_as_they_are(kind in "\\PC{1,20}", id in "\\PC{1,20}") {
        let name = StreamName::new(kind.clone(), id.clone()).unwrap();
        prop_assert_eq!((name.stream_type(), name.stream_id()), (&*kind, &*id));
    }

    #[test]
    fn stream_names_are_ordered_bytewise(
        one in ("\\PC{1,4}", "\\PC{1,4}"), two in ("\\PC{1,4}", "\\PC{1,4}"),
    ) {
        let name = |pair: &(String, String)| StreamName::new(pair.0.clone(), pair.1.clone()).unwrap();
        let bytes = |pair: &(String, String)| (pair.0.clone().into_bytes(), pair.1.clone().into_bytes());
        prop_assert_eq!(name(&one).cmp(&name(&two)), bytes(&one).cmp(&bytes(&two)));
    }

    #[test]
    fn store_ids_are_a_few_letters(text in ".{0,70}") {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let allowed = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        prop_assert_eq!(text.parse::<StoreId>().is_ok(), allowed);
    }

    #[test]
    fn ids_are_read_as_they_are_written(bytes in any::<[u8; 16]>()) {
        let id = EventId::from_slice(&bytes).unwrap();
        prop_assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        prop_assert_eq!(id.as_bytes(), &bytes);
        prop_assert_eq!(TenantId::from_slice(&bytes[..15]), None);
    }
}

#[test]
fn stream_names_have_limits() {
    let new = |kind: &str, id: &str| StreamName::new(kind, id);
    assert_eq!(new("", "a"), Err(InvalidStreamName::Empty("type")));
    assert_eq!(new("a", ""), Err(InvalidStreamName::Empty("id")));
    assert_eq!(new("a\0b", "a"), Err(InvalidStreamName::Nul("type")));
    assert_eq!(new("a", "\0"), Err(InvalidStreamName::Nul("id")));
    let longest = "\u{e9}".repeat(STREAM_NAME_BYTES_MAX / 2 - 1);
    assert!(new("ab", &longest).is_ok());
    assert_eq!(new("abc", &longest), Err(InvalidStreamName::TooLong(STREAM_NAME_BYTES_MAX + 1)));
}

#[test]
fn event_types_have_limits() {
    assert!(EventType::new("\u{e9}".repeat(EVENT_TYPE_BYTES_MAX / 2)).is_ok());
    assert!(EventType::new("x".repeat(EVENT_TYPE_BYTES_MAX + 1)).is_err());
    assert!(EventType::new("").is_err());
    assert!(EventType::new("a\0").is_err());
}

#[test]
fn an_expectation_accepts_what_it_says() {
    for actual in [0, 1, 7] {
        assert!(ExpectedVersion::Any.accepts(actual));
        assert_eq!(ExpectedVersion::NoStream.accepts(actual), actual == 0);
        assert_eq!(ExpectedVersion::Exact(7).accepts(actual), actual == 7);
    }
    assert!(ExpectedVersion::Exact(0).accepts(0));
}

#[test]
fn epochs_are_handed_out_upwards() {
    assert!(Epoch::ZERO < Epoch::ZERO.next());
    assert_eq!(Epoch(7).next(), Epoch(8));
}

#[test]
fn a_stream_is_shown_without_what_a_terminal_obeys() {
    let name = StreamName::new("order", "a\u{1b}b").unwrap();
    assert_eq!(name.to_string(), "order/a\\u{1b}b");
    assert_eq!(format!("{name:?}"), name.to_string());
}

#[test]
fn a_payload_is_shown_by_its_size_only() {
    assert_eq!(format!("{:?}", Json::trusted("{\"iban\":1}")), "<10 bytes of JSON>");
}

/// Records, requests and configuration have these words: another word is another value.
#[test]
fn words_are_read_as_they_are_written() {
    fn same<T: Copy + std::fmt::Debug + PartialEq>(
        pairs: &[(T, &str)],
        write: impl Fn(T) -> &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) {
        for (value, word) in pairs {
            assert_eq!((write(*value), read(word)), (*word, Some(*value)));
        }
        assert_eq!(read("something"), None);
    }
    let levels = [(Level::Count, "count"), (Level::Hash, "hash"), (Level::Full, "full")];
    same(&levels, Level::as_str, Level::parse);
    let sides = [(Side::Unknown, "unknown"), (Side::Copy, "copy"), (Side::Authority, "authority")];
    same(&sides, Side::as_str, Side::parse);
    assert_eq!((Level::Hash.to_string(), Side::Copy.to_string()), ("hash".into(), "copy".into()));
    let orders =
        [(Order::Smallest, "smallest"), (Order::Largest, "largest"), (Order::Idle, "idle")];
    same(&orders, Order::as_str, Order::parse);
    let placements = [
        (Placement::Weights, "weights"),
        (Placement::FreeSpace, "free_space"),
        (Placement::LeastLoaded, "least_loaded"),
    ];
    same(&placements, Placement::as_str, Placement::parse);
    let states = [
        (State::Running, "running"),
        (State::Paused(Halt::Operator), "paused"),
        (State::Paused(Halt::Budget), "budget_spent"),
        (State::Cancelling, "cancelling"),
        (State::Cancelled, "cancelled"),
        (State::Finished, "finished"),
    ];
    same(&states, State::as_str, State::parse);
    assert_eq!(State::Paused(Halt::Budget).to_string(), "budget_spent");
    let reasons = [
        (Stay::Pinned, "pinned"),
        (Stay::Excluded, "excluded"),
        (Stay::OtherDrain, "other_drain"),
        (Stay::Gone, "gone"),
        (Stay::NoTarget, "no_target"),
    ];
    same(&reasons, Stay::as_str, Stay::parse);
    for (state, word) in [
        (TenantState::Waiting, "waiting"),
        (TenantState::Again, "again"),
        (TenantState::Moving, "moving"),
        (TenantState::Moved, "moved"),
        (TenantState::SetAside, "set_aside"),
        (TenantState::Stays(Stay::Pinned), "stays"),
    ] {
        assert_eq!(state.as_str(), word);
    }
}

#[test]
fn the_size_of_an_event_counts_all_texts_that_it_carries() {
    let event = next_event(Head::EMPTY, 1);
    let texts = ["order", "a", "order_placed", "{\"n\":1}", "{}"].map(str::len);
    let size = 160 + texts.iter().sum::<usize>();
    assert_eq!(event.bytes(), size);
    let with_row = Event { row: Some(Arc::new(ForeignRow::new("(1)"))), ..event };
    assert_eq!(with_row.bytes(), size + 3);
}
