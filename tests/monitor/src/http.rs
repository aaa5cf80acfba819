//! As much of an HTTP client as tests need: one request on one connection to this machine.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::PATIENCE;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The lines above the body, as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as a document.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("no document: {}", self.body))
    }

    /// The same, of an answer that must be a good one.
    pub fn good(self) -> Result<Self> {
        ensure!(self.status < 300, "status {}: {}", self.status, self.body);
        Ok(self)
    }
}

/// GET, with more header lines (`Name: value`).
pub fn get(port: u16, path: &str, headers: &[&str]) -> Result<Answer> {
    exchange(port, "GET", path, headers, "")
}

/// POST of a JSON document.
pub fn post(port: u16, path: &str, document: &Value) -> Result<Answer> {
    exchange(port, "POST", path, &["Content-Type: application/json"], &document.to_string())
}

/// Text for a query, percent-encoded.
pub fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        plain if plain.is_ascii_alphanumeric() => char::from(plain).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn exchange(port: u16, method: &str, path: &str, headers: &[&str], body: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // 1.0: the answer ends where the connection does, and is not cut into chunks.
    let more: String = headers.iter().flat_map(|header| [*header, "\r\n"]).collect();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).context("an answer has a status")?.parse()?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_expression_holds_is_one_word_of_a_url() {
        assert_eq!(encoded("a{b=\"å\"}+1"), "a%7Bb%3D%22%C3%A5%22%7D%2B1");
    }
}
