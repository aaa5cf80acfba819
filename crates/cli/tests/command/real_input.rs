//! The file history of five public repositories, where it is at hand: named by
//! `REHOME_SHARED_DATA`, or in `shared/data` beside this workspace or above it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::kit::{Place, gunzip, payload};

const NAME: &str = "file-history.ndjson.gz";

/// Real data that is on this machine.
pub(crate) fn shared_data(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("REHOME_SHARED_DATA").map(PathBuf::from);
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let beside = above.map(|folder| folder.join("shared").join("data"));
    named.into_iter().chain(beside).map(|folder| folder.join(name)).find(|path| path.exists())
}

#[test]
fn five_repositories_come_in_move_there_and_back_and_go_out_as_they_were() {
    let Some(path) = shared_data(NAME) else {
        eprintln!("skipped: {NAME} is not on this machine");
        return;
    };
    let place = Place::new();
    let input = path.to_str().unwrap();
    let report = place.json(["import", "--store", "shared", input]);
    assert_eq!(report["events_imported"], 30_936);

    let text = gunzip(&std::fs::read(&path).unwrap());
    let mut tenants: BTreeMap<Uuid, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        let tenant = line.split('"').nth(3).unwrap().parse().unwrap();
        tenants.entry(tenant).or_default().push(line);
    }
    assert_eq!(tenants.len(), 5);
    let compare = |place: &Place| {
        for (tenant, given) in &tenants {
            let exported = place.history(*tenant);
            assert_eq!(exported.lines().count(), given.len());
            for (given, got) in given.iter().zip(exported.lines()) {
                assert_eq!(payload(given), payload(got));
                assert_eq!(names(given), names(got));
            }
        }
    };
    compare(&place);

    let (largest, _) = tenants.iter().max_by_key(|(_, events)| events.len()).unwrap();
    let id = largest.to_string();
    let there = place.json([
        "migration",
        "start",
        "--tenant",
        &id,
        "--to",
        "dedicated",
        "--rollback-window",
        "1h",
    ]);
    assert_eq!(there["events_copied"], 10_284);
    compare(&place);
    let there = there["id"].as_str().unwrap();
    let back = place.json(["migration", "return", there]);
    assert_eq!(back["state"], "migrated");
    compare(&place);
    place.rehome(["migration", "verify", back["id"].as_str().unwrap()]).succeeds();
    let again = place.json(["import", "--store", "shared", input]);
    assert_eq!(again["events_imported"], 0);
    assert_eq!(again["events_already_there"], 30_936);
}

/// Everything before the time: tenant, stream, id and type.
fn names(line: &str) -> &str {
    &line[..line.find("\"occurred_at\"").unwrap()]
}
