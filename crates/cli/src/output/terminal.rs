//! The only place where the command writes to a terminal, or to a file or pipe instead.
//!
//! The output contains texts from outside: of tenants, of servers, file names. They are escaped here,
//! so that no command can forget it. A test checks that nothing else in this crate writes.

use std::borrow::Cow;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

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

/// A remark, to stderr. Errors of a closed stderr are ignored.
pub(crate) fn remark(words: &str) {
    err(&text::lines(words));
}

/// An error, to stderr: its first word is red where colours are shown (`NO_COLOR`).
pub(super) fn error(words: &str) {
    let mark = if console::colors_enabled_stderr() && is_watched() {
        console::style("error:").for_stderr().red().bold().to_string()
    } else {
        "error:".to_owned()
    };
    let _ = writeln!(io::stderr().lock(), "{mark} {}", text::lines(words));
}

/// Asks on the terminal; anything but yes is no.
pub(super) fn ask(question: &str) -> bool {
    let _ = write!(io::stderr().lock(), "{} [y/N] ", text::lines(question));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

/// Whether the person at the terminal can answer: the question goes to stderr, the answer comes from stdin.
pub(super) fn can_ask() -> bool {
    io::stderr().is_terminal() && io::stdin().is_terminal()
}

/// The columns of the terminal that the standard output is.
pub(super) fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

/// A document, to stderr.
pub(super) fn error_document(json: &str) {
    err(&text::json(json));
}

fn err(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether stderr is a terminal.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether the command is interactive: both standard input and output are terminals.
pub(crate) fn is_attended() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// Help, the version, and errors of the arguments.
pub(crate) fn parsing(said: &clap::Error) {
    if said.use_stderr() {
        // Repeats the arguments; without the colours, which would be escaped with the rest.
        let words = said.render().to_string();
        remark(words.trim_end());
    } else {
        // Errors of a closed output are ignored.
        let _ = said.print();
    }
}

/// Something that moves, on stderr.
pub(crate) struct Bar(ProgressBar);

/// What is going on, the bar, and its numbers as far as the terminal has room.
const BAR: &str = "{prefix:14} {bar:24} {percent:>3} %  {wide_msg}";
/// The same where the end is not known.
const COUNT: &str = "{prefix:14} {wide_msg}";

impl Bar {
    /// A bar, or where the end is not known what would be beside it.
    pub(crate) fn new(has_end: bool) -> Self {
        Self(ProgressBar::new(0).with_style(style(has_end)))
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

    /// Removes it.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Bars below each other, with lines above them.
#[derive(Default)]
pub(crate) struct Bars(MultiProgress);

impl Bars {
    pub(crate) fn add(&self, has_end: bool) -> Bar {
        Bar(self.0.add(ProgressBar::no_length().with_style(style(has_end))))
    }

    /// A line that stays.
    pub(crate) fn line(&self, words: &str) {
        // Nothing that can fail here matters to the work.
        drop(self.0.println(text::lines(words)));
    }
}

fn style(has_end: bool) -> ProgressStyle {
    let style = ProgressStyle::with_template(if has_end { BAR } else { COUNT });
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn harmless(words: &str) -> Cow<'static, str> {
    Cow::Owned(text::one_line(words).into_owned())
}
