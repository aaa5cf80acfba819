//! What stands in the way of a move where events are in tables of other libraries.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rehome_domain::event::Event;
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::layout::{Layout, RowForm, losses, renamed};
use rehome_domain::stream::StreamName;
use rehome_ports::{BatchLimit, Fault, FaultKind, LedgerStore, StoreError};
use tokio::time::Instant;

use super::plan::Finding;

/// How long events are looked at; a copy refuses what was not looked at.
const LOOK_FOR: Duration = Duration::from_secs(1);

/// The table of an adopted store.
pub(crate) struct Adopted {
    layout: Layout,
    form: RowForm,
}

impl Adopted {
    /// `None`: the store has tables of rehome's own.
    pub(crate) async fn of(store: &dyn LedgerStore) -> Result<Option<Self>, StoreError> {
        let (Some(layout), Some(form)) = (store.layout().await?, store.row_form().await?) else {
            return Ok(None);
        };
        Ok(Some(Self { layout, form }))
    }

    /// What of the rows here would be lost at `target`, a sentence each.
    pub(crate) fn losses(&self, target: &Self) -> Vec<String> {
        losses((&self.layout, &self.form), (&target.layout, &target.form))
    }

    /// What of the rows here is kept in rehome's own tables without being a part of an event, and what stays in the table, as a
    /// sentence.
    fn in_own_tables(&self) -> String {
        let columns = self.form.columns.iter().filter(|column| column.parts.is_empty());
        let of_rows = quoted(columns.map(|column| &column.name));
        let stays = quoted(self.layout.position.iter().chain(&self.layout.anew));
        let mut texts = vec!["each row is kept with its event".to_owned()];
        if !of_rows.is_empty() {
            texts.push(format!(
                "in the row only, and neither in the API nor in an export: {of_rows}"
            ));
        }
        if !stays.is_empty() {
            texts.push(format!("not copied, because it is of this table: {stays}"));
        }
        texts.join("; ")
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// What is said where the target is adopted, and the source is not.
const TO_ADOPTED: &str = "the source has tables of rehome's own, and the target a table of another library, which writes it; move \
    the tenant to a store with tables of rehome's own";

/// What is said of a rollback window where no tenant can return.
pub(crate) const ONE_WAY: &str = "a tenant that moves from a table of another library into rehome's own cannot return, because \
    what is appended there has no rows for that table; set the rollback window to 0s";

/// Whether a tenant that moves cannot return: what is appended in rehome's own tables has no rows for another library's.
pub(crate) const fn is_one_way(source: Option<&Adopted>, target: Option<&Adopted>) -> bool {
    source.is_some() && target.is_none()
}

/// Which tables source and target have, as a finding's detail; `None`: both have rehome's own. `Err`: no tenant moves
/// between them.
pub(crate) fn named(
    source: Option<&Adopted>,
    target: Option<&Adopted>,
) -> Option<Result<String, String>> {
    Some(match (source, target) {
        (None, None) => return None,
        (Some(ours), None) => {
            Ok(format!("layout {} at the source, rehome's own at the target", ours.layout.name))
        }
        (None, Some(_)) => Err(TO_ADOPTED.to_owned()),
        (Some(ours), Some(theirs)) if ours.layout == theirs.layout => {
            Ok(format!("layout {}", ours.layout.name))
        }
        (Some(ours), Some(theirs)) => {
            let (ours, theirs) = (&ours.layout.name, &theirs.layout.name);
            Ok(format!("layout {ours} at the source, layout {theirs} at the target"))
        }
    })
}

/// What is said where nothing is lost: which column goes to which, where the names differ.
fn arrives(source: &RowForm, target: &RowForm) -> String {
    let renamed = renamed(source, target);
    if renamed.is_empty() {
        return "every column arrives".to_owned();
    }
    format!("every column arrives: {}, the others to columns of their names", renamed.join(", "))
}

/// Why events cannot be in rehome's own tables, a sentence for the first that is found; events are read for a short time only.
async fn not_own(store: &dyn LedgerStore, tenant: TenantId) -> Result<Option<String>, StoreError> {
    let began = Instant::now();
    let (mut after, mut seen) = (0, Seen::default());
    while began.elapsed() < LOOK_FOR {
        let events = match store.read_feed(tenant, after, BatchLimit::PAGE).await {
            Ok(feed) => feed.events,
            Err(StoreError::Fault(Fault { kind: FaultKind::Corrupt(why), .. })) => {
                return Ok(Some(format!("not every row is an event: {why}")));
            }
            Err(error) => return Err(error),
        };
        let Some(last) = events.last() else { break };
        after = last.seq;
        if let Some(why) = events.iter().find_map(|event| seen.refuses(event)) {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// The events that were looked at.
#[derive(Default)]
struct Seen {
    versions: HashMap<StreamName, u64>,
    ids: HashSet<EventId>,
}

impl Seen {
    fn refuses(&mut self, event: &Event) -> Option<String> {
        let (stream, seq, is) = (&event.stream, event.seq, event.version);
        let version = self.versions.entry(stream.clone()).or_default();
        *version += 1;
        if *version != is {
            return Some(format!(
                "event {seq} has version {is} in stream {stream}, whose next version is {version}: rehome's own tables need the \
                 versions of a stream from 1 on, without gaps"
            ));
        }
        let is_new = self.ids.insert(event.id);
        (!is_new).then(|| {
            format!("event {seq} has the id of an event before it: rehome's own tables need an id for each event")
        })
    }
}

/// The obstacles if the events are in tables of other libraries.
pub(super) async fn find(
    tenant: TenantId,
    source: &dyn LedgerStore,
    target: &dyn LedgerStore,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let mut add = |check, ok, detail| findings.push(Finding { check, ok, detail });
    let tables = (Adopted::of(source).await?, Adopted::of(target).await?);
    let Some(named) = named(tables.0.as_ref(), tables.1.as_ref()) else { return Ok(()) };
    let one_way = is_one_way(tables.0.as_ref(), tables.1.as_ref());
    let check =
        if one_way { "rows go into rehome's own tables" } else { "both tables are adopted" };
    add(check, named.is_ok(), named.unwrap_or_else(|why| why));
    match &tables {
        (Some(ours), Some(theirs)) => {
            let lost = ours.losses(theirs);
            let found =
                if lost.is_empty() { source.not_kept(tenant, &theirs.form).await? } else { lost };
            let ok = found.is_empty();
            let detail = if ok { arrives(&ours.form, &theirs.form) } else { found.join("; ") };
            add("a row is the same row at the target", ok, detail);
        }
        (Some(ours), None) => {
            let refused = not_own(source, tenant).await?;
            let ok = refused.is_none();
            add("rows are kept", ok, refused.unwrap_or_else(|| ours.in_own_tables()));
            let detail = "none: the tenant cannot return, and the move has no rollback window; until the switch it can be aborted. \
                After it the tenant is written through rehome";
            add("the way back", true, detail.to_owned());
        }
        (None, _) => {}
    }
    let mut obstacles = Vec::new();
    for store in [source, target] {
        let found = store.obstacles(tenant).await?;
        obstacles.extend(found.into_iter().map(|why| format!("store {}: {why}", store.id())));
    }
    let ok = obstacles.is_empty();
    let detail = if ok { "no obstacles".to_owned() } else { obstacles.join("; ") };
    add("the tables are as they were adopted", ok, detail);
    for (beside, rows) in source.beside(tenant).await? {
        let (ok, detail) = if one_way {
            (true, beside.on_a_move_into_own(rows))
        } else {
            let ok = rows == Some(0) || !beside.stands_in_the_way();
            (ok, beside.on_a_move(rows))
        };
        add("a table beside the events", ok, detail);
    }
    Ok(())
}
