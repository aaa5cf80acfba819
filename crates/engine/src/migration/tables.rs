//! What stands in the way of a move where events are in tables of other libraries.

use rehome_domain::ids::TenantId;
use rehome_domain::layout::{Layout, RowForm, losses, renamed};
use rehome_ports::{LedgerStore, StoreError};

use super::plan::Finding;

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

    /// What of the rows here would be lost in rehome's own tables, and the way to get them there, as a sentence.
    fn in_own_tables(&self) -> String {
        let columns = self.form.columns.iter().filter(|column| column.parts.is_empty());
        let names: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
        let names = names.join(", ");
        let lost = if names.is_empty() { names } else { format!(", which would lose {names}") };
        format!(
            "the source has layout {}, the target tables of rehome's own{lost}: the digests of a history differ there, so it is \
             not moved but imported, with `rehome import --from URL --layout LAYOUT --follow`; its writers then append \
             through rehome",
            self.layout.name
        )
    }
}

/// What is said where the target is adopted, and the source is not.
const TO_ADOPTED: &str = "the source has tables of rehome's own, and the target a table of another library, which writes it; move \
    the tenant to a store with tables of rehome's own";

/// Which tables source and target have, as a finding's detail; `None`: both have rehome's own. `Err`: no tenant moves
/// between them.
pub(crate) fn named(
    source: Option<&Adopted>,
    target: Option<&Adopted>,
) -> Option<Result<String, String>> {
    Some(match (source, target) {
        (None, None) => return None,
        (Some(ours), None) => Err(ours.in_own_tables()),
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
    add("both tables are adopted", named.is_ok(), named.unwrap_or_else(|why| why));
    if let (Some(ours), Some(theirs)) = &tables {
        let lost = ours.losses(theirs);
        let found =
            if lost.is_empty() { source.not_kept(tenant, &theirs.form).await? } else { lost };
        let ok = found.is_empty();
        let detail = if ok { arrives(&ours.form, &theirs.form) } else { found.join("; ") };
        add("a row is the same row at the target", ok, detail);
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
        let ok = rows == Some(0) || !beside.stands_in_the_way();
        add("a table beside the events", ok, beside.on_a_move(rows));
    }
    Ok(())
}
