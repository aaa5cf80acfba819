//! Rounds: the lines that are imported together, checked, and sorted by tenant.
//!
//! A bad line ends the history of its tenant: its later lines are dropped. A line whose
//! tenant cannot be read could belong to any tenant: it ends the input, and its round
//! is dropped.

use std::collections::{HashMap, HashSet};
use std::thread;

use rehome_api::ndjson;
use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::layout::event_id_of;
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::json::{self, JsonLimits};
use tokio::sync::mpsc;

use super::input::Input;
use super::records::{Record, Records};
use crate::error::AppError;

/// A round is over after so many lines,
const ROUND_LINES: usize = 2_000;
/// or after so many bytes.
const ROUND_BYTES: usize = 4 << 20;
/// Rounds read ahead of the one that is being imported.
const READ_AHEAD: usize = 1;

/// Lines to be imported in one go.
#[derive(Default)]
pub(super) struct Round {
    /// The last line of it; nothing up to there is still to come.
    pub(super) last_line: u64,
    /// By tenant, in the order in which the round first names them.
    pub(super) tenants: Vec<(TenantId, Vec<Line>)>,
    /// The first bad line of a tenant.
    pub(super) bad: Vec<Bad>,
    /// What the input waits for before it can be read on.
    pub(super) waits_for: Option<String>,
}

/// Sorts lines into a round, and leaves out what comes after a tenant's bad line.
#[derive(Default)]
pub(super) struct Sorter {
    /// The tenants that had a bad line.
    ended: HashSet<TenantId>,
    places: HashMap<TenantId, usize>,
    round: Round,
}

impl Sorter {
    /// A line of a tenant.
    pub(super) fn take(&mut self, tenant: TenantId, line: Result<Line, (u64, String)>) {
        match line {
            _ if self.ended.contains(&tenant) => {}
            Ok(line) => {
                let tenants = &mut self.round.tenants;
                let place = *self.places.entry(tenant).or_insert_with(|| {
                    tenants.push((tenant, Vec::new()));
                    tenants.len() - 1
                });
                tenants[place].1.push(line);
            }
            Err((number, why)) => {
                self.ended.insert(tenant);
                self.round.bad.push(Bad { tenant, number, why });
            }
        }
    }

    /// The round so far, which ends with this line.
    pub(super) fn round(&mut self, last_line: u64) -> Round {
        self.places.clear();
        Round { last_line, ..std::mem::take(&mut self.round) }
    }
}

/// A line that is not imported.
pub(super) struct Bad {
    pub(super) tenant: TenantId,
    pub(super) number: u64,
    pub(super) why: String,
}

/// One line, ready to be appended.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) append: Append,
    /// The version that the line gives.
    pub(super) version: Option<u64>,
}

/// The rounds of an input, read and checked beside the importer.
pub struct Rounds {
    name: String,
    /// What its lines are called.
    unit: &'static str,
    read_ahead: mpsc::Receiver<Result<Round, AppError>>,
    first: Option<Result<Round, AppError>>,
}

impl Rounds {
    /// Opens the input and checks the first round. An error here means that nothing was touched.
    pub async fn open(input: &Input) -> Result<Self, AppError> {
        let lines = input.open()?;
        let (name, unit) = (lines.name().to_owned(), lines.unit());
        let (sender, read_ahead) = mpsc::channel(READ_AHEAD);
        // Not one of the runtime's threads: the standard input may never end.
        thread::Builder::new()
            .name("import-reader".to_owned())
            .spawn(move || read(lines, &sender))
            .map_err(|error| AppError::failed("unreadable_input", error.to_string()))?;
        Self { name, unit, read_ahead, first: None }.begin().await
    }

    /// Rounds that a task sends; an error in the first is returned.
    pub(super) async fn of(
        name: String,
        unit: &'static str,
        read_ahead: mpsc::Receiver<Result<Round, AppError>>,
    ) -> Result<Self, AppError> {
        Self { name, unit, read_ahead, first: None }.begin().await
    }

    async fn begin(mut self) -> Result<Self, AppError> {
        self.first = self.read_ahead.recv().await;
        match self.first.take() {
            Some(Err(error)) => Err(error),
            first => Ok(Self { first, ..self }),
        }
    }

    /// What messages call the input.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What its lines are called.
    pub(super) fn unit(&self) -> &'static str {
        self.unit
    }

    /// Whether there was no line at all. Before the first [`Rounds::next`].
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) async fn next(&mut self) -> Option<Result<Round, AppError>> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.read_ahead.recv().await,
        }
    }
}

fn read(mut lines: Records, sender: &mpsc::Sender<Result<Round, AppError>>) {
    let mut sorter = Sorter::default();
    loop {
        match read_round(&mut lines, &mut sorter) {
            Ok(None) => return,
            Ok(Some(round)) => {
                if sender.blocking_send(Ok(round)).is_err() {
                    return;
                }
            }
            Err(error) => {
                // The receiver may be gone.
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
    }
}

/// The next round.
fn read_round(lines: &mut Records, sorter: &mut Sorter) -> Result<Option<Round>, AppError> {
    let (mut count, mut bytes, mut last_line) = (0, 0, 0);
    let name = lines.name().to_owned();
    while count < ROUND_LINES && bytes < ROUND_BYTES {
        let unit = lines.unit();
        let Some(Record { number, text, wrong }) = lines.next()? else { break };
        count += 1;
        bytes += text.len();
        last_line = number;
        let read =
            wrong.map_or_else(|| line(number, text).map_err(|problem| problem.to_string()), Err);
        match read {
            Ok((tenant, line)) => sorter.take(tenant, Ok(line)),
            Err(why) => {
                let Some(tenant) = tenant_of(text) else {
                    let message = format!("{name}, {unit} {number}: {why}");
                    return Err(AppError::failed("bad_line", message).line(number));
                };
                sorter.take(tenant, Err((number, why)));
            }
        }
    }
    Ok((count > 0).then(|| sorter.round(last_line)))
}

/// The tenant of a line that is bad in another way.
fn tenant_of(text: &str) -> Option<TenantId> {
    #[derive(serde::Deserialize)]
    struct Named {
        tenant_id: uuid::Uuid,
    }
    serde_json::from_str::<Named>(text).ok().map(|named| TenantId::new(named.tenant_id))
}

/// Why a line is not imported.
#[derive(Debug, thiserror::Error)]
enum BadLine {
    #[error(transparent)]
    Line(#[from] ndjson::InvalidEvent),
    #[error(transparent)]
    Stream(#[from] rehome_domain::stream::InvalidStreamName),
    #[error(transparent)]
    EventType(#[from] rehome_domain::event::InvalidEventType),
    #[error("{field}: {reason}")]
    Json { field: &'static str, reason: json::JsonError },
}

fn line(number: u64, text: &str) -> Result<(TenantId, Line), BadLine> {
    let line = ndjson::read(text)?;
    let limits = JsonLimits::default();
    let json = |field, raw: &serde_json::value::RawValue| {
        json::parse(raw.get(), limits).map_err(|reason| BadLine::Json { field, reason })
    };
    let (tenant, stream) =
        (TenantId::new(line.tenant_id), StreamName::new(line.stream_type, line.stream_id)?);
    let id = match (line.event_id, line.version) {
        (Some(id), _) => EventId::new(id),
        (None, Some(version)) => event_id_of(tenant, &stream, version),
        (None, None) => id_of_line(tenant, number, text),
    };
    let event = NewEvent {
        id,
        event_type: EventType::new(line.event_type)?,
        occurred_at: line.occurred_at.map(|time| Timestamp::from_micros(time.0)),
        recorded_at: line.recorded_at.map(|time| Timestamp::from_micros(time.0)),
        data: json("data", line.data)?,
        metadata: line
            .metadata
            .map_or_else(|| Ok(Json::trusted("{}")), |raw| json("metadata", raw))?,
    };
    let append = Append {
        stream,
        expected: match line.version {
            Some(version) => ExpectedVersion::Exact(version - 1),
            None => ExpectedVersion::Any,
        },
        events: vec![event],
    };
    Ok((tenant, Line { number, append, version: line.version }))
}

/// The id of a line that gives neither an id nor a version: the same when the same file is imported again.
fn id_of_line(tenant: TenantId, number: u64, text: &str) -> EventId {
    let name = format!("line {number}\0{text}");
    EventId::new(uuid::Uuid::new_v5(&tenant.uuid(), name.as_bytes()))
}
