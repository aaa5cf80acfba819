//! How numbers read.

/// A number with its thousands apart: 1,234,567.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of a thing, whose name takes an s for more: 1 event, 2,376 events.
pub fn counted(number: u64, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {thing}{s}", count(number))
}

/// A rate, as exact as a person needs it; the caller adds the unit.
pub fn rate(per_second: f64) -> String {
    let known = per_second.clamp(0.0, 1e15);
    if known < 9.95 {
        return format!("{known:.1}");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let whole = known.round() as u64;
    count(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn one_thing_has_no_s() {
        assert_eq!(counted(1, "open violation"), "1 open violation");
        assert_eq!(counted(0, "event"), "0 events");
        assert_eq!(counted(2_376, "event"), "2,376 events");
    }

    #[test]
    fn a_rate_has_a_digit_behind_the_point_only_where_it_is_small() {
        for (per_second, text) in
            [(0.0, "0.0"), (4.46, "4.5"), (9.96, "10"), (47.3, "47"), (4_732.4, "4,732")]
        {
            assert_eq!(rate(per_second), text);
        }
        assert_eq!(rate(f64::INFINITY), "1,000,000,000,000,000");
    }
}
