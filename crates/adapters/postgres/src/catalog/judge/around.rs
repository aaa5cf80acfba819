//! The table as a whole, and its surroundings.

use super::Found;
use crate::adopted::TRIGGER;
use crate::catalog::{Action, Enabled, ForeignKey, Kind, Persistence, Trigger};
use crate::schema::names::quoted;

impl Found<'_> {
    /// Whether it can be examined further.
    pub(super) fn relation(&mut self) -> bool {
        let (table, name) = (self.table, self.table.quoted());
        if !matches!(table.kind, Kind::Plain | Kind::Partitioned) {
            self.refuse(format!(
                "{name} is {}; a guard needs triggers for every row, so name the underlying table",
                table.kind.as_str()
            ));
            return false;
        }
        if table.persistence != Persistence::Permanent {
            self.refuse(lost(&name, table.persistence));
        }
        for part in &table.partitions {
            if !matches!(part.kind, Kind::Plain | Kind::Partitioned) {
                self.refuse(format!(
                    "its partition {} is {}, which cannot have the guard's triggers; detach it",
                    part.name,
                    part.kind.as_str()
                ));
            } else if part.persistence != Persistence::Permanent {
                self.refuse(lost(&part.name, part.persistence));
            }
        }
        for child in &table.children {
            self.refuse(format!(
                "{child} inherits from {name} but is not a partition: its rows appear in {name} but do not fire its \
                 triggers; ALTER TABLE {child} NO INHERIT {name}, or make it a partition"
            ));
        }
        for parent in &table.parents {
            self.refuse(format!("{name} is a partition of {parent}; name {parent} in the layout"));
        }
        for rule in &table.rules {
            self.refuse(format!(
                "{name} has the rule {}, which may rewrite an INSERT; DROP RULE {} ON {name}",
                quoted(rule),
                quoted(rule)
            ));
        }
        true
    }

    /// Placeholders of the guard's statements are written with braces.
    pub(super) fn names(&mut self) {
        let table = self.table;
        let names = [&table.schema, &table.name].into_iter();
        let all = names.chain(table.columns.iter().map(|column| &column.name));
        for bad in all.filter(|name| name.contains(['{', '}'])) {
            self.refuse(format!("the name {} contains braces; rename it", quoted(bad)));
        }
    }

    pub(super) fn use_schema(&mut self) {
        let (schema, us) = (quoted(&self.table.schema), quoted(&self.table.role));
        if !self.table.rights.use_schema {
            self.refuse(format!(
                "role {us} may not use schema {schema}; GRANT USAGE ON SCHEMA {schema} TO {us}"
            ));
        }
    }

    pub(super) fn rights(&mut self) {
        let (table, name, us) = (self.table, self.table.quoted(), quoted(&self.table.role));
        let rights = &table.rights;
        self.use_schema();
        if !rights.owns {
            self.refuse(format!(
                "role {us} does not own {name}, and only the owner of a table can keep a trigger on it enabled \
                 always; GRANT {} TO {us}",
                quoted(&table.owner)
            ));
        }
        for part in table.partitions.iter().filter(|part| !part.owns && rights.owns) {
            let part = &part.name;
            self.refuse(format!(
                "role {us} does not own {part}, a partition, which gets triggers too; ALTER TABLE {part} \
                 OWNER TO {}",
                quoted(&table.owner)
            ));
        }
        self.rows_rights(&["SELECT", "INSERT", "DELETE", "TRIGGER"]);
        if !rights.create_schema {
            let database = quoted(&table.database);
            self.refuse(format!(
                "role {us} may not create the guard's schema in database {database}; GRANT CREATE ON \
                 DATABASE {database} TO {us}"
            ));
        }
    }

    /// What rehome's role needs of the table's rows.
    pub(super) fn rows_rights(&mut self, needed: &[&str]) {
        let (table, name, us) = (self.table, self.table.quoted(), quoted(&self.table.role));
        let lacks: Vec<_> =
            table.rights.lacks.iter().copied().filter(|right| needed.contains(right)).collect();
        if !lacks.is_empty() {
            let lacks = lacks.join(", ");
            self.refuse(format!(
                "role {us} lacks {lacks} on {name}; GRANT {lacks} ON {name} TO {us}"
            ));
        }
        if table.hides_rows {
            self.refuse(format!(
                "row level security hides rows of {name} from role {us}; ALTER ROLE {us} BYPASSRLS, or ALTER \
                 TABLE {name} NO FORCE ROW LEVEL SECURITY where {us} owns it"
            ));
        }
    }

    /// `guarded`: the guard's own triggers are on it too.
    pub(super) fn triggers(&mut self, guarded: bool) {
        let silent = self.table.may_silence;
        let theirs = self.table.triggers.iter().filter(|it| !it.name.starts_with(TRIGGER));
        for trigger in theirs.filter(|it| it.enabled != Enabled::Never) {
            let Trigger { name, table, function, when, enabled } = trigger;
            let name = quoted(name);
            if guarded
                && when.starts_with("BEFORE")
                && when.ends_with("ROW")
                && trigger.name.as_str() > TRIGGER
            {
                self.refuse(format!(
                    "trigger {name} on {table} ({when}) fires after the guard's, and could change the row that the \
                     guard has accepted; give it a name that sorts before {TRIGGER}: ALTER TRIGGER {name} ON {table} RENAME TO ..."
                ));
                continue;
            }
            let fires = match enabled {
                Enabled::Always | Enabled::Replicating => {
                    "it also fires for rows that are copied into this table; if it reports new events to others, \
                     ENABLE it without ALWAYS or REPLICA"
                }
                _ if silent => "it does not fire for rows that are copied into this table",
                _ => {
                    "it also fires for rows that are copied into this table: rehome's role may not prevent it \
                     (from PostgreSQL 15: GRANT SET ON PARAMETER session_replication_role)"
                }
            };
            self.warn(format!("trigger {name} on {table} ({when}, calls {function}): {fires}"));
        }
    }

    /// `with`: the other table whose rows move with this one's, if there is one.
    pub(super) fn foreign_keys(&mut self, schema: &str, with: Option<&str>) {
        let name = self.table.quoted();
        let with = with.map(|table| [schema, table]);
        for ForeignKey { name: key, outgoing, other, on_delete, on_update } in
            &self.table.foreign_keys
        {
            let key = quoted(key);
            let follows = [on_delete, on_update].into_iter().any(|it| *it != Action::Refuse);
            let goes_along = with.is_some_and(|with| is_written(other, with));
            if !outgoing && goes_along {
                continue;
            }
            if !outgoing {
                self.warn(format!(
                    "{other} points to {name} (foreign key {key}): its rows do not move with the tenant, and {}",
                    match on_delete {
                        Action::Cascade => "are deleted when the old rows are purged",
                        Action::Unset => "point to NULL when the old rows are purged",
                        Action::Refuse => "prevent the purge of the old rows",
                    }
                ));
                continue;
            }
            self.warn(if goes_along {
                format!("{name} points to {other} (foreign key {key}), whose rows go with the events")
            } else {
                format!(
                    "{name} points to {other} (foreign key {key}): the target needs those rows before the copy"
                )
            });
            if follows {
                self.warn(format!(
                    "a DELETE or UPDATE of {other} changes rows of {name} (foreign key {key}): while a tenant \
                     is guarded, it is refused if it affects the tenant's rows"
                ));
            }
        }
    }
}

/// Whether a text names this schema and table, as the catalog writes them: quoted where it has to be.
fn is_written(text: &str, [schema, table]: [&str; 2]) -> bool {
    let ways = |name: &str| [name.to_owned(), quoted(name)];
    let tables = ways(table);
    ways(schema).iter().any(|schema| tables.iter().any(|it| text == format!("{schema}.{it}")))
}

fn lost(name: &str, persistence: Persistence) -> String {
    match persistence {
        Persistence::Temporary => {
            format!("{name} is a temporary table, which ends with its session")
        }
        Persistence::Unlogged | Persistence::Permanent => {
            format!("{name} is unlogged, so a crash empties it; ALTER TABLE {name} SET LOGGED")
        }
    }
}
