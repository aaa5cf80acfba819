//! Names and counters: valid and invalid values.

use proptest::prelude::*;
use rehome_domain::event::{EVENT_TYPE_BYTES_MAX, EventType};
use rehome_domain::ids::{Epoch, EventId, StoreId, TenantId};
use rehome_domain::stream::{
    ExpectedVersion, InvalidStreamName, STREAM_NAME_BYTES_MAX, StreamName,
};

use crate::kit::config;

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
