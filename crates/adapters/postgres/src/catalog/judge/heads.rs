//! The table of streams' heads, whose rows a copy writes and a cut removes. The guard has no trigger on it.

use rehome_domain::layout::{Heads, Layout};

use super::{Finding, Found, Severity};
use crate::catalog::{Given, Table};
use crate::schema::names::quoted;

/// What keeps the heads of a layout from going with the events, and remarks; obstacles first. `table`: as the catalog has it,
/// `None` if it is not there. Nothing, where the layout has no such table.
pub fn judge_heads(layout: &Layout, table: Option<&Table>) -> Vec<Finding> {
    let Some((beside, heads)) = layout.heads() else { return Vec::new() };
    let Some(table) = table else {
        let text = format!(
            "there is no table {}.{}, which layout \"{}\" names as that of streams' heads",
            quoted(&layout.schema),
            quoted(&beside.table),
            layout.name
        );
        return vec![Finding { severity: Severity::Refuse, column: None, text }];
    };
    let mut found = Found { table, findings: Vec::new() };
    if !found.relation() {
        return found.findings;
    }
    found.names();
    found.use_schema();
    found.rows_rights(&["SELECT", "INSERT", "UPDATE", "DELETE"]);
    found.of_heads(layout, heads);
    found.triggers(false);
    found.foreign_keys(&layout.schema, Some(&layout.table));
    found.findings.sort_by_key(|finding| finding.severity);
    found.findings
}

impl Found<'_> {
    fn of_heads(&mut self, layout: &Layout, heads: &Heads) {
        let (table, name) = (self.table, self.table.quoted());
        let key: Vec<&String> = heads.stream_id.iter().chain(&heads.same).collect();
        let written: Vec<&String> =
            key.iter().copied().chain([&heads.version]).chain(&heads.travels).collect();
        for &column in &written {
            let Some(found) = self.column(column, "heads of streams") else { continue };
            if found.given == Given::Generated {
                let text = format!(
                    "column {} of {name} is generated, so a copy cannot write it; leave it out of the layout",
                    quoted(column)
                );
                self.add(Severity::Refuse, Some(column), text);
            }
        }
        for column in table.columns.iter().filter(|column| !written.contains(&&column.name)) {
            if column.not_null && column.given == Given::Nothing {
                let text = format!(
                    "column {} of {name} has no default and may not be NULL, but a copy does not write it; list it in \
                     travels, or give it a default",
                    quoted(&column.name)
                );
                self.add(Severity::Refuse, Some(&column.name), text);
            }
        }
        let mut of_key: Vec<&str> = key.iter().map(|column| column.as_str()).collect();
        of_key.sort_unstable();
        let is_key = |unique: &&crate::catalog::Key| {
            let mut columns: Vec<&str> = unique.columns.iter().map(String::as_str).collect();
            columns.sort_unstable();
            table.is_strong(unique) && columns == of_key
        };
        if !table.keys.iter().any(|unique| is_key(&unique)) {
            self.refuse(format!(
                "its table {name} has no unique key of the NOT NULL columns {}, which the layout names as the key of \
                 streams' heads",
                of_key.join(", ")
            ));
        }
        if layout.tenant_of_heads().is_none() {
            self.refuse(format!(
                "the layout does not say whose a row of {name} is, so nothing shows whether a target has heads of a tenant; \
                 name its column with the tenant as `tenant`, and list it in same or travels"
            ));
        }
    }
}
