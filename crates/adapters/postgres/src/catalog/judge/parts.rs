//! The columns, one by one.

use rehome_domain::layout::{Layout, TenantPart};

use super::{Found, Severity};
use crate::catalog::types::{is_object, is_of_little_meaning_elsewhere, is_of_the_database};
use crate::catalog::{Column, Given, is_integer, is_name, is_text, is_time};
use crate::schema::names::quoted;

impl Found<'_> {
    /// A column that names something. The guard reads it before the row is written, when what the database
    /// computes is not there yet.
    pub(super) fn naming(
        &mut self,
        name: &str,
        part: &str,
        wanted: &str,
        fits: fn(&Column) -> bool,
    ) -> Option<Column> {
        let column = self.column(name, part)?.clone();
        if !fits(&column) {
            self.wrong_type(&column, part, wanted);
        }
        if column.given == Given::Generated {
            let text = format!(
                "column {} is generated, and a BEFORE ROW trigger does not see its value; it cannot be the \
                 {part}: name the column from which it is computed",
                quoted(name)
            );
            self.add(Severity::Refuse, Some(name), text);
        }
        Some(column)
    }

    pub(super) fn tenant(&mut self, layout: &Layout) {
        let part = "tenant";
        let (name, nullable) = match &layout.tenant {
            TenantPart::Column(name) => {
                let wanted = "a uuid, a text, a whole number or an enumeration";
                let column = self.naming(name, part, wanted, is_name);
                (name, column.is_some_and(|column| !column.not_null))
            }
            TenantPart::Json { column: name, .. } => {
                let Some(column) = self.naming(name, part, "json, jsonb or a text", is_object)
                else {
                    return;
                };
                if is_text(&column) {
                    let text = format!(
                        "column {} is {}: once the table is adopted, a row in which it is not JSON is refused",
                        quoted(name),
                        column.kind
                    );
                    self.add(Severity::Warn, Some(name), text);
                }
                (name, !column.not_null)
            }
            TenantPart::Prefix { separator } => {
                let Some(name) = layout.stream_id.first() else { return };
                if let Some(column) = self.table.column(name)
                    && !is_text(column)
                {
                    let column = column.clone();
                    let wanted = format!("a text that contains \"{separator}\"");
                    self.wrong_type(&column, "stream id with the tenant before it", &wanted);
                }
                return;
            }
        };
        if nullable {
            let text = format!(
                "column {} may be NULL: such rows belong to no tenant, are not guarded and never move",
                quoted(name)
            );
            self.add(Severity::Warn, Some(name), text);
        }
    }

    pub(super) fn stream(&mut self, layout: &Layout) {
        let wanted = "a uuid, a text, a whole number or an enumeration";
        let columns = layout.stream_type.iter().map(|name| (name, "stream type"));
        let columns = columns.chain(layout.stream_id.iter().map(|name| (name, "stream id")));
        for (name, part) in columns {
            let Some(column) = self.naming(name, part, wanted, is_name) else { continue };
            self.not_null(&column, part);
        }
        let version = self.naming(&layout.version, "version", "a whole number", is_integer);
        if let Some(column) = version {
            self.not_null(&column, "version");
        }
    }

    fn not_null(&mut self, column: &Column, part: &str) {
        if column.not_null {
            return;
        }
        let (name, table) = (quoted(&column.name), self.table.quoted());
        let text = format!(
            "column {name} may be NULL, and an event without its {part} has no place in a stream; ALTER TABLE \
             {table} ALTER COLUMN {name} SET NOT NULL"
        );
        self.add(Severity::Refuse, Some(&column.name), text);
    }

    pub(super) fn event(&mut self, layout: &Layout) {
        if let Some(name) = &layout.event_id
            && let Some(column) = self.column(name, "event id").cloned()
            && column.base != "uuid"
        {
            let text = format!(
                "column {} is {}, not a uuid: it is copied unchanged, and events are shown with ids that are derived \
                 from stream and version",
                quoted(name),
                column.kind
            );
            self.add(Severity::Warn, Some(name), text);
        }
        if let Some(column) = self.column(&layout.event_type, "event type").cloned() {
            if !is_name(&column) {
                self.wrong_type(&column, "event type", "a text, an enumeration or a whole number");
            } else if !column.not_null {
                let text = format!(
                    "column {} may be NULL; an event without a type cannot be read, and fails a copy",
                    quoted(&column.name)
                );
                self.add(Severity::Warn, Some(&column.name), text);
            }
        }
        let times = [
            (&layout.occurred_at, "time of occurring"),
            (&layout.recorded_at, "time of recording"),
        ];
        for (name, part) in times {
            let Some(name) = name else { continue };
            let Some(column) = self.column(name, part).cloned() else { continue };
            if !is_time(&column) {
                let text = format!(
                    "column {} is {}, which cannot be read as a time: it is copied unchanged, and events are shown \
                     without a {part}",
                    quoted(name),
                    column.kind
                );
                self.add(Severity::Warn, Some(name), text);
            }
        }
        self.column(&layout.data, "data");
        if let Some(name) = &layout.metadata {
            self.column(name, "metadata");
        }
        for name in &layout.anew {
            let Some(column) = self.table.column(name) else {
                let text = format!(
                    "{} has no column {}, so the target cannot compute it",
                    self.table.quoted(),
                    quoted(name)
                );
                self.add(Severity::Warn, Some(name), text);
                continue;
            };
            let stamped = column.base == "xid8";
            if column.not_null && column.given == Given::Nothing && !stamped {
                let text = format!(
                    "column {} is in anew and has no default; give it one, or let it \
                     travel",
                    quoted(name)
                );
                self.add(Severity::Refuse, Some(name), text);
            }
        }
    }

    /// Every other column travels as it is, and some should not.
    pub(super) fn of_the_database(&mut self, layout: &Layout) {
        let table = self.table;
        let stays = |column: &&Column| {
            column.given == Given::Generated
                || layout.anew.contains(&column.name)
                || layout.position.as_ref() == Some(&column.name)
        };
        for column in table.columns.iter().filter(|column| !stays(column)) {
            let name = quoted(&column.name);
            let alone = table
                .keys
                .iter()
                .any(|key| key.columns.len() == 1 && key.columns[0] == column.name);
            if is_of_the_database(column) {
                let text = format!(
                    "column {name} ({}) contains values that are valid in this database only, such as a transaction \
                     id; copied, it would hide rows from their readers: list it in anew",
                    column.kind
                );
                self.add(Severity::Refuse, Some(&column.name), text);
            } else if is_of_little_meaning_elsewhere(column) {
                let text = format!(
                    "column {name} is {}, whose values may mean something else in another database",
                    column.kind
                );
                self.add(Severity::Warn, Some(&column.name), text);
            } else if let Some(sequence) = &column.sequence {
                let text = format!(
                    "column {name} takes its values from {}, is copied with a row, and may collide with the same number \
                     at the target; name it as position, or list it in anew",
                    sequence.name
                );
                let severity = if alone { Severity::Refuse } else { Severity::Warn };
                self.add(severity, Some(&column.name), text);
            }
        }
    }
}
