//! The one place where the command writes to a terminal, or to whatever stands in its place.
//!
//! What is shown came from elsewhere: from tenants, from servers, from whoever named a file. Here it is made
//! harmless, so that no command can forget to. A test sees to it that nothing else in this crate writes.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rehome_app::AppError;
use rehome_domain::text;

/// Words for people, to the standard output.
pub(crate) fn words(words: &str) -> Result<(), AppError> {
    out(&text::lines(words))
}

/// A document with its line end, to the standard output.
pub(super) fn document(json: &str) -> Result<(), AppError> {
    out(&text::json(json))
}

fn out(text: &str) -> Result<(), AppError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::BrokenPipe => "broken_pipe",
            _ => "unwritable_output",
        };
        AppError::failed(code, format!("the standard output cannot be written: {error}"))
    })
}

/// Words for people, to stderr. Whoever has closed it does not want to know.
pub(crate) fn remark(words: &str) {
    err(&text::lines(words));
}

/// A document, to stderr.
pub(super) fn error_document(json: &str) {
    err(&text::json(json));
}

fn err(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether somebody watches stderr.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether somebody sits there: reads the standard output and can type.
pub(crate) fn is_attended() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// Help, the version, and what is wrong with the arguments.
pub(crate) fn parsing(said: &clap::Error) {
    if said.use_stderr() {
        // Repeats the arguments; without the colours, which would be escaped with the rest.
        let words = said.render().to_string();
        remark(words.trim_end());
    } else {
        // Our own words. Whoever has closed the output does not want to know.
        let _ = said.print();
    }
}

/// Something that moves, on stderr.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(template: &str) -> Self {
        Self(ProgressBar::new(0).with_style(style(template)))
    }

    pub(crate) fn at(&self, position: u64, length: u64) {
        self.0.set_length(length);
        self.0.set_position(position);
    }

    pub(crate) fn prefix(&self, prefix: &str) {
        self.0.set_prefix(harmless(prefix));
    }

    pub(crate) fn message(&self, message: &str) {
        self.0.set_message(harmless(message));
    }

    pub(crate) fn tick(&self) {
        self.0.tick();
    }

    /// Takes it away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Bars below each other, with lines above them.
#[derive(Default)]
pub(crate) struct Bars(MultiProgress);

impl Bars {
    pub(crate) fn add(&self, template: &str) -> Bar {
        Bar(self.0.add(ProgressBar::no_length().with_style(style(template))))
    }

    /// A line that stays.
    pub(crate) fn line(&self, words: &str) {
        // Nothing that can fail here matters to the work.
        drop(self.0.println(text::lines(words)));
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn harmless(words: &str) -> Cow<'static, str> {
    Cow::Owned(text::one_line(words).into_owned())
}
