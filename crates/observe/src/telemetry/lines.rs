//! Log lines, to stderr: one JSON object per line for programs, or a line for people.
//!
//! ```json
//! {"timestamp":"2026-01-01T00:00:00.000Z","level":"INFO","logger":"eventsource.migration",
//!  "message":"Migration started","service":"eventsource","migration_id":"...", ...}
//! ```
//!
//! The fields of an event follow the five that every line has. One event is one line in both
//! forms: control characters are escaped.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};

use rehome_api::time::Time;
use rehome_domain::text;
use rehome_ports::clock::{Clock as _, SystemClock};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use rehome_app::config::LogFormat;

/// How much is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineLevel {
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// What may go wrong.
    Warn,
    /// Completed actions.
    Info,
    /// How it was done.
    Debug,
    /// Everything.
    Trace,
}

impl LineLevel {
    const fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// Starts to write lines of this level and above; for the underlying libraries, which may log
/// data, only warnings and errors. `service`: the service name.
pub fn begin_lines(level: LineLevel, format: LogFormat, service: &str) {
    let level = level.filter();
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("rehome", level)
        .with_target("eventsource", level);
    let colours = std::io::stderr().is_terminal();
    let layer = Lines { format, colours, service: service.into() }.with_filter(targets);
    // An earlier initialisation wins.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

struct Lines {
    format: LogFormat,
    colours: bool,
    service: Box<str>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = timestamp(SystemClock.now().micros());
        let metadata = event.metadata();
        let mut line = match self.format {
            LogFormat::Json => {
                let line =
                    json(&now, *metadata.level(), (metadata.target(), &self.service), fields);
                text::json(&line).into_owned()
            }
            LogFormat::Pretty => {
                pretty(&now, *metadata.level(), metadata.target(), &fields, self.colours)
            }
        };
        line.push('\n');
        // There is no place left to complain to.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// RFC 3339, UTC, with milliseconds.
fn timestamp(micros: i64) -> String {
    let text = Time(micros - micros.rem_euclid(1_000)).to_string();
    // It is written with microseconds, which are zeros now.
    text.strip_suffix("000Z").map_or(text.clone(), |millis| format!("{millis}Z"))
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

fn json(timestamp: &str, level: Level, (logger, service): (&str, &str), fields: Fields) -> String {
    let first: [(&str, Value); 5] = [
        ("timestamp", timestamp.into()),
        ("level", level_name(level).into()),
        ("logger", logger.into()),
        ("message", fields.message.into()),
        ("service", service.into()),
    ];
    let is_taken = |name: &str| first.iter().any(|(taken, _)| *taken == name);
    let others = fields.others.iter().filter(|(name, _)| !is_taken(name));
    let mut line = String::from("{");
    for (name, value) in first.iter().chain(others) {
        let comma = if line.len() == 1 { "" } else { "," };
        // A value's display is JSON, escapes and all.
        let _ = write!(line, "{comma}{}:{value}", Value::from(*name));
    }
    line.push('}');
    line
}

fn pretty(timestamp: &str, level: Level, logger: &str, fields: &Fields, colours: bool) -> String {
    let name = level_name(level);
    let mut line = match (colours, level) {
        (false, _) => format!("{timestamp} {name:>7} "),
        (true, Level::ERROR) => format!("{timestamp} \u{1b}[31m{name:>7}\u{1b}[0m "),
        (true, Level::WARN) => format!("{timestamp} \u{1b}[33m{name:>7}\u{1b}[0m "),
        (true, Level::INFO) => format!("{timestamp} \u{1b}[32m{name:>7}\u{1b}[0m "),
        (true, _) => format!("{timestamp} \u{1b}[2m{name:>7}\u{1b}[0m "),
    };
    line += logger;
    line += ": ";
    line += &text::one_line(&fields.message);
    for (name, value) in &fields.others {
        line.push(' ');
        line += name;
        line.push('=');
        match value {
            Value::String(quoted) if quoted.contains([' ', '=', '"']) => {
                line.push('"');
                line += &text::one_line(&quoted.replace('\\', "\\\\").replace('"', "\\\""));
                line.push('"');
            }
            Value::String(word) => line += &text::one_line(word),
            value => line += &text::one_line(&value.to_string()),
        }
    }
    line
}

/// What an event carries.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.others.push((field.name(), value.into()));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A value that cannot be written is left as far as it came.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        let text = "line one\nline \"two\" \u{1b}[31mred\u{202e}".to_owned();
        let others =
            vec![("error", text.into()), ("events_count", 7.into()), ("level", "x".into())];
        Fields { message: "Migration failed".to_owned(), others }
    }

    #[test]
    fn a_line_for_programs_is_one_json_object_that_fields_cannot_forge() {
        let line = json("now", Level::WARN, ("eventsource.migration", "eventsource"), fields());
        assert!(!line.contains('\n') && !line.contains('\u{1b}'), "{line}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["level"], "WARNING");
        assert_eq!(read["error"], "line one\nline \"two\" \u{1b}[31mred\u{202e}");
        assert_eq!((&read["events_count"], &read["service"]), (&7.into(), &"eventsource".into()));
    }

    #[test]
    fn a_line_for_people_obeys_no_control_character() {
        let line = pretty("now", Level::INFO, "eventsource.migration", &fields(), false);
        assert_eq!(
            line,
            "now    INFO eventsource.migration: Migration failed error=\"line one\\nline \
             \\\"two\\\" \\u{1b}[31mred\\u{202e}\" events_count=7 level=x"
        );
    }

    #[test]
    fn times_are_in_milliseconds() {
        assert_eq!(timestamp(1_767_225_600_123_999), "2026-01-01T00:00:00.123Z");
        assert_eq!(timestamp(1_767_225_600_000_000), "2026-01-01T00:00:00.000Z");
    }
}
