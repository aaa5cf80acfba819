//! Where an export goes: the standard output, or a file that appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rehome_domain::text;
use rehome_ports::private;

/// Where an export goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The standard output.
    Stdout,
    /// A file; packed with gzip if its name ends in `.gz`. It is written beside its place and
    /// renamed once it is whole.
    File(PathBuf),
}

impl Output {
    /// `-`, or nothing, is the standard output.
    pub fn new(path: Option<PathBuf>) -> Self {
        match path {
            Some(path) if path.as_os_str() != "-" => Self::File(path),
            _ => Self::Stdout,
        }
    }

    pub(super) fn open(&self) -> io::Result<Sink> {
        match self {
            Self::Stdout if io::stdout().is_terminal() => Ok(Sink::Terminal(io::stdout())),
            Self::Stdout => Ok(Sink::Stdout(BufWriter::with_capacity(1 << 16, io::stdout()))),
            Self::File(path) => {
                let packed = path.extension().is_some_and(|extension| extension == "gz");
                let (file, beside) = open_file(path)?;
                let file = BufWriter::with_capacity(1 << 16, file);
                Ok(if packed {
                    Sink::Packed(GzEncoder::new(file, Compression::default()), beside)
                } else {
                    Sink::File(file, beside)
                })
            }
        }
    }
}

/// The file to write to, and its final name. A file that is not regular (a device, a pipe) is
/// written to directly.
fn open_file(path: &Path) -> io::Result<(File, Option<Beside>)> {
    // A link stays one: what it points to is replaced.
    let to = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&to).is_ok_and(|found| !found.is_file()) {
        return Ok((File::options().write(true).open(to)?, None));
    }
    let path = beside(&to)?;
    let file = private::options().write(true).create_new(true).open(&path)?;
    Ok((file, Some(Beside { path, to, kept: false })))
}

/// An unused name in the same folder.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "names no file"));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.part", uuid::Uuid::new_v4().simple()));
    Ok(path.with_file_name(hidden))
}

pub(super) enum Sink {
    Stdout(BufWriter<io::Stdout>),
    /// A terminal: the same values, with control characters as JSON escapes.
    Terminal(io::Stdout),
    File(BufWriter<File>, Option<Beside>),
    Packed(GzEncoder<BufWriter<File>>, Option<Beside>),
}

impl Sink {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(bytes),
            Self::Terminal(out) => {
                out.write_all(text::json(&String::from_utf8_lossy(bytes)).as_bytes())
            }
            Self::File(out, _) => out.write_all(bytes),
            Self::Packed(out, _) => out.write_all(bytes),
        }
    }

    /// All was written: puts the file in its place, on the disk.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Stdout(mut out) => out.flush(),
            Self::Terminal(mut out) => out.flush(),
            Self::File(out, beside) => keep(out, beside),
            Self::Packed(out, beside) => keep(out.finish()?, beside),
        }
    }
}

/// The file under its temporary name; removed unless it is renamed.
pub(super) struct Beside {
    path: PathBuf,
    to: PathBuf,
    kept: bool,
}

fn keep(out: BufWriter<File>, beside: Option<Beside>) -> io::Result<()> {
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    let Some(mut beside) = beside else { return Ok(()) };
    file.sync_all()?;
    drop(file);
    fs::rename(&beside.path, &beside.to)?;
    beside.kept = true;
    Ok(())
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed is seen by its name.
            let _ = fs::remove_file(&self.path);
        }
    }
}
