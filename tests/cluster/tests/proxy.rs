//! The faults of the proxy, seen from both of its sides.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use rehome_cluster::{Direction, Proxy};

/// Answers each byte with its successor, for as long as the test runs.
fn server() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(move || answer(client?));
        }
        Ok::<(), std::io::Error>(())
    });
    Ok(port)
}

fn answer(mut client: TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 1];
    while client.read(&mut bytes)? == 1 {
        client.write_all(&[bytes[0] + 1])?;
    }
    Ok(())
}

struct Client(TcpStream);

impl Client {
    fn of(proxy: &Proxy) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port()))?;
        // Only a failing test waits for it.
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self(stream))
    }

    fn ask(&mut self, byte: u8) -> std::io::Result<u8> {
        self.0.write_all(&[byte])?;
        self.hear()
    }

    fn hear(&mut self) -> std::io::Result<u8> {
        let mut answer = [0; 1];
        self.0.read_exact(&mut answer)?;
        Ok(answer[0])
    }

    /// Nothing comes, for a moment at least.
    fn hears_nothing(&mut self) -> Result<()> {
        self.0.set_read_timeout(Some(Duration::from_millis(50)))?;
        let heard = self.hear();
        self.0.set_read_timeout(Some(Duration::from_secs(30)))?;
        let silent = heard.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        ensure!(silent, "it heard {heard:?}");
        Ok(())
    }
}

fn is_reset<T: std::fmt::Debug>(result: &std::io::Result<T>) -> Result<()> {
    let reset = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    ensure!(reset, "not reset, but {result:?}");
    Ok(())
}

#[test]
fn bytes_pass_both_ways_and_a_client_that_goes_is_forgotten() -> Result<()> {
    let proxy = Proxy::start(server()?)?;
    let mut client = Client::of(&proxy)?;
    ensure!(client.ask(1)? == 2, "another answer");
    ensure!(proxy.connections()? == 1, "one connection");
    drop(client);
    while proxy.connections()? > 0 {
        thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_cut_resets_what_is_open_and_nothing_after_it() -> Result<()> {
    let proxy = Proxy::start(server()?)?;
    let (mut one, mut two) = (Client::of(&proxy)?, Client::of(&proxy)?);
    ensure!((one.ask(1)?, two.ask(5)?) == (2, 6), "another answer");
    ensure!(proxy.cut_one(3)? == 1, "one is cut");
    is_reset(&two.hear())?;
    ensure!(one.ask(3)? == 4, "the other goes on");
    ensure!(proxy.cut()? == 1, "the other is left");
    is_reset(&one.hear())?;
    ensure!(Client::of(&proxy)?.ask(1)? == 2, "a new one goes");
    Ok(())
}

#[test]
fn a_proxy_that_refuses_lets_open_connections_be() -> Result<()> {
    let proxy = Proxy::start(server()?)?;
    let mut open = Client::of(&proxy)?;
    ensure!(open.ask(1)? == 2, "another answer");
    proxy.refuse()?;
    let refused = TcpStream::connect(("127.0.0.1", proxy.port()));
    ensure!(refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused), "refused");
    ensure!(open.ask(3)? == 4, "it goes on");
    proxy.accept()?;
    ensure!(Client::of(&proxy)?.ask(1)? == 2, "a new one goes");
    Ok(())
}

#[test]
fn a_stalled_direction_holds_bytes_back_and_loses_none() -> Result<()> {
    for direction in [Direction::Up, Direction::Down] {
        let proxy = Proxy::start(server()?)?;
        let mut client = Client::of(&proxy)?;
        ensure!(client.ask(1)? == 2, "another answer");
        proxy.stall(direction);
        client.0.write_all(&[3])?;
        client.hears_nothing()?;
        proxy.flow();
        ensure!(client.hear()? == 4, "another answer");
    }
    Ok(())
}

#[test]
fn a_delay_holds_every_answer_back() -> Result<()> {
    let proxy = Proxy::start(server()?)?;
    let mut client = Client::of(&proxy)?;
    proxy.delay(Duration::from_millis(40));
    let begun = std::time::Instant::now();
    ensure!(client.ask(1)? == 2, "another answer");
    ensure!(begun.elapsed() >= Duration::from_millis(80), "once on each way");
    Ok(())
}

#[test]
fn a_reply_is_lost_after_its_request_arrived() -> Result<()> {
    let seen = TcpListener::bind("127.0.0.1:0")?;
    let proxy = Proxy::start(seen.local_addr()?.port())?;
    proxy.lose_reply(b"COMMIT")?;
    let mut client = Client::of(&proxy)?;
    let (mut server, _) = seen.accept()?;
    let mut heard = [0; 6];
    client.0.write_all(b"BEGIN ")?;
    server.read_exact(&mut heard)?;
    server.write_all(b"1")?;
    ensure!(client.hear()? == b'1', "an answer to another request");
    ensure!(!proxy.sprung()?, "nothing was lost yet");
    client.0.write_all(b"COMMIT")?;
    server.read_exact(&mut heard)?;
    ensure!(&heard == b"COMMIT" && proxy.sprung()?, "the request arrived");
    server.write_all(b"2")?;
    is_reset(&client.hear())?;
    // Once only.
    let mut next = Client::of(&proxy)?;
    let (mut server, _) = seen.accept()?;
    next.0.write_all(b"COMMIT")?;
    server.read_exact(&mut heard)?;
    server.write_all(b"3")?;
    ensure!(next.hear()? == b'3', "an answer");
    Ok(())
}

#[test]
fn a_connection_is_cut_after_so_many_bytes() -> Result<()> {
    let proxy = Proxy::start(server()?)?;
    proxy.cut_after(Direction::Down, 3)?;
    let mut client = Client::of(&proxy)?;
    ensure!((client.ask(1)?, client.ask(1)?) == (2, 2), "two of three");
    let third = client.ask(1);
    // A reset may overtake the bytes sent just before it.
    ensure!(third.is_err() || third.is_ok_and(|answer| answer == 2), "another answer");
    is_reset(&client.hear())?;
    ensure!(Client::of(&proxy)?.ask(1)? == 2, "a new one goes");
    Ok(())
}

#[test]
fn a_connection_is_held_after_a_request() -> Result<()> {
    let proxy = Proxy::start(server()?)?;
    proxy.hold(b"\x05")?;
    let (mut held, mut other) = (Client::of(&proxy)?, Client::of(&proxy)?);
    ensure!((held.ask(1)?, other.ask(1)?) == (2, 2), "nothing is held yet");
    held.0.write_all(&[5])?;
    held.hears_nothing()?;
    ensure!(proxy.sprung()?, "it is held");
    ensure!(other.ask(5)? == 6, "the other goes on");
    proxy.flow();
    ensure!(held.hear()? == 6 && held.ask(7)? == 8, "it goes on");
    Ok(())
}
