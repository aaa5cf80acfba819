//! Lines of a file or of the standard input, unpacked if they are packed, each within a bound.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use super::gunzip::{Gunzip, TrailingJunk};
use crate::error::AppError;

/// Longest line that is read: data and metadata at their largest, and room for the rest.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The standard input.
    Stdin,
    /// A file, packed with gzip or not: the file itself says so, not its name.
    File(PathBuf),
}

impl Input {
    /// `-` is the standard input.
    pub fn new(path: PathBuf) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path) }
    }

    fn name(&self) -> String {
        match self {
            Self::Stdin => "the standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    pub(super) fn open(&self) -> Result<Lines, AppError> {
        let unreadable = |error: &io::Error| {
            let message = format!("{} cannot be read: {error}", self.name());
            AppError::failed("unreadable_input", message)
        };
        let raw: Box<dyn Read + Send> = match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => {
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
        Ok(Lines { reader, packed, name: self.name(), number: 0, line: Vec::new() })
    }
}

/// The lines, one at a time.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
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
        // Checked above; a second look costs less than to fight the borrow checker.
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

    fn unreadable(&self, error: &io::Error) -> AppError {
        let Self { name, number, .. } = self;
        let (code, what) = match error.kind() {
            _ if TrailingJunk::is_why(error) => ("trailing_junk", error.to_string()),
            io::ErrorKind::UnexpectedEof if self.packed => {
                ("truncated_input", "the gzip stream ends too early; the file was cut off".into())
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
