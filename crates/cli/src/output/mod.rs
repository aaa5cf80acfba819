//! What is shown: documents and tables on stdout, remarks and progress on stderr.

mod migration;
mod progress;
pub(crate) mod terminal;
mod text;

use rehome_api::ErrorDocument;
use rehome_app::AppError;
use serde::Serialize;

pub(crate) use migration::{details, list};
pub(crate) use progress::{Counter, View};
pub(crate) use text::{cell, count, table};

/// How to show things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    json: bool,
    quiet: bool,
}

impl Out {
    pub(crate) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether documents are wanted.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Whether nothing but errors is to be said.
    pub(crate) const fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Shows a document: as JSON, or as people read it.
    pub(crate) fn show<T: Serialize>(
        self,
        document: &T,
        words: impl FnOnce(&T) -> String,
    ) -> Result<(), AppError> {
        if self.json {
            return line(document);
        }
        let mut text = words(document);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        terminal::words(&text)
    }

    /// A remark for people.
    pub(crate) fn remark(self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            terminal::remark(text.as_ref());
        }
    }

    /// How progress is shown.
    pub(crate) fn progress(self) -> Style {
        match (self.quiet, terminal::is_watched(), self.json) {
            (true, ..) => Style::None,
            (_, true, _) => Style::Bars,
            // Whoever reads JSON from stderr expects errors there and nothing else.
            (_, false, true) => Style::None,
            (_, false, false) => Style::Lines,
        }
    }

    /// Says what went wrong; answers the exit code.
    pub(crate) fn failure(self, error: &AppError) -> u8 {
        if error.code() == "broken_pipe" {
            return 0;
        }
        let body = error.body();
        let code = body.exit_code;
        if self.json {
            let line = serde_json::to_string(&ErrorDocument { error: body });
            terminal::error_document(&line.unwrap_or_default());
        } else {
            terminal::remark(&format!("error: {error}"));
        }
        code
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Not at all.
    None,
    /// Bars, on a terminal.
    Bars,
    /// A line now and then.
    Lines,
}

/// Writes a document on a line of its own.
pub(crate) fn line<T: Serialize>(document: &T) -> Result<(), AppError> {
    let mut line = serde_json::to_string(document)
        .map_err(|error| AppError::failed("unwritable_output", error.to_string()))?;
    line.push('\n');
    terminal::document(&line)
}
