//! As little HTTP as a caller needs, so that the server is measured and not a client.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use rehome_domain::ids::TenantId;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection that is used again and again.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// Status and body.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(u16, Vec<u8>)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        let (status, length) = self.head().await?;
        let mut body = vec![0; length.context("an answer without a length")?];
        self.stream.read_exact(&mut body).await?;
        Ok((status, body))
    }

    /// Status and length of an answer.
    async fn head(&mut self) -> Result<(u16, Option<usize>)> {
        let (mut status, mut length) = (None, None);
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line).await? > 0, "the connection ended");
            let line = line.trim_end();
            if line.is_empty() {
                return Ok((status.context("a status")?, length));
            }
            if status.is_none() {
                status = Some(line.split(' ').nth(1).context("a status")?.parse()?);
            } else if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.parse()?);
            }
        }
    }
}

/// An open feed.
pub(super) struct Feed(Connection);

impl Feed {
    pub(super) async fn open(address: SocketAddr, tenant: TenantId, after: u64) -> Result<Self> {
        let mut connection = Connection::open(address).await?;
        let request = format!(
            "GET /v1/tenants/{tenant}/events HTTP/1.1\r\nHost: {address}\r\n\
             Accept: text/event-stream\r\nLast-Event-ID: {after}\r\n\r\n"
        );
        connection.stream.write_all(request.as_bytes()).await?;
        let (status, _) = connection.head().await?;
        ensure!(status == 200, "no feed: {status}");
        Ok(Self(connection))
    }

    /// The position of the next event. Chunks are passed over: their lines are not like an id's.
    pub(super) async fn next(&mut self) -> Result<u64> {
        loop {
            let mut line = String::new();
            ensure!(self.0.stream.read_line(&mut line).await? > 0, "the feed ended");
            if let Some(seq) = line.strip_prefix("id: ") {
                return Ok(seq.trim_end().parse()?);
            }
        }
    }
}
