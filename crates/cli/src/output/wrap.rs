//! Lines that fit a terminal.
//!
//! A terminal breaks a long line in the middle of a word. Here a line is broken between words, and continues below the
//! text that it continues: of a row, `name        value`, below the value. A word, and a command between backticks,
//! stay whole, so that they can be copied: one that fits nowhere has a line of its own, from the first column, and the
//! terminal breaks it.

pub(super) use console::measure_text_width as wide;

/// The text with its lines broken to this width.
pub(super) fn wrap(text: &str, width: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| broken(line, width)).collect();
    lines.join("\n")
}

fn broken(line: &str, width: usize) -> String {
    if wide(line) <= width {
        return line.to_owned();
    }
    let (head, indent) = head(line, width);
    broken_below(line, head, indent, width)
}

/// A line whose first bytes stay as they are, and that continues below this column.
fn broken_below(line: &str, head: usize, indent: usize, width: usize) -> String {
    let (mut text, mut column) = (line[..head].to_owned(), wide(&line[..head]));
    let mut is_first = true;
    for (space, piece) in pieces(&line[head..]) {
        let (space, long) = (if is_first { 0 } else { space }, wide(piece));
        if column > 0 && column + space + long > width {
            text.truncate(text.trim_end().len());
            column = if indent + long > width { 0 } else { indent };
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&" ".repeat(column));
        } else {
            text.push_str(&" ".repeat(space));
            column += space;
        }
        text.push_str(piece);
        column += long;
        is_first = false;
    }
    text
}

/// A text in lines of this width, all of which begin at the first column.
pub(super) fn fold(text: &str, width: usize) -> String {
    if wide(text) <= width { text.to_owned() } else { broken_below(text, 0, 0, width) }
}

/// The columns of the longest part of a text that stays whole.
pub(super) fn longest_piece(text: &str) -> usize {
    pieces(text).into_iter().map(|(_, piece)| wide(piece)).max().unwrap_or(0)
}

/// Phrases, each after a comma: the first ones that fit behind this column of a line, and the others on lines below.
pub(super) fn beside_and_below(phrases: &str, column: usize, width: usize) -> String {
    let room = width.saturating_sub(column);
    let ends = phrases.match_indices(", ").map(|(at, _)| at).chain([phrases.len()]);
    let fits = ends.take_while(|end| wide(&phrases[..*end]) <= room).last().unwrap_or(0);
    let below = phrases[fits..].trim_start_matches(", ");
    if below.is_empty() {
        return phrases.to_owned();
    }
    format!("{}\n{}", &phrases[..fits], wrap(&format!("  {below}"), width))
}

/// Where the text of a line begins that can be broken, in bytes, and the column below which it continues.
fn head(line: &str, width: usize) -> (usize, usize) {
    let start = line.len() - line.trim_start_matches(' ').len();
    let value = line[start..].find("  ").map(|gap| {
        let gap = start + gap;
        line.len() - line[gap..].trim_start_matches(' ').len()
    });
    match value.map(|at| (at, wide(&line[..at]))) {
        Some((at, column)) if column <= width / 3 => (at, column),
        _ => (start, (start + 2).min(width / 3)),
    }
}

/// Words and commands, each with the number of spaces before it.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut from, mut space, mut quoted) = (None, 0, false);
    for (at, character) in text.char_indices() {
        quoted ^= character == '`';
        match (character == ' ' && !quoted, from) {
            (true, Some(start)) => {
                pieces.push((space, &text[start..at]));
                (from, space) = (None, 1);
            }
            (true, None) => space += 1,
            (false, None) => from = Some(at),
            (false, Some(_)) => {}
        }
    }
    pieces.extend(from.map(|start| (space, &text[start..])));
    pieces
}

#[cfg(test)]
mod tests {
    use super::{beside_and_below, wrap};

    #[test]
    fn a_line_is_broken_between_words_below_what_it_continues() {
        assert_eq!(wrap("short\nlines", 10), "short\nlines");
        assert_eq!(wrap("one two three four", 10), "one two\n  three\n  four");
        assert_eq!(
            wrap("state       a b c d e f g h i j k l m n o p q", 36),
            "state       a b c d e f g h i j k l\n            m n o p q"
        );
        assert_eq!(wrap("  - one two three", 12), "  - one two\n    three");
    }

    #[test]
    fn words_and_commands_stay_whole() {
        assert_eq!(
            wrap("paused: `rehome migration resume ID` continues it", 32),
            "paused:\n  `rehome migration resume ID`\n  continues it"
        );
        assert_eq!(
            wrap("see https://example.com/a/long/path, then go", 20),
            "see\nhttps://example.com/a/long/path,\n  then go"
        );
        assert_eq!(wrap("  `rehome migration log ID`", 20), "`rehome migration log ID`");
        assert_eq!(wrap("digest     0123456789abcdef", 20), "digest\n  0123456789abcdef");
        // A backtick without another.
        assert_eq!(wrap("a `b c d e f", 8), "a\n`b c d e f");
    }

    #[test]
    fn phrases_without_room_beside_a_bar_are_below_it() {
        let phrases = "5 of 9 events, 3/s, 2 s left";
        assert_eq!(beside_and_below(phrases, 10, 40), phrases);
        assert_eq!(beside_and_below(phrases, 10, 28), "5 of 9 events, 3/s\n  2 s left");
        assert_eq!(beside_and_below(phrases, 10, 20), "\n  5 of 9 events,\n    3/s, 2 s left");
    }

    #[test]
    fn a_value_that_begins_too_far_right_continues_from_the_left() {
        let line = "2026-01-01T00:00:00Z  started              from=shared to=dedicated";
        assert_eq!(wrap(line, 50), "2026-01-01T00:00:00Z  started\n  from=shared to=dedicated");
    }
}
