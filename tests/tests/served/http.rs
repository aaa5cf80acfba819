//! A client that hides nothing: a connection for each request, so that a balancer sends each one
//! elsewhere.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rehome_tests::process::PATIENCE;
use serde_json::Value;

/// How often a reader of a stream checks for the end.
const LOOK_UP_EVERY: Duration = Duration::from_millis(200);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Value,
}

impl Answer {
    /// The last word of a problem's type.
    pub(crate) fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.rsplit(':').next().unwrap_or_default()
    }
}

/// One request and its whole answer; an error is a connection that broke.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    if !body.is_empty() {
        let length = body.len().to_string();
        request.extend(["Content-Type: application/json\r\nContent-Length: ", &length, "\r\n"]);
    }
    request.extend(["\r\n", &body]);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    read(&answer).ok_or_else(|| io::Error::new(ErrorKind::UnexpectedEof, format!("{answer:?}")))
}

/// A whole answer; nothing if some of it is missing.
fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let mut named = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value)
    };
    let whole;
    let body = if header("transfer-encoding") == Some("chunked") {
        whole = unchunked(body)?;
        &whole
    } else if header("content-length")?.parse() == Ok(body.len()) {
        body
    } else {
        return None;
    };
    let retry_after = header("retry-after").and_then(|seconds| seconds.parse().ok());
    Some(Answer { status, retry_after, body: serde_json::from_str(body).ok()? })
}

/// The body of a chunked response; `None` if the last chunk is missing.
fn unchunked(mut rest: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, more) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole += more.get(..size)?;
        rest = more.get(size..)?.strip_prefix("\r\n")?;
    }
}

/// An open feed.
pub(crate) struct Feed {
    stream: TcpStream,
    /// As it came, chunks and all.
    raw: Vec<u8>,
    text: String,
}

/// The result of a read of a feed.
pub(crate) enum Seen {
    /// An event: its position and its id.
    Event(u64, String),
    /// Nothing yet.
    Nothing,
    /// That it is over.
    End,
}

impl Feed {
    /// Follows from after that position; the answer instead if it is none.
    pub(crate) fn open(
        address: SocketAddr,
        path: &str,
        after: u64,
    ) -> io::Result<Result<Self, Answer>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
             Last-Event-ID: {after}\r\n\r\n"
        )?;
        let mut this = Self { stream, raw: Vec::new(), text: String::new() };
        let end = loop {
            if let Some(end) = this.raw.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if !this.more()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        if this.raw.starts_with(b"HTTP/1.1 200") {
            this.raw.drain(..end);
            this.stream.set_read_timeout(Some(LOOK_UP_EVERY))?;
            return Ok(Ok(this));
        }
        loop {
            if let Some(answer) = read(&String::from_utf8_lossy(&this.raw)) {
                return Ok(Err(answer));
            }
            if !this.more()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 8 << 10];
        let read = self.stream.read(&mut piece)?;
        self.raw.extend_from_slice(&piece[..read]);
        Ok(read > 0)
    }

    /// The next event, if there is one already.
    pub(crate) fn look(&mut self) -> io::Result<Seen> {
        loop {
            if let Some(seen) = self.event()? {
                return Ok(seen);
            }
            if self.chunk()? {
                continue;
            }
            match self.more() {
                Ok(true) => {}
                Ok(false) => return Ok(Seen::End),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Ok(Seen::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The first whole event of the text.
    fn event(&mut self) -> io::Result<Option<Seen>> {
        while let Some(end) = self.text.find("\n\n") {
            let block: String = self.text.drain(..end + 2).collect();
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                let spoiled = || io::Error::new(ErrorKind::InvalidData, block.clone());
                let seq = id.parse().map_err(|_| spoiled())?;
                // Data may have numbers that no parser here accepts; the id comes before it.
                let event = data.split("\"event_id\":\"").nth(1);
                let id = event.and_then(|rest| rest.split('"').next()).ok_or_else(spoiled)?;
                return Ok(Some(Seen::Event(seq, id.to_owned())));
            }
        }
        Ok(None)
    }

    /// Takes a complete chunk, if there is one.
    fn chunk(&mut self) -> io::Result<bool> {
        let spoiled = || io::Error::new(ErrorKind::InvalidData, "no chunk");
        let Some(end) = self.raw.windows(2).position(|two| two == b"\r\n") else {
            return Ok(false);
        };
        let size = std::str::from_utf8(&self.raw[..end]).map_err(|_| spoiled())?;
        let size = usize::from_str_radix(size, 16).map_err(|_| spoiled())?;
        let begin = end + 2;
        if self.raw.len() < begin + size + 2 {
            return Ok(false);
        }
        // An event's text is written whole into a chunk.
        let text = std::str::from_utf8(&self.raw[begin..begin + size]).map_err(|_| spoiled())?;
        self.text += text;
        self.raw.drain(..begin + size + 2);
        Ok(size > 0)
    }
}
