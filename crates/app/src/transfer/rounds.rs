//! Rounds: as many lines as are imported in one go, checked, and sorted by tenant.
//!
//! A bad line ends the history of its tenant: what comes after it for that tenant is dropped. A line of
//! which not even the tenant can be read could be anybody's: it ends the input, and the round that it
//! is in is dropped.

use std::collections::{HashMap, HashSet};
use std::thread;

use rehome_api::ndjson;
use rehome_domain::append::Append;
use rehome_domain::event::{EventType, NewEvent, Timestamp};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::json::{self, JsonLimits};
use tokio::sync::mpsc;

use super::input::{Input, Lines};
use crate::error::AppError;

/// A round is over after so many lines,
const ROUND_LINES: usize = 2_000;
/// or after so many bytes.
const ROUND_BYTES: usize = 4 << 20;
/// Rounds read ahead of the one that is being imported.
const READ_AHEAD: usize = 1;

/// Lines to be imported in one go.
pub(super) struct Round {
    /// The last line of it.
    pub(super) last_line: u64,
    /// By tenant, in the order in which the round first names them.
    pub(super) tenants: Vec<(TenantId, Vec<Line>)>,
    /// The first bad line of a tenant.
    pub(super) bad: Vec<Bad>,
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

/// The rounds of an input, read and checked by a thread beside the importer.
pub struct Rounds {
    name: String,
    read_ahead: mpsc::Receiver<Result<Round, AppError>>,
    first: Option<Result<Round, AppError>>,
}

impl Rounds {
    /// Opens the input and checks the first round. An error here means that nothing was touched.
    pub async fn open(input: &Input) -> Result<Self, AppError> {
        let lines = input.open()?;
        let name = lines.name().to_owned();
        let (sender, read_ahead) = mpsc::channel(READ_AHEAD);
        // Not one of the runtime's threads: the standard input may never end.
        thread::Builder::new()
            .name("import-reader".to_owned())
            .spawn(move || read(lines, &sender))
            .map_err(|error| AppError::failed("unreadable_input", error.to_string()))?;
        let mut this = Self { name, read_ahead, first: None };
        this.first = this.read_ahead.recv().await;
        match this.first.take() {
            Some(Err(error)) => Err(error),
            first => Ok(Self { first, ..this }),
        }
    }

    /// What messages call the input.
    pub(super) fn name(&self) -> &str {
        &self.name
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

fn read(mut lines: Lines, sender: &mpsc::Sender<Result<Round, AppError>>) {
    let mut ended = HashSet::new();
    loop {
        match read_round(&mut lines, &mut ended) {
            Ok(None) => return,
            Ok(Some(round)) => {
                if sender.blocking_send(Ok(round)).is_err() {
                    return;
                }
            }
            Err(error) => {
                // Whoever has gone away does not ask any more.
                let _ = sender.blocking_send(Err(error));
                return;
            }
        }
    }
}

/// The next round. `ended`: the tenants that had a bad line.
fn read_round(lines: &mut Lines, ended: &mut HashSet<TenantId>) -> Result<Option<Round>, AppError> {
    let mut round = Round { last_line: 0, tenants: Vec::new(), bad: Vec::new() };
    let mut places: HashMap<TenantId, usize> = HashMap::new();
    let (mut count, mut bytes) = (0, 0);
    let name = lines.name().to_owned();
    while count < ROUND_LINES && bytes < ROUND_BYTES {
        let Some((number, text)) = lines.next()? else { break };
        count += 1;
        bytes += text.len();
        round.last_line = number;
        let (tenant, line) = match line(number, text) {
            Ok(read) => read,
            Err(problem) => {
                let why = problem.to_string();
                let Some(tenant) = tenant_of(text) else {
                    let message = format!("{name}, line {number}: {why}");
                    return Err(AppError::failed("bad_line", message).line(number));
                };
                if ended.insert(tenant) {
                    round.bad.push(Bad { tenant, number, why });
                }
                continue;
            }
        };
        if ended.contains(&tenant) {
            continue;
        }
        let place = *places.entry(tenant).or_insert_with(|| {
            round.tenants.push((tenant, Vec::new()));
            round.tenants.len() - 1
        });
        round.tenants[place].1.push(line);
    }
    Ok((count > 0).then_some(round))
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
    Line(#[from] ndjson::InvalidLine),
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
    let event = NewEvent {
        id: EventId::new(line.event_id),
        event_type: EventType::new(line.event_type)?,
        occurred_at: Some(Timestamp::from_micros(line.occurred_at.0)),
        recorded_at: line.recorded_at.map(|time| Timestamp::from_micros(time.0)),
        data: json("data", line.data)?,
        metadata: json("metadata", line.metadata)?,
    };
    let append = Append {
        stream: StreamName::new(line.stream_type, line.stream_id)?,
        expected: match line.version {
            Some(version) => ExpectedVersion::Exact(version - 1),
            None => ExpectedVersion::Any,
        },
        events: vec![event],
    };
    Ok((TenantId::new(line.tenant_id), Line { number, append, version: line.version }))
}
