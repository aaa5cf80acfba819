//! What a server of rehome's has of an adopted tenant: a live feed of a table that another library writes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::free_port;
use rehome_monitor::http;
use rehome_tests::process::{PATIENCE, wait_for};
use serde_json::{Value, json};

use crate::harness::{DEDICATED, SHARED, TENANT, end, on_a_site};

/// The feed has every row once, in order, across two switches; a page of it has the same rows; an append is
/// refused permanently, and the refusal names the writer.
#[test]
fn the_table_of_another_library_is_a_live_feed() -> Result<()> {
    on_a_site(|site| {
        let writers = site.all_writers()?;
        site.writes(50)?;
        site.adopt()?;
        site.move_to(DEDICATED)?;
        let port = free_port()?;
        let bind = format!("127.0.0.1:{port}");
        let mut server = site.spawn_with(&[("REHOME_SERVER_BIND", &bind)], &["serve"])?;
        wait_for("the server", || {
            ensure!(server.ended()?.is_none(), "it ended: {}", server.complained()?);
            Ok(http::get(port, "/health/live", &[]).ok().map(drop))
        })?;

        let mut feed = Feed::open(port)?;
        let before = feed.reads(100)?;
        site.move_to(SHARED)?;
        site.writes(30)?;
        site.move_to(DEDICATED)?;
        site.writes(30)?;
        end(writers)?;
        let rows: u64 = site
            .sql(DEDICATED, &format!("SELECT count(*) FROM events WHERE tenant_id = '{TENANT}'"))?
            .parse()?;
        ensure!(before < rows, "{before} of {rows}");
        // To the end, and nothing twice: `reads` sees to the order.
        ensure!(feed.reads(rows)? == rows, "more events than rows");

        let path = format!("/v1/tenants/{TENANT}/events?after_seq={}&limit=10", rows - 2);
        let page = http::get(port, &path, &[])?.good()?.json()?;
        let last = &page["events"][1];
        ensure!(
            last["seq"] == rows && page["events"].as_array().map(Vec::len) == Some(2),
            "{page}"
        );
        let there =
            format!("SELECT version FROM events WHERE event_id = '{}'", text(last, "event_id")?);
        let version: u64 = site.sql(DEDICATED, &there)?.parse()?;
        ensure!(last["version"] == version, "{last}");

        let at = format!(
            "SELECT global_position FROM events WHERE tenant_id = '{TENANT}' ORDER BY 1 OFFSET 40 LIMIT 1"
        );
        let position = site.sql(SHARED, &at)?;
        let between = ["--position", &position, "--from", SHARED, "--to", DEDICATED];
        let asked = [&["tenant", "position", TENANT], &between[..]].concat();
        let url = format!("http://127.0.0.1:{port}");
        let (here, there) =
            (site.json(&asked)?, site.json(&[&asked[..], &["--server", &url]].concat())?);
        ensure!(here == there && here["events"].as_u64() > Some(0), "{here} and {there}");

        let append = json!({ "expected_version": 0, "events": [
            { "event_id": TENANT, "event_type": "Placed", "occurred_at": "2026-01-01T00:00:00Z", "data": {} }
        ]});
        let path = format!("/v1/tenants/{TENANT}/streams/order/1/events");
        let refused = http::post(port, &path, &append)?;
        ensure!(refused.status == 409, "{}: {}", refused.status, refused.body);
        ensure!(
            refused.json()?["type"] == "urn:rehome:problem:not_written_here",
            "{}",
            refused.body
        );
        Ok(())
    })
}

fn text<'a>(document: &'a Value, key: &str) -> Result<&'a str> {
    document[key].as_str().with_context(|| format!("{key} of {document}"))
}

/// A follower of the tenant's feed, from its beginning.
struct Feed {
    lines: BufReader<TcpStream>,
    last: u64,
}

impl Feed {
    fn open(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET /v1/tenants/{TENANT}/events HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\
             Accept: text/event-stream\r\n\r\n"
        )?;
        Ok(Self { lines: BufReader::new(stream), last: 0 })
    }

    /// Reads until the event of that number; each is the next one.
    fn reads(&mut self, until: u64) -> Result<u64> {
        while self.last < until {
            let mut line = String::new();
            ensure!(self.lines.read_line(&mut line)? > 0, "the feed ended after {}", self.last);
            if let Some(id) = line.strip_prefix("id:") {
                let seq: u64 = id.trim().parse()?;
                ensure!(seq == self.last + 1, "{seq} comes after {}", self.last);
                self.last = seq;
            }
        }
        Ok(self.last)
    }
}
