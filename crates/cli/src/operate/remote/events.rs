//! Server-sent events, as the HTML standard has them: read piece by piece, wherever they were cut.

use std::time::Duration;

use rehome_api::{Migration, Problem};
use rehome_app::AppError;
use rehome_app::http::Begun;
use rehome_domain::ids::MigrationId;

use super::Remote;
use super::http::Ask;
use super::retry::Patience;

/// A server sends something at least every 15 seconds; after a longer silence it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Longest event, in bytes.
const EVENT_MAX: usize = 1 << 20;

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    /// Its name; empty: a message.
    name: String,
    data: String,
}

/// Makes events of pieces.
#[derive(Default)]
struct Reader {
    rest: Vec<u8>,
    event: Event,
}

impl Reader {
    fn take(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
    }

    /// The next event that is there as a whole.
    fn next(&mut self) -> Option<Event> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.name),
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data += value;
                }
                // Comments keep the connection; nothing here has an id.
                _ => {}
            }
        }
        None
    }

    fn is_too_long(&self) -> bool {
        self.rest.len() + self.event.data.len() > EVENT_MAX
    }
}

impl Remote {
    /// Watches a migration, across lost connections and restarts of servers, until the server reports its
    /// end or `seen` returns false; returns its last state.
    pub(super) async fn follow(
        &self,
        id: MigrationId,
        until: Option<&str>,
        mut seen: impl FnMut(&Migration) -> bool + Send,
    ) -> Result<Migration, AppError> {
        let until = until.map_or_else(String::new, |until| format!("?until={until}"));
        let ask = Ask::get(format!("/v1/migrations/{id}/watch{until}")).followed();
        let mut last: Option<Migration> = None;
        let mut patience = Patience::new();
        loop {
            let mut answer = self.begin(&ask, &mut patience).await?;
            let mut reader = Reader::default();
            while let Some(event) = next(&mut answer, &mut reader).await {
                patience = Patience::new();
                if event.name == "problem" {
                    let problem: Problem = self.parse(&event.data)?;
                    return Err(AppError::told(&problem));
                }
                let now: Migration = self.parse(&event.data)?;
                let over = event.name == "end";
                // After a lost connection the same state is sent again.
                let go_on =
                    last.as_ref().is_some_and(|last| !now.is_changed_from(last)) || seen(&now);
                if over || !go_on {
                    return Ok(now);
                }
                last = Some(now);
            }
            self.wait(&mut patience, "the connection was lost", Duration::ZERO, false).await?;
        }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, data: &str) -> Result<T, AppError> {
        serde_json::from_str(data).map_err(|error| {
            let message =
                format!("the events of the server at {} are not understood: {error}", self.url);
            AppError::failed("not_understood", message)
        })
    }
}

/// The next event; `None`: the connection is lost, or assumed lost.
async fn next(answer: &mut Begun, reader: &mut Reader) -> Option<Event> {
    loop {
        if let Some(event) = reader.next() {
            return Some(event);
        }
        if reader.is_too_long() {
            return None;
        }
        let piece = tokio::time::timeout(SILENCE_MAX, answer.piece()).await;
        reader.take(&piece.ok()?.ok()??);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_wherever_they_are_cut() {
        let text = "retry: 1000\n\n:\n\ndata: {\"a\":1}\n\nevent: end\r\ndata: x\r\ndata:y\r\n\r\nevent: cut";
        let expected = [
            Event { name: String::new(), data: "{\"a\":1}".to_owned() },
            Event { name: "end".to_owned(), data: "x\ny".to_owned() },
        ];
        for size in 1..text.len() {
            let mut reader = Reader::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                reader.take(piece);
                found.extend(std::iter::from_fn(|| reader.next()));
            }
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }
}
