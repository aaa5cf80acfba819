//! JSON texts as the stores have them: checked, verbatim, on one line.
//!
//! Any JSON is accepted: duplicate keys, huge numbers and `\u0000` stay as they are. Only CR and LF
//! between tokens are dropped, because an event is one line in NDJSON and in server-sent events.
//! (JSON does not allow them inside a string, so all of them in a valid text are between tokens.)

use rehome_domain::event::Json;
use serde_json::value::RawValue;

/// The maximum size and depth of a text. Checked at append and import only: `extend` never refuses
/// what a store already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonLimits {
    /// Most bytes.
    pub bytes_max: usize,
    /// Most arrays and objects inside one another.
    pub depth_max: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { bytes_max: 1 << 20, depth_max: 128 }
    }
}

/// Why a text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// It is too large.
    #[error("{found} bytes of JSON; the maximum is {max}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// It is too deep.
    #[error("JSON is nested deeper than {max}")]
    TooDeep {
        /// The limit.
        max: usize,
    },
}

/// Checks a text and makes it one line.
pub fn parse(text: &str, limits: JsonLimits) -> Result<Json, JsonError> {
    check_limits(text, limits)?;
    serde_json::from_str::<&RawValue>(text).map_err(|e| JsonError::Syntax(e.to_string()))?;
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if text.contains(['\r', '\n']) {
        Ok(Json::trusted(text.replace(['\r', '\n'], "")))
    } else {
        Ok(Json::trusted(text))
    }
}

/// A text as a string of JSON.
pub fn string(text: &str) -> Json {
    Json::trusted(serde_json::Value::from(text).to_string())
}

/// Checks the limits alone, of a text already known to be JSON.
pub fn check_limits(text: &str, limits: JsonLimits) -> Result<(), JsonError> {
    if text.len() > limits.bytes_max {
        return Err(JsonError::TooLarge { found: text.len(), max: limits.bytes_max });
    }
    if depth(text) > limits.depth_max {
        return Err(JsonError::TooDeep { max: limits.depth_max });
    }
    Ok(())
}

/// How many arrays and objects are open at once, at the deepest place.
fn depth(text: &str) -> usize {
    let (mut open, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Json, JsonError> {
        super::parse(text, JsonLimits::default())
    }

    #[test]
    fn what_is_json_stays_as_it_is() {
        for text in [
            r#"{"a":1,"a":2}"#,
            "123456789012345678901234567890.000e400000",
            r#""\u0000 \ud800 \n""#,
            r#"{ "spaced" :  [ 1 , 2 ] }"#,
            "null",
        ] {
            assert_eq!(parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn line_ends_between_tokens_are_dropped_and_nothing_else_is() {
        let json = parse("{\r\n  \"a\": \"\\n\",\n\t\"b\": 1\n}\n").unwrap();
        assert_eq!(json.as_str(), "{  \"a\": \"\\n\",\t\"b\": 1}");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "{}x", "\"a\nb\"", "nul", "01", "[1,]", "\u{feff}{}"] {
            assert!(matches!(parse(text), Err(JsonError::Syntax(_))), "{text:?}");
        }
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(&nested(128)).is_ok());
        assert_eq!(parse(&nested(129)), Err(JsonError::TooDeep { max: 128 }));
        assert_eq!(parse(&nested(500_000)), Err(JsonError::TooDeep { max: 128 }));
        assert!(parse(&format!("\"{}\\\"[\"", "[".repeat(300))).is_ok());
    }

    #[test]
    fn size_is_bounded() {
        let limits = JsonLimits { bytes_max: 10, ..JsonLimits::default() };
        assert!(super::parse("12345678", limits).is_ok());
        assert!(matches!(
            super::parse("12345678901", limits),
            Err(JsonError::TooLarge { found: 11, max: 10 })
        ));
    }
}
