use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_engine::{Hooks as _, Occasion, On};
use rehome_ports::TenantNames;
use uuid::Uuid;

use super::ConfiguredHooks;
use crate::config::Config;
use crate::http::fake::Fake;

/// The hooks of a file with these entries.
fn hooks(folder: &Path, entries: &str) -> Result<ConfiguredHooks, String> {
    let file = folder.join("rehome.toml");
    let rest = "[control_plane]\nurl = \"sqlite:c.db\"\n[[stores]]\nid = \"shared\"\nurl = \"sqlite:a.db\"\n";
    fs::write(&file, format!("{rest}{entries}")).unwrap();
    let config = Config::load_from(Some(&file), []).map_err(|error| error.to_string())?;
    let hooks = ConfiguredHooks::new(&config.hooks, "d1", &TenantNames::default());
    Ok(hooks.unwrap().unwrap())
}

fn occasion(on: On) -> Occasion {
    Occasion {
        on,
        tenant: TenantId::new(Uuid::from_u128(7)),
        from: "shared".parse().unwrap(),
        to: "dedicated".parse().unwrap(),
        migration: MigrationId::new(Uuid::from_u128(9)),
        epoch: Epoch(4),
        entry: 12,
        at: Timestamp::from_micros(1_700_000_000_000_000),
        actor: "ops".to_owned(),
        why: Some("the disk is full".to_owned()),
    }
}

fn command(on: &str, script: &str, rest: &str) -> String {
    format!(
        "[[hooks]]\nname = \"h\"\non = \"{on}\"\nkind = \"command\"\n\
         command = [\"/bin/sh\", \"-c\", '{script}']\n{rest}\n"
    )
}

#[tokio::test]
async fn a_request_vetoes_with_409_and_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let status = Arc::new(AtomicU16::new(200));
    let answers = Arc::clone(&status);
    let fake = Fake::start(move |_| {
        (
            answers.load(Ordering::Relaxed),
            "{\"reason\": \"frozen\\u001b[31m until monday\"}".to_owned(),
        )
    })
    .await;
    let entry = |on_error: &str| {
        format!(
            "[[hooks]]\nname = \"calendar\"\non = [\"before_start\", \"before_cutover\"]\nkind = \"http\"\n\
             url = \"{}\"\n{on_error}\n",
            fake.url()
        )
    };
    let vetoes = hooks(folder.path(), &entry("")).unwrap();
    vetoes.ask(&occasion(On::BeforeStart)).await.unwrap();
    status.store(409, Ordering::Relaxed);
    let veto = vetoes.ask(&occasion(On::BeforeCutover)).await.unwrap_err();
    assert_eq!(veto.hook, "calendar");
    assert!(veto.why.starts_with("frozen") && !veto.why.contains('\u{1b}'), "{:?}", veto.why);
    status.store(500, Ordering::Relaxed);
    let veto = vetoes.ask(&occasion(On::BeforeCutover)).await.unwrap_err();
    assert!(veto.why.contains("status 500"), "{}", veto.why);
    let ignores = hooks(folder.path(), &entry("on_error = \"ignore\"")).unwrap();
    ignores.ask(&occasion(On::BeforeCutover)).await.unwrap();
    status.store(409, Ordering::Relaxed);
    ignores.ask(&occasion(On::BeforeCutover)).await.unwrap_err();
    // It is not for anything else.
    ignores.ask(&Occasion { on: On::AfterStart, ..occasion(On::AfterStart) }).await.unwrap();
    assert!(ignores.listeners().is_empty());
}

#[tokio::test]
async fn a_program_reads_the_document_and_vetoes_with_exit_code_75() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("document");
    let script = format!("cat > {}; printenv REHOME_ON >&2; exit 75", written.display());
    let asked = hooks(folder.path(), &command("before_cutover", &script, "")).unwrap();
    let veto = asked.ask(&occasion(On::BeforeCutover)).await.unwrap_err();
    assert_eq!((veto.hook.as_str(), veto.why.as_str()), ("h", "before_cutover"));
    let document: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&written).unwrap()).unwrap();
    let wanted = serde_json::json!({
        "id": "00000000-0000-0000-0000-000000000009/12/before_cutover",
        "on": "before_cutover", "hook": "h", "deployment": "d1",
        "tenant": "00000000-0000-0000-0000-000000000007",
        "name": "00000000-0000-0000-0000-000000000007", "from": "shared", "to": "dedicated",
        "migration": "00000000-0000-0000-0000-000000000009", "epoch": 4, "entry": 12,
        "at": "2023-11-14T22:13:20.000000Z", "actor": "ops", "reason": "the disk is full",
    });
    assert_eq!(document, wanted);
    // What hangs or is not there is an error, and that is a veto unless the configuration says otherwise.
    for (script, rest, part) in [
        ("exec sleep 60", "within = \"50ms\"", "did not end within 50ms"),
        ("exit 1", "", "exit status: 1"),
    ] {
        let strict = hooks(folder.path(), &command("before_cutover", script, rest)).unwrap();
        let veto = strict.ask(&occasion(On::BeforeCutover)).await.unwrap_err();
        assert!(veto.why.contains(part), "{}", veto.why);
        let rest = format!("{rest}\non_error = \"ignore\"");
        let lenient = hooks(folder.path(), &command("before_cutover", script, &rest)).unwrap();
        lenient.ask(&occasion(On::BeforeCutover)).await.unwrap();
    }
}

#[tokio::test]
async fn what_has_happened_is_acknowledged_by_a_program_that_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let fails = hooks(folder.path(), &command("failed", "echo no; exit 3", "")).unwrap();
    assert_eq!(fails.listeners(), ["h"]);
    assert!(fails.hears("h", On::Failed) && !fails.hears("h", On::Aborted));
    let why = fails.notify("h", &occasion(On::Failed)).await.unwrap_err();
    assert!(why.contains("exit status: 3") && why.contains("no"), "{why}");
    // One that does not read its document acknowledges as well.
    let done = hooks(folder.path(), &command("failed", "exit 0", "")).unwrap();
    done.notify("h", &occasion(On::Failed)).await.unwrap();
}

#[test]
fn a_hook_that_cannot_be_meant_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let good = "kind = \"command\"\ncommand = \"x\"\n";
    for (entry, part) in [
        (format!("on = \"failed\"\n{good}"), "hooks.name is missing"),
        (format!("name = \"a b\"\non = \"failed\"\n{good}"), "hooks.name must be"),
        (format!("name = \"a\"\n{good}"), "hooks.on is missing"),
        (format!("name = \"a\"\non = \"lunch\"\n{good}"), "hooks.on must be some of before_start"),
        ("name = \"a\"\non = \"failed\"\nkind = \"http\"\n".to_owned(), "hooks.url is missing"),
        (
            "name = \"a\"\non = \"failed\"\nkind = \"http\"\nurl = \"http://h\"\ncommand = \"x\"\n"
                .to_owned(),
            "hooks.command does not apply to kind \"http\"",
        ),
        (
            format!("name = \"a\"\non = \"failed\"\non_error = \"veto\"\n{good}"),
            "hooks.on_error applies to before_ hooks only",
        ),
        (
            format!(
                "name = \"a\"\non = \"failed\"\n{good}[[hooks]]\nname = \"a\"\non = \"failed\"\n{good}"
            ),
            "hooks.name \"a\" appears twice",
        ),
    ] {
        let refused = hooks(folder.path(), &format!("[[hooks]]\n{entry}"));
        let why = refused.err().unwrap_or_else(|| panic!("{entry} is taken"));
        assert!(why.contains(part), "{why}");
    }
}
