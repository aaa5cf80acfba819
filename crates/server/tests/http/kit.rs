//! A server in this process, and a client that hides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rehome_app::config::Config;
use rehome_app::{Access, CancellationToken};
use rehome_observe::Observed;
use rehome_server::{Handle, Server};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Only a failing test gets there.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A deployment of two stores with a server on it.
pub struct Site {
    pub deployment: Observed,
    pub address: SocketAddr,
    pub handle: Handle,
    pub config: Config,
    stop: CancellationToken,
    running: JoinHandle<()>,
    folder: Arc<tempfile::TempDir>,
}

impl Site {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = ["shared", "dedicated"].map(|id| id.parse().unwrap());
        let mut config = Config::embedded(folder.path(), &stores).unwrap();
        config.server.bind = "127.0.0.1:0".parse().unwrap();
        change(&mut config);
        Self::of(config, Arc::new(folder)).await
    }

    async fn of(config: Config, folder: Arc<tempfile::TempDir>) -> Self {
        let deployment = Observed::open(&config, Access::Create).await.unwrap();
        let server = Server::bind(deployment.clone()).await.unwrap();
        let (address, handle, stop) = (server.address(), server.handle(), CancellationToken::new());
        let until = stop.clone();
        let running = tokio::spawn(async move { server.run(&until).await });
        Self { deployment, address, handle, config, stop, running, folder }
    }

    /// Another server on the same files.
    pub async fn another(&self) -> Self {
        Self::of(self.config.clone(), Arc::clone(&self.folder)).await
    }

    /// Ends, and begins again with another configuration on the same files.
    pub async fn starts_again(self, config: &Config) -> Self {
        let folder = Arc::clone(&self.folder);
        self.ends().await;
        Self::of(config.clone(), folder).await
    }

    /// Stops the server.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops the server and waits until it has ended.
    pub async fn ends(self) {
        self.stop.cancel();
        within("the server's end", self.running).await.unwrap();
        self.deployment.close().await;
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request and answers the reply.
    pub async fn ask(&self, request: Request) -> Reply {
        let mut stream = self.connect().await;
        let mut all = Vec::new();
        // A server that has refused does not read the whole request.
        let _ = stream.write_all(&request.bytes(self.address)).await;
        let _ = within("an answer", stream.read_to_end(&mut all)).await;
        Reply::parse(&all)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Request::new("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask(Request::new("POST", path).json(body)).await
    }

    /// Begins a session with this token; answers its cookie.
    pub async fn login(&self, token: &str) -> String {
        let form = Request::new("POST", "/console/login")
            .body("application/x-www-form-urlencoded", format!("token={token}"));
        let reply = self.ask(form).await;
        let cookie = reply.header("set-cookie").unwrap_or_else(|| panic!("{reply:?}"));
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Appends events `numbers` to the stream `order/o-1`, one by one.
    pub async fn fill(&self, tenant: Uuid, numbers: impl IntoIterator<Item = u64>) {
        for n in numbers {
            let path = format!("/v1/tenants/{tenant}/streams/order/o-1/events");
            let reply = self.post(&path, &json!({"events": [event(tenant, n)]})).await;
            assert_eq!(reply.status, 201, "{}", reply.text());
        }
    }

    /// Repeats until the response is as expected.
    pub async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let asked = async {
            loop {
                let reply = self.get(path).await;
                if reply.status == 200 && is_so(&reply.json()) {
                    return reply.json();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(path, asked).await
    }
}

/// Event `n` of a tenant, the same every time.
pub fn event(tenant: Uuid, n: u64) -> Value {
    let id = Uuid::from_u128(tenant.as_u128().rotate_left(40) ^ u128::from(n));
    json!({"event_id": id, "event_type": "Changed", "data": {"n": n}})
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(DEADLINE, future).await;
    ended.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

pub struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len();
        self.header("Content-Type", kind).header("Content-Length", length.to_string())
    }

    pub fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let given = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !given("host") {
            head.extend(["Host: ", &address.to_string(), "\r\n"]);
        }
        if !given("connection") {
            head += "Connection: close\r\n";
        }
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    fn parse(all: &[u8]) -> Self {
        let end = all.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(all)));
        let head = std::str::from_utf8(&all[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { status, headers, body: all[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body, whether or not it came in chunks.
    pub fn unchunked(&self) -> Vec<u8> {
        if self.header("transfer-encoding") != Some("chunked") {
            return self.body.clone();
        }
        let (mut body, mut rest) = (Vec::new(), &self.body[..]);
        loop {
            let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
            let size = std::str::from_utf8(&rest[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&rest[end + 2..end + 2 + size]);
            rest = &rest[end + 2 + size + 2..];
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.unchunked()).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The document; it must have this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem document; it must be of this status and kind.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let request_id = self.header("x-request-id").map(str::to_owned);
        let document = self.is(status);
        assert_eq!(document["type"], format!("urn:rehome:problem:{code}"), "{document}");
        assert_eq!(document["status"], status);
        assert_eq!(document["request_id"].as_str().map(str::to_owned), request_id);
        document
    }
}

/// A reader of server-sent events.
pub struct Events {
    stream: TcpStream,
    /// As it came, chunks and all.
    raw: Vec<u8>,
    text: String,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub id: String,
    pub data: String,
}

impl Events {
    /// Sends the request; the answer must be a stream.
    pub async fn open(site: &Site, request: Request) -> Self {
        let request = request.header("Accept", "text/event-stream");
        let mut stream = site.connect().await;
        stream.write_all(&request.bytes(site.address)).await.unwrap();
        let mut this = Self { stream, raw: Vec::new(), text: String::new() };
        let head = loop {
            if let Some(end) = this.raw.windows(4).position(|four| four == b"\r\n\r\n") {
                break this.raw.drain(..end + 4).collect::<Vec<_>>();
            }
            assert!(this.more().await, "{:?}", String::from_utf8_lossy(&this.raw));
        };
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        this
    }

    async fn more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.raw);
        within("more of the stream", read).await.is_ok_and(|n| n > 0)
    }

    /// The next event; `None` when the stream has ended as it should.
    pub async fn next(&mut self) -> Option<Sent> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim_start_matches([':', ' ']).to_owned())
                };
                if let Some(data) = field("data") {
                    return Some(Sent { id: field("id").unwrap_or_default(), data });
                }
            }
            if !self.chunk().await {
                return None;
            }
        }
    }

    /// Reads one chunk; `false` after the last.
    async fn chunk(&mut self) -> bool {
        loop {
            if let Some(end) = self.raw.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&self.raw[..end]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                if self.raw.len() >= end + 2 + size + 2 {
                    let chunk = self.raw[end + 2..end + 2 + size].to_vec();
                    self.raw.drain(..end + 2 + size + 2);
                    self.text += std::str::from_utf8(&chunk).unwrap();
                    return size > 0;
                }
            }
            let more = self.more().await;
            assert!(more, "the stream broke off: {:?}", String::from_utf8_lossy(&self.raw));
        }
    }
}
