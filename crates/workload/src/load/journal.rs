//! The record as a file, for a checker in another process that outlives the writers.
//!
//! Lines of fields separated by one space; times are microseconds since the Unix epoch. A line is
//! written whole, before the append is sent and after its response, so an acknowledgement
//! is in the file even when the process is killed the moment after. (It is not synced to the disk:
//! a killed process loses nothing that it has passed to the operating system.)
//!
//! ```text
//! L 1 <load> <tenant> <writers> <seed>                                  first line
//! S <writer> <append> <time> <type> <stream id> <expected> <id,id,...>  about to be sent
//! A <writer> <append> <time> <first version> <last> <first seq> <last>  acknowledged
//! R <writer> <append> <time> <reason>                                   refused for good
//! ```
//!
//! `<expected>` is `any`, `none` (no such stream yet) or a version. A retry with
//! the same ids writes nothing new. An `S` with neither `A` nor `R`: the outcome is unknown. A last line
//! without its line end was truncated by the kill and does not count.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;

use rehome_domain::append::{Append, Appended};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::{AppendError, private};
use uuid::Uuid;

use super::ids::{self, LoadId};
use super::record::{Ack, Outcome, Record, Sent, StreamRef, WriterRecord};
use super::{LoadOptions, WRITERS_MAX};

/// The file of a running load.
pub(super) struct Journal {
    file: File,
}

impl Journal {
    pub(super) fn create(path: &Path, load: LoadId, options: &LoadOptions) -> io::Result<Self> {
        let mut file = private::options().append(true).create_new(true).open(path)?;
        let LoadOptions { tenant, writers, seed, .. } = options;
        file.write_all(format!("L 1 {load} {tenant} {writers} {seed}\n").as_bytes())?;
        Ok(Self { file })
    }

    pub(super) fn sent(&self, writer: u16, index: usize, sent: &Sent, append: &Append) {
        let expected = match append.expected {
            ExpectedVersion::Any => "any".to_owned(),
            ExpectedVersion::NoStream => "none".to_owned(),
            ExpectedVersion::Exact(version) => version.to_string(),
        };
        let (stream_type, stream_id) = (append.stream.stream_type(), append.stream.stream_id());
        let mut line =
            format!("S {writer} {index} {} {stream_type} {stream_id} {expected} ", sent.sent_at);
        for (i, event) in append.events.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(line, "{comma}{}", event.id);
        }
        self.write(line);
    }

    pub(super) fn ended(
        &self,
        writer: u16,
        index: usize,
        at: i64,
        outcome: Option<&Result<Appended, AppendError>>,
    ) {
        match outcome {
            Some(Ok(Appended { first_version, last_version, first_seq, last_seq })) => {
                self.write(format!(
                    "A {writer} {index} {at} {first_version} {last_version} {first_seq} {last_seq}"
                ));
            }
            Some(Err(error)) => {
                let reason = error.to_string().replace(['\r', '\n'], " ");
                self.write(format!("R {writer} {index} {at} {reason}"));
            }
            None => {}
        }
    }

    /// One write of a whole line: lines of several writers never mix.
    fn write(&self, mut line: String) {
        line.push('\n');
        if let Err(error) = (&self.file).write_all(line.as_bytes()) {
            tracing::error!(%error, "the writers' record cannot be written");
        }
    }
}

/// Reads a record back.
pub fn read(path: &Path) -> io::Result<Record> {
    let mut lines = BufReader::new(File::open(path)?);
    let mut line = String::new();
    let mut number = 0_u64;
    let mut record = None;
    loop {
        line.clear();
        lines.read_line(&mut line)?;
        let Some(whole) = line.strip_suffix('\n') else { break };
        number += 1;
        let fields: Vec<&str> = whole.split(' ').collect();
        let taken = match &mut record {
            None => {
                record = begin(&fields);
                record.as_ref().map(drop)
            }
            Some(record) => take(record, &fields),
        };
        taken.ok_or_else(|| {
            let what = format!("line {number} is not one of a writers' record");
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
    }
    record.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a writers' record"))
}

fn begin(fields: &[&str]) -> Option<Record> {
    let ["L", "1", load, tenant, writers, seed] = fields else { return None };
    let writers = writers.parse::<u16>().ok().filter(|writers| *writers <= WRITERS_MAX)?;
    Some(Record {
        id: load.parse().ok()?,
        tenant: tenant.parse().ok()?,
        seed: seed.parse().ok()?,
        writers: vec![WriterRecord::default(); usize::from(writers)],
    })
}

fn take(record: &mut Record, fields: &[&str]) -> Option<()> {
    let [kind, writer, index, at, ..] = fields else { return None };
    let load = record.id;
    let writer = record.writers.get_mut(writer.parse::<usize>().ok()?)?;
    let index = index.parse::<usize>().ok()?;
    let at = at.parse::<i64>().ok()?;
    match (*kind, &fields[4..]) {
        ("S", [_, stream_id, _, event_ids]) if index == writer.appends.len() => {
            let first = ids::read(Uuid::parse_str(event_ids.split(',').next()?).ok()?)?;
            writer.appends.push(Sent {
                first: first.number,
                events: u32::try_from(event_ids.split(',').count()).ok()?,
                stream: StreamRef::read(load, stream_id)?,
                sent_at: at,
                outcome: Outcome::Open,
            });
        }
        ("A", [first_version, last_version, first_seq, last_seq]) => {
            let sent = writer.appends.get_mut(index)?;
            let [first_version, last_version, first_seq, last_seq] =
                [first_version, last_version, first_seq, last_seq]
                    .map(|field| field.parse::<u64>().ok());
            let (first_version, first_seq) = (first_version?, first_seq?);
            let more = u64::from(sent.events) - 1;
            let contiguous = last_version? == first_version + more && last_seq? == first_seq + more;
            sent.outcome = Outcome::Acked(Ack { at, first_version, first_seq, contiguous });
        }
        ("R", _) => writer.appends.get_mut(index)?.outcome = Outcome::Refused,
        _ => return None,
    }
    Some(())
}
