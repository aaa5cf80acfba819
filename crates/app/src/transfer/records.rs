//! Records of an input, whatever its format: each becomes one JSON object, as a line of NDJSON is.
//!
//! A JSON array is cut into its elements without reading them; a row of CSV is written as an object. So there is one
//! reader of objects, and its rules and messages are the same for all formats.

use std::io::{self, BufRead};

use rehome_api::ndjson::{FIELDS, REQUIRED, nearest};
use serde_json::value::RawValue;

use super::input::{Format, LINE_BYTES_MAX, Lines, MARK};
use crate::error::AppError;

/// The records, one at a time.
pub(super) enum Records {
    /// NDJSON.
    Lines(Lines),
    /// Elements of an array.
    Array(Array),
    /// Rows under a header.
    Rows(Box<Rows>),
}

/// A record.
pub(super) struct Record<'a> {
    /// Its number, of lines, elements or lines where rows begin.
    pub(super) number: u64,
    /// A JSON object, if it is right.
    pub(super) text: &'a str,
    /// The problem of the record, as it is in the input.
    pub(super) wrong: Option<String>,
}

impl Records {
    /// Begins to read; a header is read and checked.
    pub(super) fn new(lines: Lines, format: Format) -> Result<Self, AppError> {
        Ok(match format {
            Format::Ndjson => Self::Lines(lines),
            Format::Json => {
                Self::Array(Array { lines, state: Place::Before, number: 0, text: String::new() })
            }
            Format::Csv => Self::Rows(Box::new(Rows::new(lines)?)),
        })
    }

    /// What messages call the input.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Lines(lines) => lines.name(),
            Self::Array(array) => array.lines.name(),
            Self::Rows(rows) => &rows.name,
        }
    }

    /// What its records are called.
    pub(super) fn unit(&self) -> &'static str {
        match self {
            Self::Lines(_) | Self::Rows(_) => "line",
            Self::Array(_) => "element",
        }
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, AppError> {
        match self {
            Self::Lines(lines) => {
                Ok(lines.next()?.map(|(number, text)| Record { number, text, wrong: None }))
            }
            Self::Array(array) => {
                Ok(array.next()?.map(|number| Record { number, text: &array.text, wrong: None }))
            }
            Self::Rows(rows) => rows.next(),
        }
    }
}

/// Where in an array the reader is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    /// After `[` or a comma; `true`: an end is no mistake here.
    Element {
        may_end: bool,
    },
    After,
}

/// Elements of a JSON array.
pub(super) struct Array {
    lines: Lines,
    state: Place,
    number: u64,
    text: String,
}

impl Array {
    fn next(&mut self) -> Result<Option<u64>, AppError> {
        if self.state == Place::Before {
            self.skip_blank()?;
            if self.peek()? != Some(b'[') {
                return Err(self.wrong("it does not start with a ["));
            }
            self.lines.reader.consume(1);
            self.state = Place::Element { may_end: true };
        }
        let Place::Element { may_end } = self.state else { return Ok(None) };
        self.skip_blank()?;
        match self.peek()? {
            Some(b']') if may_end => {
                self.lines.reader.consume(1);
                self.end()?;
                return Ok(None);
            }
            None => return Err(self.wrong("it ends before its ]; the file is truncated")),
            _ => {}
        }
        self.number += 1;
        self.element()?;
        self.skip_blank()?;
        match self.peek()? {
            Some(b',') => self.state = Place::Element { may_end: false },
            Some(b']') => {
                self.lines.reader.consume(1);
                self.end()?;
                return Ok(Some(self.number));
            }
            _ => return Err(self.wrong("a comma or a ] is missing after it")),
        }
        self.lines.reader.consume(1);
        Ok(Some(self.number))
    }

    /// After the array there is nothing.
    fn end(&mut self) -> Result<(), AppError> {
        self.state = Place::After;
        self.skip_blank()?;
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.wrong("something follows the array")),
        }
    }

    /// One element, to the comma or bracket after it.
    fn element(&mut self) -> Result<(), AppError> {
        let mut bytes = Vec::new();
        let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
        'read: loop {
            let found = self.lines.reader.fill_buf();
            let found = match found {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.lines.unreadable(&error)),
            };
            if found.is_empty() {
                return Err(self.wrong("it ends in the middle; the file is truncated"));
            }
            let mut used = 0;
            for byte in found {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    _ if quoted => {}
                    b'{' | b'[' => depth += 1,
                    b',' | b']' | b'}' if depth == 0 => {
                        bytes.extend_from_slice(&found[..used]);
                        self.lines.reader.consume(used);
                        break 'read;
                    }
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                used += 1;
            }
            bytes.extend_from_slice(found);
            self.lines.reader.consume(used);
            if bytes.len() > LINE_BYTES_MAX {
                return Err(self.wrong(&format!("longer than {LINE_BYTES_MAX} bytes")));
            }
        }
        self.text = String::from_utf8(bytes).map_err(|_| self.wrong("not UTF-8"))?;
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<u8>, AppError> {
        match self.lines.reader.fill_buf() {
            Ok(found) => Ok(found.first().copied()),
            Err(error) => Err(self.lines.unreadable(&error)),
        }
    }

    fn skip_blank(&mut self) -> Result<(), AppError> {
        loop {
            let blank = match self.lines.reader.fill_buf() {
                Ok(found) => {
                    let mark =
                        usize::from(self.state == Place::Before && found.starts_with(MARK)) * 3;
                    let space = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\r' | b'\n');
                    mark + found[mark..].iter().take_while(space).count()
                }
                Err(error) => return Err(self.lines.unreadable(&error)),
            };
            if blank == 0 {
                return Ok(());
            }
            self.lines.reader.consume(blank);
        }
    }

    fn wrong(&self, why: &str) -> AppError {
        let message = format!("{}, element {}: {why}", self.lines.name(), self.number);
        AppError::failed("bad_line", message).line(self.number)
    }
}

/// Rows of CSV (RFC 4180).
pub(super) struct Rows {
    name: String,
    reader: csv::Reader<Bytes>,
    /// The field of each column.
    fields: Vec<&'static str>,
    record: csv::StringRecord,
    text: String,
}

/// The unpacked bytes of an input.
struct Bytes(Lines);

impl io::Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.reader.read(buffer)
    }
}

impl Rows {
    fn new(lines: Lines) -> Result<Self, AppError> {
        let name = lines.name().to_owned();
        let mut reader = csv::ReaderBuilder::new().from_reader(Bytes(lines));
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(unreadable(&name, &reader, &error)),
        };
        let fields = fields(&header).map_err(|why| {
            AppError::failed("bad_header", format!("{name}, line 1: {why}")).line(1)
        })?;
        Ok(Self { name, reader, fields, record: csv::StringRecord::new(), text: String::new() })
    }

    fn next(&mut self) -> Result<Option<Record<'_>>, AppError> {
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(unreadable(&self.name, &self.reader, &error)),
        }
        let number = self.record.position().map_or(0, csv::Position::line);
        if self.record.as_slice().len() > LINE_BYTES_MAX {
            let message =
                format!("{}, line {number}: longer than {LINE_BYTES_MAX} bytes", self.name);
            return Err(AppError::failed("bad_line", message).line(number));
        }
        let wrong = object(&self.fields, &self.record, &mut self.text);
        Ok(Some(Record { number, text: &self.text, wrong }))
    }
}

/// The fields that the columns of a header hold.
fn fields(header: &csv::StringRecord) -> Result<Vec<&'static str>, String> {
    let (mut fields, mut wrong) = (Vec::new(), Vec::new());
    for name in header {
        let name = name.trim_start_matches('\u{feff}').trim();
        match FIELDS.iter().find(|field| **field == name) {
            Some(field) if fields.contains(field) => {
                wrong.push(format!("column {field} appears twice"));
            }
            Some(field) => fields.push(*field),
            None => {
                let short: String = name.chars().take(64).collect();
                let meant = nearest(&short, FIELDS.iter().copied());
                let meant = meant.map_or_else(
                    || format!("the known ones are {}", FIELDS.join(", ")),
                    |field| format!("perhaps {field}"),
                );
                wrong.push(format!("there is no field {short:?}; {meant}"));
            }
        }
    }
    let missing = REQUIRED.iter().filter(|field| !fields.contains(*field));
    wrong.extend(missing.map(|field| format!("column {field} is missing")));
    if wrong.is_empty() {
        Ok(fields)
    } else {
        Err(format!("the header is not that of events: {}", wrong.join("; ")))
    }
}

/// Writes a row as a JSON object. An empty cell is a missing field. Returns the problem, if any.
fn object(
    fields: &[&'static str],
    record: &csv::StringRecord,
    text: &mut String,
) -> Option<String> {
    let mut wrong = None;
    text.clear();
    text.push('{');
    for (field, cell) in fields.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
        let is_json = matches!(*field, "data" | "metadata" | "version" | "seq");
        if is_json && serde_json::from_str::<&RawValue>(cell).is_err() {
            wrong =
                Some(format!("{field} is not JSON; write a text in quotes, as \"\"\"text\"\"\""));
            continue;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text.push('"');
        text.push_str(field);
        text.push_str("\":");
        if is_json {
            text.push_str(cell);
        } else {
            text.push_str(&serde_json::Value::from(cell).to_string());
        }
    }
    text.push('}');
    wrong
}

fn unreadable(name: &str, reader: &csv::Reader<Bytes>, error: &csv::Error) -> AppError {
    if let csv::ErrorKind::Io(error) = error.kind() {
        return reader.get_ref().0.unreadable(error);
    }
    let line = error.position().map_or(1, csv::Position::line);
    let why = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} cells, the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    AppError::failed("bad_line", format!("{name}, line {line}: {why}")).line(line)
}
