//! Escapes external texts before they reach a terminal.
//!
//! A terminal interprets control sequences: one in a reason, in a stream's name or in an error of a server
//! can clear the screen, set the window's title, or hide a line. A bidi control can show a
//! word as another one. Both are escaped, in Rust's notation: `\u{1b}`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal obeys the character, or shows what follows in another order, or shows nothing where
/// something is: controls of C0 and C1, line separators, bidi controls, and invisible formats and tags.
pub const fn is_obeyed(character: char) -> bool {
    matches!(
        character,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Escapes a text of several lines for a terminal, except for line ends and tabs.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| is_obeyed(character) && !matches!(character, '\n' | '\t'), in_text)
}

/// A text that has to stay in its line or its cell: line ends and tabs are escaped too.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_obeyed, in_text)
}

/// Escapes JSON for a terminal. It has no white space between its tokens except line ends. The escapes are
/// JSON's own, so a parser reads the same values.
pub fn json(text: &str) -> Cow<'_, str> {
    // Outside of strings JSON has no such character but white space, and inside of them no line end.
    escaped(
        text,
        |character| is_obeyed(character) && !matches!(character, '\n' | '\t' | '\r'),
        in_json,
    )
}

fn escaped(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    let Some(first) = text.find(&is_escaped) else { return Cow::Borrowed(text) };
    let mut harmless = String::with_capacity(text.len() + 16);
    harmless.push_str(&text[..first]);
    for character in text[first..].chars() {
        if is_escaped(character) {
            escape(&mut harmless, character);
        } else {
            harmless.push(character);
        }
    }
    Cow::Owned(harmless)
}

fn in_text(text: &mut String, character: char) {
    text.extend(character.escape_default());
}

fn in_json(text: &mut String, character: char) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_escaped() {
        for (text, shown) in [
            ("\u{1b}]0;owned\u{7}", "\\u{1b}]0;owned\\u{7}"),
            ("\u{1b}[2J\u{1b}[31mred", "\\u{1b}[2J\\u{1b}[31mred"),
            ("\u{9b}2J \u{9d}0;x\u{9c}", "\\u{9b}2J \\u{9d}0;x\\u{9c}"),
            ("a\rb\u{8}c\u{7f}", "a\\rb\\u{8}c\\u{7f}"),
            ("\u{202e}gnp.exe \u{2066}x\u{2069}", "\\u{202e}gnp.exe \\u{2066}x\\u{2069}"),
            ("a\u{200b}b\u{e0041}\u{2028}", "a\\u{200b}b\\u{e0041}\\u{2028}"),
        ] {
            assert_eq!(lines(text), shown);
            assert_eq!(one_line(text), shown);
        }
    }

    #[test]
    fn what_people_write_stays_as_it_is() {
        for text in ["", "plain", "Grüße, мир, 世界 🙂", "שלום", "family 👨\u{200d}👩", "a\\u{1b}"]
        {
            assert!(matches!(one_line(text), Cow::Borrowed(same) if same == text));
            assert!(matches!(json(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn line_ends_and_tabs_are_kept_only_where_lines_are_meant() {
        assert_eq!(lines("a\n\tb"), "a\n\tb");
        assert_eq!(one_line("a\n\tb"), "a\\n\\tb");
    }

    #[test]
    fn json_is_escaped_as_json_is() {
        assert_eq!(
            json("{\"a\":\"\u{9b}2J\u{202e}\u{7f}\u{e0041}\"}\n"),
            "{\"a\":\"\\u009b2J\\u202e\\u007f\\udb40\\udc41\"}\n"
        );
    }

    #[test]
    fn no_character_that_is_obeyed_comes_through() {
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = character.to_string();
            for shown in [one_line(&text), json(&text)] {
                assert!(
                    shown.chars().all(|c| !is_obeyed(c) || matches!(c, '\n' | '\t' | '\r')),
                    "{character:?}"
                );
            }
            assert!(!character.is_control() || is_obeyed(character), "{character:?}");
        }
    }
}
