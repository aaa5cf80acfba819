use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_engine::{Moved, Publisher as _};
use rehome_ports::TenantNames;
use uuid::Uuid;

use super::Publications;
use crate::config::Config;
use crate::http::fake::Fake;
use crate::key::Key;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The entries of a file that says so.
fn publications(folder: &Path, entries: &str) -> Publications {
    let file = folder.join("rehome.toml");
    let rest = "[control_plane]\nurl = \"sqlite:c.db\"\n[[stores]]\nid = \"shared\"\nurl = \"sqlite:a.db\"\n\
        default = true\n[[stores]]\nid = \"dedicated\"\nurl = \"sqlite:b.db\"\n";
    fs::write(&file, format!("{rest}{entries}")).unwrap();
    let config = Config::load_from(Some(&file), []).unwrap();
    Publications::new(&config.publish, "d1", &TenantNames::default()).unwrap().unwrap()
}

fn moved(epoch: u64) -> Moved {
    Moved {
        tenant: TenantId::new(Uuid::from_u128(7)),
        from: "shared".parse().unwrap(),
        to: "dedicated".parse().unwrap(),
        epoch: Epoch(epoch),
        migration: MigrationId::new(Uuid::from_u128(9)),
    }
}

#[tokio::test]
async fn a_request_is_signed_and_told_until_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("publish.key");
    fs::write(&key, KEY).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let status = Arc::new(AtomicU16::new(503));
    let answer = Arc::clone(&status);
    let fake = Fake::start(move |_| (answer.load(Ordering::Relaxed), String::new())).await;
    let entry = format!(
        "[[publish]]\nkind = \"http\"\nurl = \"{}/moved\"\nkey_file = \"publish.key\"\n\
         stores = {{ dedicated = \"eu-2\" }}\n",
        fake.url()
    );
    let told = publications(folder.path(), &entry);
    told.ready(moved(1).tenant).await.unwrap();
    let why = told.publish(&moved(3)).await.unwrap_err();
    assert!(why.contains("[[publish]] http") && why.contains("status 503"), "{why}");
    // 409: the receiver knows of a later switch.
    for acknowledges in [200, 204, 409] {
        status.store(acknowledges, Ordering::Relaxed);
        told.publish(&moved(u64::from(acknowledges))).await.unwrap();
    }
    let heard = fake.heard();
    // Once acknowledged, it is not published again.
    told.publish(&moved(409)).await.unwrap();
    assert_eq!(fake.heard().len(), heard.len());

    let request = heard.iter().find(|request| request.contains("\"epoch\":200")).unwrap();
    assert!(request.starts_with("POST /moved HTTP/1.1\r\n"), "{request}");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let signature = Key::read("", &key).unwrap().sign(&[body.as_bytes()]);
    assert!(head.contains(&format!("rehome-signature: sha256={signature}")), "{head}");
    let document: serde_json::Value = serde_json::from_str(body).unwrap();
    let wanted = serde_json::json!({
        "deployment": "d1", "tenant": "00000000-0000-0000-0000-000000000007",
        "name": "00000000-0000-0000-0000-000000000007", "from": "shared", "to": "eu-2",
        "epoch": 200, "migration": "00000000-0000-0000-0000-000000000009",
    });
    assert_eq!(document, wanted);
}

#[tokio::test]
async fn one_that_fails_keeps_no_other_from_being_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let entries = format!(
        "[[publish]]\nkind = \"http\"\nurl = \"http://127.0.0.1:1/\"\n\
         [[publish]]\nkind = \"command\"\n\
         command = [\"/bin/sh\", \"-c\", \"env | grep ^REHOME_ | sort >> {}\"]\n",
        told.display()
    );
    let both = publications(folder.path(), &entries);
    assert!(both.ready(moved(1).tenant).await.unwrap_err().contains("http://127.0.0.1:1"));
    for _ in 0..2 {
        let why = both.publish(&moved(3)).await.unwrap_err();
        assert!(why.starts_with("[[publish]] http: http://127.0.0.1:1"), "{why}");
    }
    // Once, although the failure of the other caused a second publication.
    let wanted = "REHOME_DEPLOYMENT=d1\nREHOME_EPOCH=3\nREHOME_FROM=shared\n\
        REHOME_MIGRATION=00000000-0000-0000-0000-000000000009\n\
        REHOME_TENANT=00000000-0000-0000-0000-000000000007\n\
        REHOME_TENANT_NAME=00000000-0000-0000-0000-000000000007\nREHOME_TO=dedicated\n";
    assert_eq!(fs::read_to_string(told).unwrap(), wanted);
}

#[tokio::test]
async fn what_a_program_says_is_told_harmlessly_and_one_that_hangs_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let command = |script: &str, within: &str| {
        let entry = format!(
            "[[publish]]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\nwithin = \"{within}\"\n"
        );
        publications(folder.path(), &entry)
    };
    let why = command("printf '\\\\033[31mno' >&2; exit 3", "10s").publish(&moved(3)).await;
    let why = why.unwrap_err();
    assert!(why.contains("exit status: 3") && why.contains("no"), "{why}");
    assert!(!why.contains('\u{1b}'), "{why:?}");
    let why = command("sleep 60", "50ms").publish(&moved(3)).await.unwrap_err();
    assert!(why.contains("did not end within 50ms"), "{why}");
    let missing = "[[publish]]\nkind = \"command\"\ncommand = \"/nowhere/tell\"\n";
    let why = publications(folder.path(), missing).publish(&moved(3)).await.unwrap_err();
    assert!(why.contains("/nowhere/tell"), "{why}");
}
