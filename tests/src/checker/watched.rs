//! Compares what subscribers and readers received with the history.
//!
//! A subscriber's record, continued by all processes of its name:
//!
//! ```text
//! B <time> <position>      it begins after this position, its checkpoint
//! E <seq> <event id>       it received this event
//! C <time> <seq>           its checkpoint was acknowledged
//! ```
//!
//! The record of a reader, which reads the end of the feed repeatedly:
//!
//! ```text
//! Q <begun> <ended> <after> <last> <event id>   it asked for what comes after `after`; the last
//!                                               event of the answer (`after` and `-`: there was none)
//! P <begun> <ended> <after> <last> <event id>   the same, and there may be more after it
//! ```
//!
//! Times are microseconds since 1970, of one clock for all processes. A last line that was cut off by
//! a kill is ignored.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::history::History;
use super::record::{Known, whole_lines};
use super::{Id, Moment, Violation, parse_hex};

/// A line of a subscriber's record.
#[derive(Clone, Copy, Debug)]
enum Step {
    Begun { after: u64 },
    Event { seq: u64, id: Id },
    Kept { seq: u64 },
}

/// All that a subscriber saw.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    name: String,
    steps: Vec<Step>,
}

/// What a reader was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    begun: i64,
    ended: i64,
    last: u64,
    id: Option<Id>,
    /// Whether it is all that there was.
    whole: bool,
}

impl Known {
    /// A subscriber's record.
    pub fn add_subscriber(&mut self, name: &str, record: &Path) -> Result<()> {
        let text = whole_lines(record)?;
        let steps = text
            .lines()
            .map(|line| step(line).with_context(|| format!("{} has {line}", record.display())))
            .collect::<Result<_>>()?;
        self.subscribers.push(Subscriber { name: name.to_owned(), steps });
        Ok(())
    }

    /// A reader's record.
    pub fn add_reader(&mut self, record: &Path) -> Result<()> {
        let text = whole_lines(record)?;
        let answers = text
            .lines()
            .map(|line| answer(line).with_context(|| format!("{} has {line}", record.display())))
            .collect::<Result<_>>()?;
        self.readers.push(answers);
        Ok(())
    }

    /// The number of events that subscribers received, and of responses that readers got.
    pub fn watched(&self) -> (u64, u64) {
        let events = self.subscribers.iter().flat_map(|subscriber| &subscriber.steps);
        let events = events.filter(|step| matches!(step, Step::Event { .. })).count();
        (events as u64, self.readers.iter().map(Vec::len).sum::<usize>() as u64)
    }
}

fn step(line: &str) -> Result<Step> {
    let fields: Vec<&str> = line.split(' ').collect();
    Ok(match fields[..] {
        ["B", _, after] => Step::Begun { after: after.parse()? },
        ["E", seq, id] => Step::Event { seq: seq.parse()?, id: parse_hex(id)? },
        ["C", _, seq] => Step::Kept { seq: seq.parse()? },
        _ => bail!("that is no line of a subscriber"),
    })
}

fn answer(line: &str) -> Result<Answer> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [kind @ ("Q" | "P"), begun, ended, _, last, id] = fields[..] else {
        bail!("that is no line of a reader");
    };
    let id = if id == "-" { None } else { Some(parse_hex(id)?) };
    let (begun, ended, last) = (begun.parse()?, ended.parse()?, last.parse()?);
    Ok(Answer { begun, ended, last, id, whole: kind == "Q" })
}

pub(super) fn check(
    known: &Known,
    authority: &History,
    moment: Moment,
    found: &mut Vec<Violation>,
) {
    for subscriber in &known.subscribers {
        subscriber.check(authority, moment, found);
    }
    for answers in &known.readers {
        backwards(answers, authority, found);
    }
    missed(known, found);
}

impl Subscriber {
    /// Every event once, in order, as in the authority; after a restart, again from a stored
    /// checkpoint.
    fn check(&self, authority: &History, moment: Moment, found: &mut Vec<Violation>) {
        // The last delivered position, and the last checkpoint that is known to be stored.
        let (mut at, mut kept) = (0, 0);
        // What it saw ever.
        let mut furthest = 0;
        for step in &self.steps {
            match *step {
                Step::Begun { after } => {
                    // A commit without a response may have been stored.
                    if after < kept || after > furthest {
                        found.push(self.wrong(after, kept, "its checkpoint"));
                    }
                    at = after;
                }
                Step::Kept { seq } if seq != at => {
                    found.push(self.wrong(seq, at, "what it kept"));
                }
                Step::Kept { seq } => kept = seq,
                Step::Event { seq, id } => {
                    if seq != at + 1 {
                        found.push(self.wrong(seq, at + 1, "the next event"));
                    }
                    if authority.id_at(seq) != Some(id) {
                        let subscriber = self.name.clone();
                        found.push(Violation::SawAnother { subscriber, seq, event: id });
                    }
                    at = seq;
                    furthest = furthest.max(at);
                }
            }
        }
        let events = authority.rows.len() as u64;
        if moment == Moment::End && at != events {
            found.push(self.wrong(at, events, "the end"));
        }
    }

    fn wrong(&self, saw: u64, expected: u64, what: &'static str) -> Violation {
        Violation::Subscriber { name: self.name.clone(), saw, expected, what }
    }
}

/// The end that one reader saw never comes nearer, and what it saw is what the authority has.
fn backwards(answers: &[Answer], authority: &History, found: &mut Vec<Violation>) {
    let mut before = 0;
    for answer in answers {
        if answer.whole && answer.last < before {
            found.push(Violation::Backwards { before, after: answer.last });
        }
        before = before.max(answer.last);
        if let Some(id) = answer.id
            && authority.id_at(answer.last) != Some(id)
        {
            let subscriber = "a reader".to_owned();
            found.push(Violation::SawAnother { subscriber, seq: answer.last, event: id });
        }
    }
}

/// A read that began after an append was acknowledged, or after another read was answered, sees as
/// much.
fn missed(known: &Known, found: &mut Vec<Violation>) {
    let acks = known.events.values().filter_map(|sent| sent.ack);
    let mut told: Vec<(i64, u64)> = acks.filter_map(|ack| Some((ack.at?, ack.seq))).collect();
    told.extend(known.readers.iter().flatten().map(|answer| (answer.ended, answer.last)));
    told.sort_unstable();
    let mut reads: Vec<&Answer> =
        known.readers.iter().flatten().filter(|answer| answer.whole).collect();
    reads.sort_unstable_by_key(|answer| answer.begun);
    let mut told = told.into_iter().peekable();
    let mut highest = 0;
    for read in reads {
        while let Some((_, seq)) = told.next_if(|(at, _)| *at < read.begun) {
            highest = highest.max(seq);
        }
        if read.last < highest {
            found.push(Violation::Missed { seq: read.last, told: highest });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::history::Ledger;
    use super::*;

    fn id(seq: u8) -> Id {
        [seq; 16]
    }

    /// A history of five events.
    fn authority() -> History {
        let ledger = Ledger { role: "active".to_owned(), epoch: 1, seq: 5, digest: Vec::new() };
        let row = |seq: u8| super::super::history::Row {
            seq: u64::from(seq),
            stream: ("t".to_owned(), "s".to_owned()),
            version: u64::from(seq),
            id: id(seq),
            event_type: String::new(),
            occurred_at: 0,
            recorded_at: 0,
            data: None,
            metadata: None,
            digest: Vec::new(),
        };
        History::new(ledger, (1..=5).map(row).collect(), None)
    }

    fn found(subscriber: &str, reader: &str) -> Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let (seen, reads) = (folder.path().join("seen"), folder.path().join("reads"));
        let text = |short: &str| {
            let ids = |word: &str| match word.strip_prefix('#') {
                Some(seq) => super::super::hex(&id(seq.parse().unwrap_or(0))),
                None => word.to_owned(),
            };
            let lines = short.split(',').filter(|line| !line.trim().is_empty());
            let words = |line: &str| line.split_whitespace().map(ids).collect::<Vec<_>>().join(" ");
            lines.map(|line| words(line) + "\n").collect::<String>()
        };
        fs::write(&seen, text(subscriber))?;
        // Cut off by a kill.
        fs::write(&reads, text(reader) + "Q 1 2")?;
        let mut known = Known::default();
        known.add_subscriber("s", &seen)?;
        known.add_reader(&reads)?;
        let mut found = Vec::new();
        check(&known, &authority(), Moment::End, &mut found);
        Ok(found.iter().map(ToString::to_string).collect())
    }

    const ALL: &str = "B 1 0, E 1 #1, E 2 #2, C 1 2, E 3 #3, B 2 2, E 3 #3, E 4 #4, E 5 #5";

    #[test]
    fn a_subscriber_may_repeat_what_came_after_its_checkpoint() -> Result<()> {
        assert_eq!(found(ALL, "Q 1 2 0 3 #3, Q 3 4 2 3 #3, P 5 6 2 3 #3, Q 7 8 3 5 #5")?, [""; 0]);
        // A commit without a response, stored or not.
        let lost = "B 1 0, E 1 #1, E 2 #2, B 2 2, E 3 #3, E 4 #4, E 5 #5";
        assert_eq!(found(lost, "")?, [""; 0]);
        Ok(())
    }

    #[test]
    fn what_a_subscriber_must_not_see_is_found() -> Result<()> {
        for (steps, named) in [
            ("B 1 0, E 1 #1, E 3 #3, E 4 #4, E 5 #5", "the next event"),
            ("B 1 0, E 1 #1, E 2 #2, E 2 #2, E 3 #3, E 4 #4, E 5 #5", "the next event"),
            ("B 1 0, E 1 #1, E 2 #4, E 3 #3, E 4 #4, E 5 #5", "saw another"),
            ("B 1 0, E 1 #1, E 2 #2, C 1 2, B 2 1, E 2 #2, E 3 #3, E 4 #4, E 5 #5", "checkpoint"),
            ("B 1 0, E 1 #1, B 2 3, E 4 #4, E 5 #5", "checkpoint"),
            ("B 1 0, E 1 #1, E 2 #2", "the end"),
        ] {
            let found = found(steps, "")?;
            assert!(found.iter().any(|found| found.contains(named)), "{steps}: {found:?}");
        }
        Ok(())
    }

    #[test]
    fn a_read_that_misses_what_was_told_is_found() -> Result<()> {
        for (reads, named) in [
            ("Q 1 2 0 3 #3, Q 3 4 1 2 #2", "backwards"),
            ("Q 1 2 0 3 #3, Q 3 4 1 2 #2", "missed"),
            ("Q 1 2 0 3 #4", "saw another"),
        ] {
            let found = found(ALL, reads)?;
            assert!(found.iter().any(|found| found.starts_with(named)), "{reads}: {found:?}");
        }
        // Neither began after the other was answered.
        assert_eq!(found(ALL, "Q 1 4 0 3 #3, Q 2 5 0 3 #3")?, [""; 0]);
        Ok(())
    }
}
