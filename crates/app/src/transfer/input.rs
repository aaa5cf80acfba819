//! A file or the standard input, unpacked if it is packed, and its lines, each within a bound.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use super::gunzip::{Gunzip, MAGIC, TrailingJunk};
use super::records::Records;
use crate::error::AppError;

/// Longest line that is read: data and metadata at their largest, and room for the rest.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

/// How an input is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// One JSON array of objects.
    Json,
    /// Comma-separated values under a header.
    Csv,
}

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    place: Place,
    format: Option<Format>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Stdin,
    /// A file, gzipped or not, as its content shows, not its name.
    File(PathBuf),
}

impl Input {
    /// A file; `-` is the standard input. `format: None`: detected from its name and its first character.
    pub fn new(path: PathBuf, format: Option<Format>) -> Self {
        let place = if path.as_os_str() == "-" { Place::Stdin } else { Place::File(path) };
        Self { place, format }
    }

    fn name(&self) -> String {
        match &self.place {
            Place::Stdin => "the standard input".to_owned(),
            Place::File(path) => path.display().to_string(),
        }
    }

    /// The format by the name of the file.
    fn format_by_name(&self) -> Option<Format> {
        let Place::File(path) = &self.place else { return None };
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        (Path::new(name).extension()? == "csv").then_some(Format::Csv)
    }

    pub(super) fn open(&self) -> Result<Records, AppError> {
        let unreadable = |error: &io::Error| {
            let message = format!("{} cannot be read: {error}", self.name());
            AppError::failed("unreadable_input", message)
        };
        let raw: Box<dyn Read + Send> = match &self.place {
            Place::Stdin => Box::new(io::stdin()),
            Place::File(path) => {
                let file = File::open(path).map_err(|error| unreadable(&error))?;
                if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
                    return Err(AppError::failed(
                        "unreadable_input",
                        format!("{} cannot be read: it is a folder", self.name()),
                    ));
                }
                Box::new(file)
            }
        };
        let mut raw = BufReader::with_capacity(1 << 16, raw);
        let start = ahead(&mut raw, |start| start.len() >= MAGIC.len());
        let start = start.map_err(|error| unreadable(&error))?;
        let packed = start == MAGIC;
        let raw = Cursor::new(start).chain(raw);
        let reader: Box<dyn BufRead + Send> = if packed {
            Box::new(BufReader::with_capacity(1 << 16, Gunzip::new(raw)))
        } else {
            Box::new(raw)
        };
        let mut lines = Lines { reader, packed, name: self.name(), number: 0, line: Vec::new() };
        let first = lines.first()?;
        let format = match self.format.or_else(|| self.format_by_name()) {
            Some(format) => format,
            None if first == Some(b'[') => Format::Json,
            None => Format::Ndjson,
        };
        Records::new(lines, format)
    }
}

/// The first bytes, until they are enough or the end is reached: a pipe may deliver them one by one.
fn ahead(reader: &mut dyn BufRead, enough: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    while !enough(&start) {
        let mut byte = [0];
        match reader.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => start.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(start)
}

/// A byte order mark in UTF-8, which means nothing.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// The first byte of a text that is neither a space nor a byte order mark at the beginning.
fn first(start: &[u8]) -> Option<u8> {
    let start = start.trim_ascii_start();
    let start = start.strip_prefix(MARK).map_or(start, <[u8]>::trim_ascii_start);
    start.first().copied().filter(|_| !MARK.starts_with(start))
}

/// The lines, one at a time.
pub(super) struct Lines {
    pub(super) reader: Box<dyn BufRead + Send>,
    packed: bool,
    name: String,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    /// What messages call the input.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The first byte that is neither a space nor a byte order mark.
    fn first(&mut self) -> Result<Option<u8>, AppError> {
        let most = 1 << 16;
        let enough = |start: &[u8]| start.len() >= most || first(start).is_some();
        let start = ahead(&mut *self.reader, enough).map_err(|error| self.unreadable(&error))?;
        let found = first(&start);
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(Cursor::new(start).chain(rest));
        Ok(found)
    }

    /// The next line that is not empty, with its number.
    pub(super) fn next(&mut self) -> Result<Option<(u64, &str)>, AppError> {
        loop {
            self.line.clear();
            self.number += 1;
            if !self.read_line()? {
                return Ok(None);
            }
            let text = std::str::from_utf8(&self.line).map_err(|_| {
                let message = format!("{}, line {}: not UTF-8", self.name, self.number);
                AppError::failed("bad_line", message).line(self.number)
            })?;
            if !is_blank(unmarked(text)) {
                break;
            }
        }
        // Checked above; checking again is simpler than satisfying the borrow checker.
        let text = std::str::from_utf8(&self.line).unwrap_or_default();
        Ok(Some((self.number, unmarked(text))))
    }

    /// Reads to the end of the line; false at the end of the input.
    fn read_line(&mut self) -> Result<bool, AppError> {
        let mut any = false;
        loop {
            let read = self.reader.fill_buf();
            let found = match read {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.unreadable(&error)),
            };
            if found.is_empty() {
                return Ok(any);
            }
            any = true;
            let end = found.iter().position(|byte| *byte == b'\n');
            let part = &found[..end.unwrap_or(found.len())];
            if self.line.len() + part.len() > LINE_BYTES_MAX {
                let message = format!(
                    "{}, line {}: longer than {LINE_BYTES_MAX} bytes",
                    self.name, self.number
                );
                return Err(AppError::failed("bad_line", message).line(self.number));
            }
            self.line.extend_from_slice(part);
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// What a failure to read on means.
    pub(super) fn unreadable(&self, error: &io::Error) -> AppError {
        let Self { name, number, .. } = self;
        let (code, what) = match error.kind() {
            _ if TrailingJunk::is_why(error) => ("trailing_junk", error.to_string()),
            io::ErrorKind::UnexpectedEof if self.packed => {
                ("truncated_input", "the gzip stream ends too early; the file is truncated".into())
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if self.packed => {
                ("bad_gzip", format!("the gzip stream is damaged ({error})"))
            }
            _ => ("unreadable_input", format!("cannot be read: {error}")),
        };
        AppError::failed(code, format!("{name}, in or after line {number}: {what}")).line(*number)
    }
}

/// Without byte order marks: files that were put together have one at the beginning of each.
fn unmarked(line: &str) -> &str {
    line.trim_start_matches('\u{feff}')
}

fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}
