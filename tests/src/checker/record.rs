//! What the writers wrote down: the files of loads, and the lines that were imported. What others saw
//! is in [`super::watched`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::Id;
use super::watched::{Answer, Subscriber};

/// A stream's type and id.
pub(super) type Stream = (String, String);

/// The acknowledgement of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) version: u64,
    pub(super) seq: u64,
    pub(super) at: Option<i64>,
}

/// An event as it was sent, and its response.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) stream: Stream,
    pub(super) ack: Option<Ack>,
    pub(super) refused: bool,
    pub(super) begun_at: Option<i64>,
    pub(super) content: Option<Content>,
}

/// The contents of an event, if the record has them.
#[derive(Clone, Debug)]
pub(super) struct Content {
    event_type: String,
    data: String,
    metadata: String,
}

impl Content {
    pub(super) fn is_of(&self, event_type: &str, texts: (Option<&str>, Option<&str>)) -> bool {
        self.event_type == event_type
            && texts == (Some(self.data.as_str()), Some(self.metadata.as_str()))
    }
}

/// Everything that is known to have been sent to one tenant.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub(super) events: HashMap<Id, Sent>,
    pub(super) appends: Vec<Vec<Id>>,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) readers: Vec<Vec<Answer>>,
}

impl Known {
    /// Events that were acknowledged.
    pub fn acked(&self) -> u64 {
        self.events.values().filter(|sent| sent.ack.is_some()).count() as u64
    }

    /// The longest time from a send to its acknowledgement, in microseconds.
    pub fn longest_micros(&self) -> u64 {
        let time = |sent: &Sent| sent.ack?.at?.checked_sub(sent.begun_at?);
        let longest = self.events.values().filter_map(time).max().unwrap_or_default();
        longest.unsigned_abs()
    }

    /// An event that was imported before the first write, as number `seq` of the history.
    pub fn import(
        &mut self,
        id: Id,
        stream: (&str, &str),
        place: (u64, u64),
        content: (&str, &str, &str),
    ) {
        let (version, seq) = place;
        let (event_type, data, metadata) = content;
        let sent = Sent {
            stream: (stream.0.to_owned(), stream.1.to_owned()),
            ack: Some(Ack { version, seq, at: None }),
            refused: false,
            begun_at: None,
            content: Some(Content {
                event_type: event_type.to_owned(),
                data: data.to_owned(),
                metadata: metadata.to_owned(),
            }),
        };
        self.events.insert(id, sent);
        self.appends.push(vec![id]);
    }

    /// A load's record: `S` sent, `A` acknowledged, `R` refused; a last line that was cut off by a
    /// kill counts for nothing.
    pub fn add_load(&mut self, path: &Path) -> Result<()> {
        let text = whole_lines(path)?;
        let mut appends: HashMap<(&str, &str), Vec<Id>> = HashMap::new();
        for line in text.lines() {
            self.line(line, &mut appends)
                .with_context(|| format!("{} has the line: {line}", path.display()))?;
        }
        self.appends.extend(appends.into_values());
        Ok(())
    }

    fn line<'a>(
        &mut self,
        line: &'a str,
        appends: &mut HashMap<(&'a str, &'a str), Vec<Id>>,
    ) -> Result<()> {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["L", "1", ..] => {}
            ["S", writer, append, at, stream_type, stream_id, _, ids] => {
                let begun_at = Some(at.parse()?);
                let ids: Vec<Id> = ids.split(',').map(parse_hex).collect::<Result<_>>()?;
                for id in &ids {
                    let stream = (stream_type.to_owned(), stream_id.to_owned());
                    let sent = Sent { stream, ack: None, refused: false, begun_at, content: None };
                    if self.events.insert(*id, sent).is_some() {
                        bail!("an id that was given before");
                    }
                }
                appends.insert((writer, append), ids);
            }
            ["A", writer, append, at, first_version, last_version, first_seq, last_seq] => {
                let ids = appends.get(&(writer, append)).context("nothing was sent")?;
                let (version, seq) = (first_version.parse::<u64>()?, first_seq.parse::<u64>()?);
                let more = ids.len() as u64 - 1;
                if (last_version.parse::<u64>()?, last_seq.parse::<u64>()?)
                    != (version + more, seq + more)
                {
                    bail!("the answer names another number of events than were sent");
                }
                for (offset, id) in (0..).zip(ids) {
                    let sent = self.events.get_mut(id).context("nothing was sent")?;
                    let at = Some(at.parse()?);
                    sent.ack = Some(Ack { version: version + offset, seq: seq + offset, at });
                }
            }
            ["R", writer, append, ..] => {
                for id in appends.get(&(writer, append)).context("nothing was sent")? {
                    self.events.get_mut(id).context("nothing was sent")?.refused = true;
                }
            }
            _ => bail!("that is no line of a record"),
        }
        Ok(())
    }
}

/// A record's lines without a last one that was cut off.
pub(super) fn whole_lines(path: &Path) -> Result<String> {
    let mut bytes = std::fs::read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    bytes.truncate(whole);
    String::from_utf8(bytes).context("a record is text")
}

/// The 16 bytes of a UUID's text.
pub fn parse_hex(text: &str) -> Result<Id> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).context("not a UUID")?;
    if digits.len() != 32 {
        bail!("not a UUID: {text}");
    }
    Ok(number.to_be_bytes())
}

/// A UUID's text.
pub fn hex(id: &Id) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in id.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
