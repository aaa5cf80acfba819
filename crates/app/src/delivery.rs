//! Deliveries to other systems: a request with a signed document, or a program. Publications of a switch and hooks
//! use it.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use rehome_domain::text;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::http::Endpoint;
use crate::key::Key;

/// The header with the signature of a document.
const SIGNATURE: HeaderName = HeaderName::from_static("rehome-signature");
/// So many characters of what others answer are repeated.
const ANSWER_MAX: usize = 200;
/// The exit code of a temporary refusal: `EX_TEMPFAIL` of sysexits.h.
const NOT_NOW: i32 = 75;

/// A receiver of deliveries.
pub(crate) enum Carrier {
    /// A request with a JSON document.
    Http {
        /// To whom.
        endpoint: Box<Endpoint>,
        /// By which the document is signed.
        key: Option<Key>,
        /// Longest time of a response.
        within: Duration,
    },
    /// A program, which reads the document from its standard input.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// Longest time of the program.
        within: Duration,
    },
}

/// The result of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was acknowledged.
    Done,
    /// By status 409 of a request. Of what has happened: a later event is known there already.
    Conflict(String),
    /// By exit code 75 of a program.
    NotNow(String),
}

impl Carrier {
    /// Its kind, as the configuration has it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Command { .. } => "command",
        }
    }

    /// Whether it could be reached now, as far as that can be known without sending anything.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        match self {
            Self::Http { endpoint, .. } => endpoint.listens().await,
            // Whether a program is there is known when it is started.
            Self::Command { .. } => Ok(()),
        }
    }

    /// Hands over the document, and comes back when it was answered. `values`: the environment of a program.
    pub(crate) async fn carry(
        &self,
        document: Bytes,
        values: &[(&str, String)],
    ) -> Result<Taken, String> {
        match self {
            Self::Http { endpoint, key, within } => {
                let mut headers =
                    vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
                if let Some(key) = key {
                    let signature = format!("sha256={}", key.sign(&[&document]));
                    let value = HeaderValue::from_str(&signature).map_err(|e| e.to_string())?;
                    headers.push((SIGNATURE, value));
                }
                let answer = endpoint.hand_over(&headers, document, None, *within).await?;
                match answer.status {
                    200..=299 => Ok(Taken::Done),
                    409 => Ok(Taken::Conflict(reason(&answer.body))),
                    status => Err(format!("{endpoint} answered with status {status}")),
                }
            }
            Self::Command { command, within } => run(command, document, values, *within).await,
        }
    }
}

/// The reason in an answer: `{"reason": "..."}`, or its first line.
fn reason(answer: &[u8]) -> String {
    let document: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    match document.as_ref().and_then(|document| document["reason"].as_str()) {
        Some(reason) => short(reason),
        None => short(&String::from_utf8_lossy(answer)),
    }
}

/// The first line, harmless to a terminal.
fn short(answer: &str) -> String {
    let line = answer.trim().lines().next().unwrap_or("no reason was given");
    text::one_line(line).chars().take(ANSWER_MAX).collect()
}

/// Runs the program, without a shell; it acknowledges by ending with 0.
async fn run(
    command: &[String],
    document: Bytes,
    values: &[(&str, String)],
    within: Duration,
) -> Result<Taken, String> {
    let [program, arguments @ ..] = command else { return Err("there is no program".to_owned()) };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child.envs(values.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
    let ended = async {
        let mut child = child.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it has no need of it.
            let _ = stdin.write_all(&document).await;
        }
        child.wait_with_output().await
    };
    let ended = tokio::time::timeout(within, ended).await;
    let ended = ended.map_err(|_| format!("{program} did not end within {within:?}"))?;
    let output = ended.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(Taken::Done);
    }
    let written =
        if output.stdout.trim_ascii().is_empty() { &output.stderr } else { &output.stdout };
    let written = short(&String::from_utf8_lossy(written));
    if output.status.code() == Some(NOT_NOW) {
        return Ok(Taken::NotNow(written));
    }
    Err(format!("{program} ended with {}: {written}", output.status))
}
