//! A server as a process.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::kit::{DEADLINE, Place, Running};

/// A server as a process, and where it listens.
pub struct Serving {
    pub process: Running,
    pub address: String,
    /// As a client names it.
    pub url: String,
}

impl Serving {
    /// Where the system likes it.
    pub fn start(place: &Place) -> Self {
        Self::start_at(place, "127.0.0.1:0")
    }

    pub fn start_at(place: &Place, bind: &str) -> Self {
        let mut command = place.command(["serve", "--json"]);
        command.env("REHOME_SERVER_BIND", bind);
        let (process, line) = Running::announced(command);
        let document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(document["event"], "listening");
        let address = document["address"].as_str().unwrap().to_owned();
        let url = document["url"].as_str().unwrap().to_owned();
        assert_eq!(url.split_once("://").unwrap().1, address);
        Self { process, address, url }
    }

    /// Status and body of the answer.
    pub fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let token = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{token}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// The body of the answer to a GET, as it is.
    pub fn text(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The value of the one series of this name that has this label, if it is there.
    pub fn series(&self, name: &str, label: &str) -> Option<f64> {
        let text = self.text("/metrics");
        let is_it = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
        let mut found = text.lines().filter(is_it);
        let value = found.next().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap());
        assert!(found.next().is_none(), "{name} {label} is more than one series");
        value
    }

    /// Stops it, and waits until it has ended.
    pub fn stop(self) {
        self.process.signal("TERM");
        let ended = self.process.ends();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        // Events may be logged; no error may be.
        for line in ended.stderr.lines() {
            let told: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            assert_eq!(told["level"], "INFO", "{line}");
        }
    }
}
