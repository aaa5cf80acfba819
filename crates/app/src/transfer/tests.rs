use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rehome_domain::ids::TenantId;
use uuid::Uuid;

use super::input::Input;
use super::output::Output;
use super::rounds::Rounds;

fn event(tenant: Uuid, n: u128) -> String {
    format!(
        "{{\"tenant_id\":\"{tenant}\",\"stream_type\":\"s\",\"stream_id\":\"1\",\"event_id\":\"{}\",\
         \"event_type\":\"E\",\"occurred_at\":\"2024-01-01T00:00:00Z\",\"data\":{n},\
         \"metadata\":{{}}}}\n",
        Uuid::from_u128(n)
    )
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

type Found = Vec<(u64, Vec<(TenantId, usize)>)>;

async fn rounds(content: &[u8]) -> Result<Found, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events");
    std::fs::write(&path, content).unwrap();
    rounds_of(path).await
}

async fn rounds_of(path: PathBuf) -> Result<Found, String> {
    let mut rounds =
        Rounds::open(&Input::new(path, None)).await.map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    while let Some(round) = rounds.next().await {
        let round = round.map_err(|error| error.to_string())?;
        let tenants = round.tenants.iter().map(|(tenant, lines)| (*tenant, lines.len()));
        all.push((round.last_line, tenants.collect()));
    }
    Ok(all)
}

#[tokio::test]
async fn rounds_are_bounded_and_keep_their_tenants_in_the_order_of_the_file() {
    let tenants = [3, 1, 2].map(Uuid::from_u128);
    let text: String = (0..4_500).map(|n| event(tenants[n % 3], n as u128 + 1)).collect();
    let rounds = rounds(text.as_bytes()).await.unwrap();
    let ends: Vec<_> = rounds.iter().map(|(last, _)| *last).collect();
    assert_eq!(ends, [2_000, 4_000, 4_500]);
    let first: Vec<_> = rounds[0].1.iter().map(|(tenant, _)| tenant.uuid()).collect();
    assert_eq!(first, tenants);
    assert_eq!(rounds[0].1.iter().map(|(_, lines)| lines).sum::<usize>(), 2_000);
}

#[tokio::test]
async fn large_events_make_small_rounds() {
    let tenant = Uuid::from_u128(1);
    let large = format!("\"{}\"", "x".repeat(1_000_000));
    let text: String = (1..=12)
        .map(|n| event(tenant, n).replace(&format!("\"data\":{n}"), &format!("\"data\":{large}")))
        .collect();
    let rounds = rounds(text.as_bytes()).await.unwrap();
    assert!(rounds.len() >= 2 && rounds.iter().all(|(_, tenants)| tenants[0].1 <= 5), "{rounds:?}");
}

#[tokio::test]
async fn a_packed_file_may_have_members_and_is_known_by_its_first_bytes() {
    let tenant = Uuid::from_u128(1);
    let members = [packed(&event(tenant, 1)), packed(&event(tenant, 2))].concat();
    assert_eq!(rounds(&members).await.unwrap(), [(2, vec![(TenantId::new(tenant), 2)])]);
}

/// Files that were put together, and a pipe that delivers byte by byte: of a packed file, of an array, of a byte
/// order mark.
#[tokio::test]
async fn marks_and_first_bytes_are_known_however_they_come() {
    let tenant = Uuid::from_u128(1);
    let found = [(2, vec![(TenantId::new(tenant), 2)])];
    let [one, two] = [1, 2].map(|n| event(tenant, n));
    let marked = format!("\u{feff}{one}\u{feff}{two}").into_bytes();
    assert_eq!(rounds(&marked).await.unwrap(), found);
    assert!(rounds("\u{feff}\r\n".as_bytes()).await.unwrap().is_empty());
    let array = format!("\n \u{feff} [{},{}]", one.trim_end(), two.trim_end()).into_bytes();
    let members = [packed(&one), packed(&two)].concat();
    for whole in [marked, array, members] {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let to = pipe.clone();
        let writer = std::thread::spawn(move || {
            let mut to = std::fs::OpenOptions::new().write(true).open(to).unwrap();
            whole.chunks(1).for_each(|byte| to.write_all(byte).unwrap());
        });
        assert_eq!(rounds_of(pipe).await.unwrap(), found);
        writer.join().unwrap();
    }
}

#[tokio::test]
async fn a_file_that_was_cut_off_ends_in_an_error_wherever_it_was_cut() {
    let tenant = Uuid::from_u128(1);
    let text: String = (1..=50).map(|n| event(tenant, n)).collect();
    let whole = packed(&text);
    for end in [12, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let error = rounds(&whole[..end]).await.unwrap_err();
        assert!(error.contains("truncated") || error.contains("damaged"), "{end}: {error}");
    }
    // Within a line, when it is not packed.
    let error = rounds(&text.as_bytes()[..text.len() - 30]).await.unwrap_err();
    assert!(error.contains("line 50: not JSON: EOF"), "{error}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let output = Output::new(Some(path.clone()));
    let mut sink = output.open().unwrap();
    sink.write(b"half").unwrap();
    assert!(!path.exists());
    drop(sink);
    assert_eq!(names(folder.path()), Vec::<String>::new());

    let mut sink = output.open().unwrap();
    sink.write(b"all").unwrap();
    sink.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"all");
    assert_eq!(names(folder.path()), ["out.ndjson"]);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut sink = Output::new(Some(link.clone())).open().unwrap();
    sink.write(b"new").unwrap();
    sink.finish().unwrap();
    assert!(link.is_symlink());
    assert_eq!(std::fs::read(&real).unwrap(), b"new");
}
