//! Clients that hold, break and spoil connections by the hundred. When they are gone the server has as
//! many descriptors as before and not much more memory, and has answered others all the time.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use rehome_tests::history::TENANT;
use rehome_tests::process::{PATIENCE, Process, wait_for};
use serde_json::json;

use crate::harness::Site;
use crate::http::ask;

const CONFIG: &str = "[control_plane]\nurl = \"sqlite:control.db\"\n\
    [[stores]]\nid = \"shared\"\nurl = \"sqlite:shared.db\"\ndefault = true\n\
    [[stores]]\nid = \"dedicated\"\nurl = \"sqlite:dedicated.db\"\n\
    [server]\nclient_timeout_ms = 500\nconnections_max = 2000\nbodies_bytes_max = 16777216\n";
/// Of each kind at once.
const MANY: usize = 300;
/// Memory that a server may retain, in MiB: buffers of the allocator, caches of the stores.
const KEPT_MIB_MAX: u64 = 96;
/// Memory of responses, in MiB: the share of one caller, and buffers for reads and writes.
const ANSWERS_MIB_MAX: u64 = 160;

fn descriptors(server: &Process) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", server.id()))?.count())
}

fn resident_mib(server: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("VmRSS")?;
    Ok(kib.parse::<u64>()? / 1_024)
}

fn answers(address: SocketAddr) -> Result<()> {
    for path in ["/health/ready", &format!("/v1/tenants/{TENANT}")] {
        let answer = ask(address, "GET", path, &[], None)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    Ok(())
}

/// So many connections that were sent this, and are held open.
fn hold(address: SocketAddr, sent: &[u8]) -> Result<Vec<TcpStream>> {
    let connected = (0..MANY).map(|_| {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(sent)?;
        Ok(stream)
    });
    connected.collect()
}

/// Runs the attack; then waits until the server has released its resources.
fn harm(
    server: &Process,
    address: SocketAddr,
    before: usize,
    what: &str,
    harm: impl FnOnce() -> Result<()>,
) -> Result<()> {
    harm().with_context(|| what.to_owned())?;
    answers(address).with_context(|| format!("after {what}"))?;
    wait_for(&format!("descriptors, after {what}"), || {
        Ok((descriptors(server)? <= before).then_some(()))
    })
}

/// The data of a connection before the server closes it; only the close counts.
fn is_left(mut stream: TcpStream) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            Err(error).context("it was not left")
        }
        _ => Ok(answer),
    }
}

#[test]
fn what_hostile_clients_took_is_given_back() -> Result<()> {
    Site::with_history(CONFIG, "shared")?.with(|site| {
        let (mut server, address) = site.serve("server", "")?;
        let path = format!("/v1/tenants/{TENANT}/streams/order/o-1/events");
        let append = |length: usize| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n"
            )
        };
        // The stores' connections and files, which are there from then on.
        for _ in 0..20 {
            answers(address)?;
        }
        let (before, mib) = (descriptors(&server)? + 4, resident_mib(&server)?);
        let harm =
            |what: &str, done: &dyn Fn() -> Result<()>| harm(&server, address, before, what, done);

        harm("headers that never end", &|| {
            for stream in hold(address, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-")? {
                is_left(stream)?;
            }
            Ok(())
        })?;
        harm("bodies that never come", &|| {
            for stream in hold(address, append(1_000).as_bytes())? {
                let answer = is_left(stream)?;
                let said = String::from_utf8_lossy(&answer).into_owned();
                ensure!(said.starts_with("HTTP/1.1 4"), "{said}");
            }
            Ok(())
        })?;
        harm("connections closed on one side", &|| {
            for stream in hold(address, append(1_000).as_bytes())? {
                // One that has been left already is as good.
                let _ = stream.shutdown(Shutdown::Write);
                is_left(stream)?;
            }
            Ok(())
        })?;
        harm("bodies that are too large", &|| {
            for mut stream in hold(address, append(1 << 30).as_bytes())? {
                // The server may read only a part, or may have closed the connection already.
                let _ = stream.write_all(&vec![b' '; 64 << 10]);
                let _ = stream.shutdown(Shutdown::Write);
                is_left(stream)?;
            }
            Ok(())
        })?;
        harm("bytes that are no HTTP", &|| {
            for stream in hold(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")? {
                is_left(stream)?;
            }
            Ok(())
        })?;
        harm("followers that leave without a word", &|| {
            let feed = format!(
                "GET /v1/tenants/{TENANT}/events HTTP/1.1\r\nHost: {address}\r\n\
                 Accept: text/event-stream\r\n\r\n"
            );
            for mut stream in hold(address, feed.as_bytes())? {
                let mut first = [0; 12];
                stream.read_exact(&mut first)?;
                ensure!(&first == b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&first));
            }
            Ok(())
        })?;
        // Events of a megabyte, in responses that are not read.
        let data = "x".repeat(1_000_000);
        for _ in 0..8 {
            let event = json!({"events": [{"event_type": "Large", "data": data}]});
            let answer = ask(address, "POST", &path, &[], Some(&event))?;
            ensure!(answer.status == 201, "{answer:?}");
        }
        harm("answers that nobody reads", &|| {
            for accept in ["application/json", "text/event-stream"] {
                let feed = format!(
                    "GET /v1/tenants/{TENANT}/events?limit=1000 HTTP/1.1\r\nHost: {address}\r\n\
                     Accept: {accept}\r\n\r\n"
                );
                let held = hold(address, feed.as_bytes())?;
                for _ in 0..10 {
                    let now = resident_mib(&server)?;
                    ensure!(now <= mib + ANSWERS_MIB_MAX, "{mib} MiB before, {now} MiB meanwhile");
                    answers(address)?;
                }
                drop(held);
            }
            Ok(())
        })?;
        // The allocator returns pages that are not used for a second.
        wait_for(&format!("memory; {mib} MiB before"), || {
            answers(address)?;
            Ok((resident_mib(&server)? <= mib + KEPT_MIB_MAX).then_some(()))
        })?;
        server.terminate()?;
        server.succeeds()
    })
}
