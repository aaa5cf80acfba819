//! JSON as `jsonb` has it: its text, which is the same for all texts of a value, and a text without blanks.
//!
//! `jsonb` keeps of an object the last of equal keys, has no `\u0000`, and writes a number in full, without an exponent
//! (PostgreSQL 15, chapter 8.14). A text of which it would keep less than its value is refused. `1e2` and `100` are one
//! value; `-0` and `0` are two, since they are two floating point numbers.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::NotKept;

/// Arrays and objects inside one another.
const DEPTH_MAX: usize = 512;
/// Digits of a number.
const DIGITS_MAX: usize = 1_000;

/// The text that `jsonb` writes for the value of a text.
pub fn jsonb(text: &str) -> Result<String, NotKept> {
    let mut written = String::with_capacity(text.len() + text.len() / 8);
    parsed(text)?.write(&mut written, (", ", ": "));
    Ok(written)
}

/// The same value without blanks, as libraries keep it in a text.
pub fn compact(text: &str) -> Result<String, NotKept> {
    let mut written = String::with_capacity(text.len());
    parsed(text)?.write(&mut written, (",", ":"));
    Ok(written)
}

enum Value<'a> {
    /// A number or a word, as it is written.
    Scalar(Cow<'a, str>),
    /// A string without escapes.
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    /// The keys without escapes, in the order in which they are written.
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl Value<'_> {
    fn write(&self, to: &mut String, between: (&str, &str)) {
        match self {
            Self::Scalar(text) => to.push_str(text),
            Self::Text(text) => write_string(text, to),
            Self::Array(values) => {
                to.push('[');
                for (n, value) in values.iter().enumerate() {
                    to.push_str(if n > 0 { between.0 } else { "" });
                    value.write(to, between);
                }
                to.push(']');
            }
            Self::Object(members) => {
                to.push('{');
                for (n, (key, value)) in members.iter().enumerate() {
                    to.push_str(if n > 0 { between.0 } else { "" });
                    write_string(key, to);
                    to.push_str(between.1);
                    value.write(to, between);
                }
                to.push('}');
            }
        }
    }
}

/// As PostgreSQL's `escape_json` does.
fn write_string(text: &str, to: &mut String) {
    to.push('"');
    let mut rest = text;
    while let Some(plain) = end_of_plain(rest) {
        to.push_str(&rest[..plain]);
        // What ends a plain text is one byte long.
        match rest.as_bytes()[plain] {
            b'"' => to.push_str("\\\""),
            b'\\' => to.push_str("\\\\"),
            8 => to.push_str("\\b"),
            12 => to.push_str("\\f"),
            b'\n' => to.push_str("\\n"),
            b'\r' => to.push_str("\\r"),
            b'\t' => to.push_str("\\t"),
            byte => write!(to, "\\u{byte:04x}").expect("a string takes all"),
        }
        rest = &rest[plain + 1..];
    }
    to.push_str(rest);
    to.push('"');
}

/// Where a quote, a backslash or a control character is.
fn end_of_plain(text: &str) -> Option<usize> {
    text.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')
}

fn parsed(text: &str) -> Result<Value<'_>, NotKept> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at == text.len() { Ok(value) } else { Err(NotKept::Json) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.next() {
            self.at += 1;
        }
    }

    /// Whether `token` is next, which is then passed.
    fn passes(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    /// The same after blanks.
    fn comes(&mut self, token: &str) -> bool {
        self.blanks();
        self.passes(token)
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, NotKept> {
        if depth > DEPTH_MAX {
            return Err(NotKept::TooLargeInJson);
        }
        self.blanks();
        let first = self.next().ok_or(NotKept::Json)?;
        let word = match first {
            b't' => "true",
            b'f' => "false",
            b'n' => "null",
            b'{' | b'[' | b'"' => {
                self.at += 1;
                return match first {
                    b'{' => self.object(depth),
                    b'[' => self.array(depth),
                    _ => self.string().map(Value::Text),
                };
            }
            _ => return self.number().map(Value::Scalar),
        };
        if self.passes(word) { Ok(Value::Scalar(word.into())) } else { Err(NotKept::Json) }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, NotKept> {
        let mut values = Vec::new();
        if self.comes("]") {
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            if self.comes("]") {
                return Ok(Value::Array(values));
            }
            if !self.comes(",") {
                return Err(NotKept::Json);
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, NotKept> {
        let mut members: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        let mut more = !self.comes("}");
        while more {
            if !self.comes("\"") {
                return Err(NotKept::Json);
            }
            let key = self.string()?;
            if !self.comes(":") {
                return Err(NotKept::Json);
            }
            members.push((key, self.value(depth + 1)?));
            more = self.comes(",");
            if !more && !self.comes("}") {
                return Err(NotKept::Json);
            }
        }
        // The shorter ones come first, and then bytes decide.
        members.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        if members.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(NotKept::TwiceInJson);
        }
        Ok(Value::Object(members))
    }

    /// What is behind the quote, up to the next one, without escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, NotKept> {
        let mut text = Cow::Borrowed("");
        loop {
            let rest = self.rest();
            let plain = end_of_plain(rest).ok_or(NotKept::Json)?;
            if text.is_empty() {
                text = Cow::Borrowed(&rest[..plain]);
            } else {
                text.to_mut().push_str(&rest[..plain]);
            }
            self.at += plain;
            if self.passes("\"") {
                return Ok(text);
            }
            if !self.passes("\\") {
                return Err(NotKept::Json);
            }
            text.to_mut().push(self.escaped()?);
        }
    }

    /// What is behind the backslash.
    fn escaped(&mut self) -> Result<char, NotKept> {
        let c = self.rest().chars().next().ok_or(NotKept::Json)?;
        self.at += c.len_utf8();
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut units = vec![self.unit()?];
                if (0xd800..0xdc00).contains(&units[0]) && self.passes("\\u") {
                    units.push(self.unit()?);
                }
                match char::decode_utf16(units.iter().copied()).collect::<Result<Vec<_>, _>>() {
                    Ok(one) if one.len() == 1 && one[0] != '\0' => one[0],
                    _ => return Err(NotKept::CharacterInJson),
                }
            }
            _ => return Err(NotKept::Json),
        })
    }

    fn unit(&mut self) -> Result<u16, NotKept> {
        let digits = self.rest().get(..4).filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = digits.ok_or(NotKept::Json)?;
        self.at += 4;
        u16::from_str_radix(digits, 16).map_err(|_| NotKept::Json)
    }

    fn digits(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// As `numeric` writes it: without an exponent, with the digits after the point that were there.
    fn number(&mut self) -> Result<Cow<'a, str>, NotKept> {
        let number = self.rest();
        let minus = self.passes("-");
        let whole = self.digits();
        let has_point = self.passes(".");
        let fraction = if has_point { self.digits() } else { "" };
        let has_exponent = self.passes("e") || self.passes("E");
        let down = has_exponent && self.passes("-");
        if has_exponent && !down {
            self.passes("+");
        }
        let exponent = if has_exponent { self.digits() } else { "0" };
        let leads = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leads || (has_point && fraction.is_empty()) || exponent.is_empty() {
            return Err(NotKept::Json);
        }
        let places: usize = exponent.trim_start_matches('0').parse().unwrap_or_else(|_| {
            if exponent.bytes().all(|digit| digit == b'0') { 0 } else { usize::MAX }
        });
        if places.saturating_add(whole.len()).saturating_add(fraction.len()) > DIGITS_MAX {
            return Err(NotKept::TooLargeInJson);
        }
        let is_zero = whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0');
        let after =
            if down { fraction.len() + places } else { fraction.len().saturating_sub(places) };
        if minus && is_zero {
            return Err(NotKept::NumberInJson);
        }
        if !has_point && !has_exponent {
            return Ok(number[..usize::from(minus) + whole.len()].into());
        }
        let zeros = if down { 0 } else { places.saturating_sub(fraction.len()) };
        let digits = format!("{whole}{fraction}{}", "0".repeat(zeros));
        // At least as many digits as come after the point.
        let digits = format!("{digits:0>after$}");
        let (before, behind) = digits.split_at(digits.len() - after);
        let before = before.trim_start_matches('0');
        let before = if before.is_empty() { "0" } else { before };
        let (minus, point) = (if minus { "-" } else { "" }, if after > 0 { "." } else { "" });
        Ok(format!("{minus}{before}{point}{behind}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_text_and_a_text_without_blanks() {
        for (text, written, without) in [
            (" { } ", "{}", "{}"),
            ("[ ]", "[]", "[]"),
            ("null", "null", "null"),
            ("\t[\r\nfalse ,true ]", "[false, true]", "[false,true]"),
            (r#"{ "a b" : "c d" }"#, r#"{"a b": "c d"}"#, r#"{"a b":"c d"}"#),
            (
                r#""\"\\\b\f\n\r\t\u0008\u000c\u000D\u0009""#,
                r#""\"\\\b\f\n\r\t\b\f\r\t""#,
                r#""\"\\\b\f\n\r\t\b\f\r\t""#,
            ),
            (
                r#"{"event_id":"x","b":[1,2.50,true],"a":{"z":null}}"#,
                r#"{"a": {"z": null}, "b": [1, 2.50, true], "event_id": "x"}"#,
                r#"{"a":{"z":null},"b":[1,2.50,true],"event_id":"x"}"#,
            ),
            (r#"{"é":1,"zz":2,"b":3}"#, r#"{"b": 3, "zz": 2, "é": 1}"#, r#"{"b":3,"zz":2,"é":1}"#),
            (
                r#""\u00e9\ud83d\ude00\/\n\u001F\u007f""#,
                "\"é😀/\\n\\u001f\u{7f}\"",
                "\"é😀/\\n\\u001f\u{7f}\"",
            ),
            ("1.5e-7", "0.00000015", "0.00000015"),
            ("-12.340e1", "-123.40", "-123.40"),
            (
                "[1e16,12.5E1,0e1,1.50e+1]",
                "[10000000000000000, 125, 0, 15.0]",
                "[10000000000000000,125,0,15.0]",
            ),
            ("0.0", "0.0", "0.0"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
        ] {
            assert_eq!(jsonb(text).as_deref(), Ok(written), "{text}");
            assert_eq!(compact(text).as_deref(), Ok(without), "{text}");
            assert_eq!(jsonb(without).as_deref(), Ok(written), "it is the same value: {text}");
        }
    }

    #[test]
    fn what_jsonb_would_change_is_refused() {
        let deep = format!("{}{}", "[".repeat(600), "]".repeat(600));
        for (text, why) in [
            (r#"{"a":1,"b":2,"a":1}"#, NotKept::TwiceInJson),
            (r#"{"a":1,"\u0061":2}"#, NotKept::TwiceInJson),
            (r#""\u0000""#, NotKept::CharacterInJson),
            (r#""\ud800""#, NotKept::CharacterInJson),
            (r#""\udc00\ud800""#, NotKept::CharacterInJson),
            (r#""\ud800\u0061""#, NotKept::CharacterInJson),
            ("-0", NotKept::NumberInJson),
            ("-0.0", NotKept::NumberInJson),
            ("1e400000000000000000000000", NotKept::TooLargeInJson),
            (deep.as_str(), NotKept::TooLargeInJson),
        ] {
            assert_eq!(jsonb(text), Err(why), "{text}");
        }
        for text in [
            "",
            "{",
            "{}x",
            "[1,]",
            "{\"a\"}",
            "{,}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "nul",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "'a'",
            "NaN",
            "1-",
            "1+",
            "-",
            "1 2",
            "[1 2]",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "\"a",
        ] {
            assert_eq!(jsonb(text), Err(NotKept::Json), "{text}");
        }
    }

    #[test]
    fn what_is_as_large_as_it_may_be_is_read() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        // The outermost array is not inside another one.
        let deepest = nested(DEPTH_MAX + 1);
        assert_eq!(jsonb(&deepest).as_deref(), Ok(&*deepest));
        assert_eq!(jsonb(&nested(DEPTH_MAX + 2)), Err(NotKept::TooLargeInJson));
        let of_objects = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(jsonb(&of_objects(DEPTH_MAX)).is_ok());
        assert_eq!(jsonb(&of_objects(DEPTH_MAX + 1)), Err(NotKept::TooLargeInJson));
        let nines = |digits| "9".repeat(digits);
        assert_eq!(jsonb(&nines(DIGITS_MAX)), Ok(nines(DIGITS_MAX)));
        assert_eq!(jsonb(&nines(DIGITS_MAX + 1)), Err(NotKept::TooLargeInJson));
        assert_eq!(jsonb("1e999"), Ok(format!("1{}", "0".repeat(999))));
        assert_eq!(jsonb("1e1000"), Err(NotKept::TooLargeInJson));
        assert_eq!(jsonb("1.5e998").map(|text| text.len()), Ok(999));
        assert_eq!(jsonb("1.5e999"), Err(NotKept::TooLargeInJson));
        assert_eq!(jsonb("1e-000").as_deref(), Ok("1"));
    }
}
