//! The keys that order streams and positions, and that identify rows.

use rehome_domain::layout::{Layout, TenantPart};

use super::{Found, Severity};
use crate::catalog::{Kind, is_integer};
use crate::schema::names::quoted;

impl Found<'_> {
    /// Expected versions are judged by the table's own key, and by nothing else.
    pub(super) fn key(&mut self, layout: &Layout) {
        let table = self.table;
        let named = |name: &String| {
            layout.stream_id.contains(name)
                || layout.stream_type.as_ref() == Some(name)
                || layout.version == *name
                || matches!(&layout.tenant, TenantPart::Column(column) if column == name)
        };
        let has_both = |columns: &[String]| {
            columns.contains(&layout.version)
                && columns.iter().any(|name| layout.stream_id.contains(name))
        };
        let of_streams = || table.keys.iter().filter(|key| has_both(&key.columns));
        let strong = || of_streams().filter(|key| key.weak.is_none());
        let wanted: Vec<String> = match &layout.tenant {
            TenantPart::Column(name) => vec![name.clone()],
            TenantPart::Json { .. } | TenantPart::Prefix { .. } => Vec::new(),
        };
        let streams = layout.stream_type.iter().chain(&layout.stream_id);
        let mut wanted: Vec<String> =
            wanted.into_iter().chain(streams.cloned()).chain([layout.version.clone()]).collect();
        wanted.dedup();
        let wanted: Vec<_> = wanted.iter().map(|name| quoted(name)).collect();
        let make = format!(
            "CREATE UNIQUE INDEX CONCURRENTLY ON {} ({})",
            table.quoted(),
            wanted.join(", ")
        );
        if let Some(key) = strong().find(|key| key.columns.iter().all(named)) {
            self.row_key(layout, &key.name);
        } else if let Some(key) = strong().next() {
            let more: Vec<_> =
                key.columns.iter().filter(|name| !named(name)).map(|name| quoted(name)).collect();
            self.warn(format!(
                "the unique key {} contains {} beside stream and version: it prevents two events of one version \
                 in a stream only where these are equal{}",
                quoted(&key.name),
                more.join(", "),
                if table.kind == Kind::Partitioned { ", as partitioning requires" } else { "" }
            ));
            self.row_key(layout, &key.name);
        } else if let Some((key, weak)) = of_streams().find_map(|key| Some((key, key.weak?))) {
            self.refuse(format!(
                "the unique index {} over stream and version {}, so it does not always prevent two events of one version \
                 in a stream; {make}",
                quoted(&key.name),
                weak.as_str()
            ));
        } else {
            self.refuse(format!(
                "{} has no unique key over stream and version, so two writers can both write the same version \
                 of a stream; {make}",
                table.quoted()
            ));
        }
    }

    /// The guard names a row by a key with the position, the event's id or the version in it; the row has to
    /// have the same at the target, but for the position.
    fn row_key(&mut self, layout: &Layout, of_streams: &str) {
        let table = self.table;
        let wanted = [layout.position.as_ref(), layout.event_id.as_ref(), Some(&layout.version)];
        let mut strong = wanted.into_iter().flatten().filter_map(|column| {
            let mut keys: Vec<_> = table
                .keys
                .iter()
                .filter(|key| table.is_strong(key) && key.columns.contains(column))
                .collect();
            keys.sort_by_key(|key| key.columns.len());
            keys.first().copied()
        });
        let Some(key) = strong.next() else {
            let nullable = table.keys.iter().find(|key| key.name == of_streams).and_then(|key| {
                key.columns.iter().find(|name| table.column(name).is_some_and(|it| !it.not_null))
            });
            // The columns that name a stream were already reported.
            if let Some(name) = nullable
                && layout.version != *name
                && !layout.stream_id.contains(name)
                && layout.stream_type.as_ref() != Some(name)
            {
                let name_quoted = quoted(name);
                let text = format!(
                    "no unique key identifies every row: column {name_quoted} of the key {} may be NULL; ALTER \
                     TABLE {} ALTER COLUMN {name_quoted} SET NOT NULL, or create a key of columns that are never \
                     NULL",
                    quoted(of_streams),
                    table.quoted()
                );
                self.add(Severity::Refuse, Some(name), text);
            }
            return;
        };
        let stays = |name: &&String| {
            layout.position.as_ref() != Some(*name)
                && (layout.anew.contains(name) || table.is_generated(name))
        };
        if let Some(name) = key.columns.iter().find(stays) {
            let text = format!(
                "rows are identified by the key {}, whose column {} is not copied with a row; create a unique \
                 key without it",
                quoted(&key.name),
                quoted(name)
            );
            self.add(Severity::Refuse, Some(name), text);
        }
    }

    pub(super) fn position(&mut self, layout: &Layout) {
        let Some(name) = &layout.position else {
            if layout.recorded_at.is_none() && layout.occurred_at.is_none() {
                self.warn(
                    "the layout names no position and no time: for history of a tenant that was written before \
                     the table is adopted, only the order within each stream is certain"
                        .to_owned(),
                );
            }
            return;
        };
        let Some(column) = self.naming(name, "position", "a whole number", is_integer) else {
            return;
        };
        let (table, column_name) = (self.table, quoted(name));
        let in_keys =
            || table.keys.iter().filter(|key| table.is_strong(key) && key.columns.contains(name));
        let alone = in_keys().any(|key| key.columns.len() == 1);
        let with_partitions = in_keys().any(|key| {
            key.columns.iter().all(|it| it == name || table.partition_columns.contains(it))
        });
        if !alone && !with_partitions {
            let columns = std::iter::once(name).chain(&table.partition_columns);
            let columns: Vec<_> = columns.map(|name| quoted(name)).collect();
            let text = format!(
                "no unique key guarantees unique positions; CREATE UNIQUE INDEX ON {} \
                 ({}){}",
                table.quoted(),
                columns.join(", "),
                if column.not_null { "" } else { ", and SET NOT NULL" }
            );
            self.add(Severity::Refuse, Some(name), text);
        }
        match &column.sequence {
            Some(sequence) if sequence.cache > 1 => {
                let text = format!(
                    "the sequence {} of {column_name} caches {} numbers, so a later row may have an \
                     earlier position; ALTER SEQUENCE {} CACHE 1",
                    sequence.name, sequence.cache, sequence.name
                );
                self.add(Severity::Refuse, Some(name), text);
            }
            Some(sequence) if !sequence.may_draw => {
                let us = quoted(&table.role);
                let text = format!(
                    "role {us} may not draw positions from {}; GRANT USAGE ON SEQUENCE {} TO {us}",
                    sequence.name, sequence.name
                );
                self.add(Severity::Refuse, Some(name), text);
            }
            Some(_) => {}
            None => {
                let text = format!(
                    "{column_name} takes its values from no sequence, so rows that are copied into this table, \
                     also when a tenant returns, would have no position; give it one, or leave position out of \
                     the layout"
                );
                self.add(Severity::Refuse, Some(name), text);
            }
        }
    }
}
