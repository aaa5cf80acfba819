//! A file or the standard input, unpacked if it is packed, and its lines, each within a bound.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::gunzip::{Gunzip, TrailingJunk};
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
        let start = raw.fill_buf().map_err(|error| unreadable(&error))?;
        let packed = start.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead + Send> = if packed {
            Box::new(BufReader::with_capacity(1 << 16, Gunzip::new(raw)))
        } else {
            Box::new(raw)
        };
        let mut lines = Lines { reader, packed, name: self.name(), number: 0, line: Vec::new() };
        let format = match self.format.or_else(|| self.format_by_name()) {
            Some(format) => format,
            None if lines.first()? == Some(b'[') => Format::Json,
            None => Format::Ndjson,
        };
        Records::new(lines, format)
    }
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

    /// The first byte that is not a space, as far as it is in the first part that is read.
    fn first(&mut self) -> Result<Option<u8>, AppError> {
        let start = match self.reader.fill_buf() {
            Ok(start) => start.trim_ascii_start().strip_prefix(b"\xef\xbb\xbf").unwrap_or(start),
            Err(error) => return Err(self.unreadable(&error)),
        };
        Ok(start.trim_ascii_start().first().copied())
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
            if !is_blank(text) {
                break;
            }
        }
        // Checked above; checking again is simpler than satisfying the borrow checker.
        let text = std::str::from_utf8(&self.line).unwrap_or_default();
        // A byte order mark is allowed at the beginning, and means nothing.
        let text = if self.number == 1 { text.trim_start_matches('\u{feff}') } else { text };
        Ok(Some((self.number, text)))
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

fn is_blank(line: &str) -> bool {
    line.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}
