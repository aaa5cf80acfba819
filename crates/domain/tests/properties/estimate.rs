//! The estimate is the monitoring guide's, and refuses impossible inputs.

use proptest::prelude::*;
use rehome_domain::estimate::{Inputs, InvalidInput, estimate};

use crate::kit::config;

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

/// The guide's function with its defaults, worked out by hand:
/// `(events / rate + lag / rate + pause) * 1.5`.
#[test]
fn the_guides_defaults_give_the_guides_numbers() {
    for (total_events, bulk, total) in [
        (1_000_000, 100.0, 157.515),
        (90_000, 9.0, 21.015),
        (0, 0.0, 7.515),
        (1_000_000_000, 100_000.0, 150_007.515),
    ] {
        let found = estimate(&Inputs { total_events, ..Inputs::default() }).unwrap();
        assert!(close(found.bulk_copy_seconds, bulk), "{found:?}");
        assert!(close(found.dual_write_seconds, 0.01), "{found:?}");
        assert!(close(found.cutover_seconds, 5.0), "{found:?}");
        assert!(close(found.total_seconds, total), "{found:?}");
    }
}

#[test]
fn what_the_tenant_writes_meanwhile_slows_the_copy() {
    let inputs =
        Inputs { total_events: 90_000, write_rate_per_second: 1_000.0, ..Inputs::default() };
    let found = estimate(&inputs).unwrap();
    // The copy and the writes during it: 90,000 / (10,000 - 1,000).
    assert!(close(found.bulk_copy_seconds, 10.0), "{found:?}");
}

#[test]
fn a_copy_that_is_slower_than_the_writes_never_ends() {
    for write in [10_000.0, 10_001.0] {
        let inputs = Inputs { write_rate_per_second: write, ..Inputs::default() };
        let expected = InvalidInput::NeverCatchesUp { copy: 10_000.0, write };
        assert_eq!(estimate(&inputs), Err(expected));
    }
}

#[test]
fn rates_and_factors_are_positive_and_finite() {
    for value in [0.0, -0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let refused = [
            Inputs { copy_rate_per_second: value, ..Inputs::default() },
            Inputs { buffer_factor: value, ..Inputs::default() },
        ];
        for inputs in refused {
            let error = estimate(&inputs).unwrap_err();
            assert!(matches!(error, InvalidInput::NotPositive(..)), "{value}: {error}");
        }
    }
    for value in [-1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let refused = [
            Inputs { cutover_pause_seconds: value, ..Inputs::default() },
            Inputs { write_rate_per_second: value, ..Inputs::default() },
        ];
        for inputs in refused {
            let error = estimate(&inputs).unwrap_err();
            assert!(matches!(error, InvalidInput::Negative(..)), "{value}: {error}");
        }
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn without_writes_it_is_the_guides_formula(
        total_events in 0..1_000_000_000_u64, lag in 0..1_000_000_u64,
        rate in 1.0..1e6, pause in 0.0..100.0, buffer in 0.1..10.0,
    ) {
        let inputs = Inputs {
            total_events,
            copy_rate_per_second: rate,
            dual_write_lag_events: lag,
            cutover_pause_seconds: pause,
            buffer_factor: buffer,
            write_rate_per_second: 0.0,
        };
        let found = estimate(&inputs).unwrap();
        let expected = (total_events as f64 / rate + lag as f64 / rate + pause) * buffer;
        prop_assert!(close(found.total_seconds, expected), "{found:?} {expected}");
        // More writes never make it shorter.
        let busy = Inputs { write_rate_per_second: rate / 2.0, ..inputs };
        prop_assert!(estimate(&busy).unwrap().total_seconds >= found.total_seconds);
    }
}
