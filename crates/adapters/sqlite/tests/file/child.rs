//! Other processes: this test program again, running one of the roles below.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rehome_domain::ids::Epoch;
use rehome_ports::{FaultKind, LedgerStore};

use crate::kit::{activate, append, fault, open, store, tenant};

const ROLE: &str = "REHOME_TEST_ROLE";
const FILE: &str = "REHOME_TEST_FILE";

/// A process in a role. Killed when dropped.
pub(crate) struct Other {
    process: Child,
    lines: BufReader<ChildStdout>,
}

/// Prepares a process in `role`; `program` is this program, or a copy of it.
pub(crate) fn command(program: &Path, role: &str, file: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", "child::role", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(FILE, file);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

impl Other {
    pub(crate) fn start(role: &str, file: &Path) -> Self {
        Self::spawn(command(&std::env::current_exe().unwrap(), role, file))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// Its next line of output; `None` once it has ended.
    pub(crate) fn says(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, said)) = line.trim_end().split_once("> ") {
                return Some(said.to_owned());
            }
        }
    }

    /// Lets it continue.
    pub(crate) fn go_on(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"go on\n").unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say(what: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {what}").unwrap();
    out.flush().unwrap();
}

fn wait_to_go_on() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Not a test of its own: what the other tests start in a process of its own, by the environment.
#[tokio::test]
async fn role() {
    let (Ok(role), Ok(file)) = (std::env::var(ROLE), std::env::var(FILE)) else { return };
    let file = Path::new(&file);
    match role.as_str() {
        // Creates or opens the file and reports its id.
        "open" => {
            say("ready");
            wait_to_go_on();
            say(store(file).await.check().await.unwrap().identity);
        }
        // Appends its own events forever, and prints each once it is acknowledged.
        "append" => {
            let store = store(file).await;
            activate(&store, tenant(1)).await;
            for n in 1_000_000.. {
                store.append(tenant(1), Epoch(1), &[append(n)]).await.unwrap()[0].clone().unwrap();
                say(n);
            }
        }
        // Holds the write lock until released.
        "hold" => {
            let conn = crate::kit::outsider(file);
            conn.execute_batch("BEGIN IMMEDIATE").unwrap();
            say("held");
            wait_to_go_on();
            conn.execute_batch("ROLLBACK").unwrap();
            say("free");
        }
        // Reads and tries to write what it may not write.
        "read" => match open(file, false).await {
            Err(fault) => say(format!("not opened: {fault}")),
            Ok(store) => {
                match store.ledger(tenant(1)).await {
                    Ok(ledger) => say(format!("read {} events", ledger.head.seq)),
                    Err(error) => say(format!("not read: {error}")),
                }
                let refused = fault(store.append(tenant(1), Epoch(1), &[append(4)]).await);
                assert_eq!(refused.kind, FaultKind::ReadOnly);
                say(refused);
            }
        },
        other => panic!("no role {other}"),
    }
}
