//! The official Python client, `prometheus_client`, as another reader of our series. It is in the Python
//! environment for the tests, which `./x setup` makes in `target/python`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::programs::with_input;

const PARSE: &str = include_str!("parse.py");

/// The Python of the tests' environment.
pub fn python() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/python/bin/python");
    if !python.is_file() {
        bail!("{} is missing; `./x setup` makes it", python.display());
    }
    Ok(python)
}

/// A family as the client reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The type.
    pub kind: String,
    /// The samples, each with its name and labels in one text, and its value.
    pub samples: BTreeMap<String, f64>,
}

/// The formats that the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, of which it is the reference parser.
    OpenMetrics,
    /// The text format 0.0.4.
    Text,
}

/// An exposition, parsed by the client; the error has its complaint.
pub fn parse(format: Format, exposition: &str) -> Result<BTreeMap<String, Family>> {
    let mut command = Command::new(python()?);
    command.args(["-c", PARSE]);
    command.arg(match format {
        Format::OpenMetrics => "openmetrics",
        Format::Text => "text",
    });
    let output = with_input(command, exposition)?;
    if !output.status.success() {
        bail!("prometheus_client: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let families = document.as_object().context("families by name")?;
    families
        .iter()
        .map(|(name, family)| {
            let samples = family["samples"].as_object().context("samples by name")?;
            let samples = samples.iter().map(|(key, value)| {
                let text = value.as_str().context("a value is a text")?;
                Ok((key.clone(), text.parse()?))
            });
            let kind = family["type"].as_str().unwrap_or("").to_owned();
            Ok((name.clone(), Family { kind, samples: samples.collect::<Result<_>>()? }))
        })
        .collect()
}
