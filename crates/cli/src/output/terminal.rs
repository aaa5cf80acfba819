//! The only place where the command writes to a terminal, or to a file or pipe instead.
//!
//! The output contains texts from outside: of tenants, of servers, file names. They are escaped here,
//! so that no command can forget it. A test checks that nothing else in this crate writes.

use std::borrow::Cow;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rehome_app::AppError;
use rehome_domain::text;

use super::wrap::{beside_and_below, wrap};

/// Words for people, to the standard output: no line is longer than those of a terminal.
pub(crate) fn words(words: &str) -> Result<(), AppError> {
    out(&fitted(&text::lines(words), width()))
}

/// The text of a file for other programs, to the standard output.
pub(super) fn file(text: &str) -> Result<(), AppError> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    out(&format!("{}{end}", text::lines(text)))
}

fn fitted(text: &str, width: Option<usize>) -> String {
    width.map_or_else(|| text.to_owned(), |width| wrap(text, width))
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
    err(&for_stderr(words));
}

fn for_stderr(words: &str) -> String {
    fitted(&text::lines(words), width_of_stderr())
}

/// How an error begins.
const ERROR: &str = "error: ";

/// An error, to stderr: its first word is red where colours are shown (`NO_COLOR`).
pub(super) fn error(words: &str) {
    let words = for_stderr(&format!("{ERROR}{words}"));
    let words = words.strip_prefix(ERROR).unwrap_or(&words);
    let mark = if console::colors_enabled_stderr() && is_watched() {
        console::style(ERROR).for_stderr().red().bold().to_string()
    } else {
        ERROR.to_owned()
    };
    let _ = writeln!(io::stderr().lock(), "{mark}{words}");
}

/// Asks on the terminal; anything but yes is no.
pub(super) fn ask(question: &str) -> bool {
    let _ = write!(io::stderr().lock(), "{} [y/N] ", for_stderr(question));
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
    columns(&console::Term::stdout())
}

/// The columns of the terminal that stderr is.
fn width_of_stderr() -> Option<usize> {
    if is_watched() { columns(&console::Term::stderr()) } else { None }
}

/// A terminal that has no size, as that of some tools, has lines of any length.
fn columns(of: &console::Term) -> Option<usize> {
    of.size_checked().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
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
        // Errors of a closed output are ignored. What clap does not break is the line of the usage.
        let _ = match width() {
            None => said.print(),
            Some(width) => {
                let text = said.render();
                let colored = console::colors_enabled();
                let text = if colored { text.ansi().to_string() } else { text.to_string() };
                io::stdout().lock().write_all(wrap(&text, width).as_bytes())
            }
        };
    }
}

/// Something that moves, on stderr.
pub(crate) struct Bar {
    bar: ProgressBar,
    /// The column of its message.
    beside: usize,
}

/// Columns before the numbers of a bar, without the bar itself: what is going on, how far, and what is between.
const BESIDE_BAR: usize = 23;
/// Columns before the numbers where the end is not known.
const BESIDE_COUNT: usize = 15;
/// Columns that the numbers should have beside a bar.
const NUMBERS: usize = 33;

impl Bar {
    /// A bar, or where the end is not known what would be beside it.
    pub(crate) fn new(has_end: bool) -> Self {
        Self::on(ProgressBar::new(0), has_end)
    }

    fn on(bar: ProgressBar, has_end: bool) -> Self {
        let width = width_of_stderr();
        let long =
            width.map_or(24, |width| width.saturating_sub(BESIDE_BAR + NUMBERS).clamp(8, 24));
        let template = if has_end {
            format!("{{prefix:14}} {{bar:{long}}} {{percent:>3}} %  {{msg}}")
        } else {
            "{prefix:14} {msg}".to_owned()
        };
        let style = ProgressStyle::with_template(&template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
        let beside = if has_end { BESIDE_BAR + long } else { BESIDE_COUNT };
        Self { bar: bar.with_style(style), beside }
    }

    pub(crate) fn at(&self, position: u64, length: u64) {
        self.bar.set_length(length);
        self.bar.set_position(position);
    }

    pub(crate) fn prefix(&self, prefix: &str) {
        self.bar.set_prefix(harmless(prefix));
    }

    /// The numbers beside it; those that have no room there are below it.
    pub(crate) fn message(&self, message: &str) {
        let message = harmless(message);
        let message = match width_of_stderr() {
            Some(width) => beside_and_below(&message, self.beside, width),
            None => message.into_owned(),
        };
        self.bar.set_message(message);
    }

    pub(crate) fn tick(&self) {
        self.bar.tick();
    }

    /// Removes it.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Bars below each other, with lines above them.
#[derive(Default)]
pub(crate) struct Bars(MultiProgress);

impl Bars {
    pub(crate) fn add(&self, has_end: bool) -> Bar {
        Bar::on(self.0.add(ProgressBar::no_length()), has_end)
    }

    /// A line that stays.
    pub(crate) fn line(&self, words: &str) {
        // Nothing that can fail here matters to the work.
        drop(self.0.println(for_stderr(words)));
    }
}

fn harmless(words: &str) -> Cow<'static, str> {
    Cow::Owned(text::one_line(words).into_owned())
}
