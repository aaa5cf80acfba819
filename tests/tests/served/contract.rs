//! schemathesis sends the real server requests that the served document allows and forbids, from seeds and
//! in bounded numbers, as each role.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rehome_app::tokens::TokenHash;
use rehome_tests::history::TENANT;
use rehome_tests::process::Process;

use crate::harness::Site;

/// Longest for one role; only a machine that is too busy to work gets there.
const PATIENCE: Duration = Duration::from_secs(900);
const ROLES: [&str; 4] = ["admin", "operator", "viewer", "tenant"];
/// Checks for all roles.
const CONFORMS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                        response_headers_conformance,response_schema_conformance,\
                        unsupported_method,allow_header_conformance,ignored_auth";

fn secret(role: &str) -> String {
    format!("rehome_{role}_of_the_contract")
}

fn config() -> String {
    let tokens = ROLES.map(|role| {
        let tenant =
            if role == "tenant" { format!("tenant = \"{TENANT}\"\n") } else { String::new() };
        let hash = TokenHash::of(&secret(role));
        format!(
            "[[auth.tokens]]\nname = \"{role}\"\nrole = \"{role}\"\n{tenant}sha256 = \"{hash}\"\n"
        )
    });
    format!(
        "[control_plane]\nurl = \"sqlite:control.db\"\n\
         [[stores]]\nid = \"shared\"\nurl = \"sqlite:shared.db\"\ndefault = true\n\
         [[stores]]\nid = \"dedicated\"\nurl = \"sqlite:dedicated.db\"\n{}",
        tokens.concat()
    )
}

/// The program in the tests' Python environment.
fn program() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = root.join("target/python/bin/schemathesis");
    ensure!(program.is_file(), "{} is missing; `./x setup` makes it", program.display());
    Ok(program)
}

/// Runs it, which must find nothing; how many cases it made.
fn holds(site: &Site, url: &str, role: &str, more: &[&str]) -> Result<u64> {
    let mut command = Command::new(program()?);
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/served/contract.toml");
    command.arg("--config-file").arg(config).args(["run", &format!("{url}/openapi.json")]);
    command.args(["--header", &format!("Authorization: Bearer {}", secret(role))]);
    // In sequence, deterministic, without a stored database of examples.
    command.args(["--generation-deterministic", "--workers", "1", "--no-color"]);
    // Endless responses have separate tests.
    command.args(["--exclude-path", "/v1/migrations/{migration}/watch"]);
    command.args(["--suppress-health-check", "all", "--request-timeout", "60"]);
    command.args(more).current_dir(site.folder());
    let mut run = Process::start(command, site.folder(), &format!("schemathesis-{role}"))?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = run.ended()? {
            break status;
        }
        ensure!(Instant::now() < deadline, "{role}: it took too long: {}", run.said()?);
        std::thread::sleep(Duration::from_millis(50));
    };
    let said = run.said()?;
    ensure!(status.success(), "{role}: {status}\n{said}\n{}", run.complained()?);
    let generated =
        said.split(" generated, ").next().and_then(|text| text.split_whitespace().last());
    generated.and_then(|count| count.parse().ok()).with_context(|| format!("{role}: {said}"))
}

#[test]
fn what_is_answered_is_what_the_document_says() -> Result<()> {
    Site::with_history(&config(), "shared")?.with(|site| {
        let (mut server, address) = site.serve("server", "")?;
        let url = format!("http://{address}");
        let negative = format!("{CONFORMS},negative_data_rejection");
        let all = ["--checks", &negative, "--max-examples", "12"];
        let cases = holds(site, &url, "admin", &all)?;
        ensure!(cases >= 300, "only {cases} cases");
        // The others are refused much of it, and that is documented as well.
        let short = ["--checks", CONFORMS, "--phases", "examples,coverage"];
        for role in &ROLES[1..] {
            let cases = holds(site, &url, role, &short)?;
            ensure!(cases >= 100, "{role}: only {cases} cases");
        }
        server.terminate()?;
        server.succeeds()
    })
}
