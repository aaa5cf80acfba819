//! The record of a writer that is a process of its own: a file, a line for each thing.
//!
//! `sent AT`: the writer's next event was sent for the first time. `acked AT`: it was acknowledged. `refused AT WORDS`: a file
//! refused it. Times are microseconds since the Unix epoch.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::load::record::{Ack, Outcome, Sent, StreamRef};

/// How the words begin with which a store refuses a tenant that it does not have, or that is being switched.
const REFUSALS: [&str; 3] = ["RH001", "RH003", "40001"];

/// What a writer has noted, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Journal {
    read_to: u64,
    rest: String,
    /// One for each event, in order: version 1 is the first.
    pub(super) appends: Vec<Sent>,
    /// How often a file refused one of them.
    pub(super) refused: u64,
    /// Refusals that no switch explains, in the words of the database.
    pub(super) strange: Vec<String>,
}

impl Journal {
    /// Reads what has come since.
    pub(super) fn read_on(&mut self, path: &Path) -> std::io::Result<()> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.read_to))?;
        let mut text = String::new();
        self.read_to += file.read_to_string(&mut text)? as u64;
        self.rest.push_str(&text);
        while let Some((line, rest)) = self.rest.split_once('\n') {
            let (line, rest) = (line.to_owned(), rest.to_owned());
            self.rest = rest;
            self.take(&line);
        }
        Ok(())
    }

    fn take(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let kind = words.next().unwrap_or_default();
        let at: i64 = words.next().and_then(|at| at.parse().ok()).unwrap_or_default();
        match kind {
            "sent" => self.appends.push(Sent {
                first: self.appends.len() as u64 + 1,
                events: 1,
                stream: StreamRef { shared: false, number: 0 },
                sent_at: at,
                outcome: Outcome::Open,
            }),
            "acked" => {
                if let Some(last) = self.appends.last_mut() {
                    // The position is unknown to the writer; the rows have it.
                    let ack = Ack { at, first_version: last.first, first_seq: 0, contiguous: true };
                    last.outcome = Outcome::Acked(ack);
                }
            }
            _ => {
                self.refused += 1;
                let said = words.next().unwrap_or_default();
                if !REFUSALS.iter().any(|code| said.starts_with(code)) {
                    self.strange.push(said.to_owned());
                }
            }
        }
    }

    /// Events that were acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.appends.iter().filter(|sent| sent.ack().is_some()).count() as u64
    }
}

/// Notes a line.
pub(super) fn note(file: &mut File, line: &str) -> std::io::Result<()> {
    file.write_all(format!("{line}\n").as_bytes())
}
