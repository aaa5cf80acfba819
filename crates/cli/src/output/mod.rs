//! Output: documents and tables on stdout, remarks and progress on stderr.

mod migration;
mod progress;
pub(crate) mod terminal;
mod text;
mod wrap;

use std::path::Path;

use rehome_api::ErrorDocument;
use rehome_app::{AppError, Kind};
use serde::Serialize;

use crate::args::Yes;

pub(crate) use migration::{details, list};
pub(crate) use progress::{Counter, View};
pub(crate) use text::{cell, changes, count, duration, rate, return_until, table};

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

    /// Whether to print only errors.
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

    /// Shows a document that has a file for other programs: as JSON, or words about it and the file as it is.
    pub(crate) fn show_file<T: Serialize>(
        self,
        document: &T,
        about: &str,
        file: impl FnOnce(&T) -> &str,
    ) -> Result<(), AppError> {
        if self.json {
            return line(document);
        }
        terminal::words(about)?;
        terminal::file(file(document))
    }

    /// A remark for people.
    pub(crate) fn remark(self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            terminal::remark(text.as_ref());
        }
    }

    /// Asks before something that cannot be undone, on a terminal: `what` says what will happen. Without one, as in
    /// a script, and for a program that reads JSON, the command itself is the answer.
    pub(crate) fn confirm(self, yes: Yes, what: &str) -> Result<(), AppError> {
        if yes.yes
            || self.json
            || !terminal::can_ask()
            || terminal::ask(&format!("{what}\nContinue?"))
        {
            return Ok(());
        }
        let message = "not confirmed, nothing was changed; --yes continues without the question";
        Err(AppError::new(Kind::Usage, "not_confirmed", message))
    }

    /// Before a file is replaced: asks on a terminal, and says so elsewhere.
    pub(crate) fn may_replace(self, yes: Yes, file: &Path) -> Result<(), AppError> {
        if !file.exists() || file == Path::new("-") {
            return Ok(());
        }
        self.confirm(yes, &format!("This replaces the file {}.", file.display()))?;
        self.remark(format!("the file {} is replaced", file.display()));
        Ok(())
    }

    /// How progress is shown.
    pub(crate) fn progress(self) -> Style {
        match (self.quiet, terminal::is_watched(), self.json) {
            (true, ..) => Style::None,
            (_, true, _) => Style::Bars,
            // Programs that read JSON from stderr expect only errors there.
            (_, false, true) => Style::None,
            (_, false, false) => Style::Lines,
        }
    }

    /// Prints the error; returns the exit code.
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
            terminal::error(&error.to_string());
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
