//! The table as a whole, and what is around it.

use super::Found;
use crate::adopted::TRIGGER;
use crate::catalog::{Action, Enabled, ForeignKey, Kind, Persistence, Trigger};
use crate::schema::names::quoted;

impl Found<'_> {
    /// Whether it is something that can be looked at further.
    pub(super) fn relation(&mut self) -> bool {
        let (table, name) = (self.table, self.table.quoted());
        if !matches!(table.kind, Kind::Plain | Kind::Partitioned) {
            self.refuse(format!(
                "{name} is {}; a guard needs triggers that see every row, so name the table itself",
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
                    "its partition {} is {}, which has no triggers of ours; detach it",
                    part.name,
                    part.kind.as_str()
                ));
            } else if part.persistence != Persistence::Permanent {
                self.refuse(lost(&part.name, part.persistence));
            }
        }
        for child in &table.children {
            self.refuse(format!(
                "{child} inherits from {name} and is no partition: its rows are seen in {name} and have no \
                 trigger of it; ALTER TABLE {child} NO INHERIT {name}, or make it a partition"
            ));
        }
        for parent in &table.parents {
            self.refuse(format!("{name} is a part of {parent}; name {parent} in the layout"));
        }
        for rule in &table.rules {
            self.refuse(format!(
                "{name} has the rule {}, which may turn an INSERT into something else; DROP RULE {} ON {name}",
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
            self.refuse(format!("the name {} has braces in it; rename it", quoted(bad)));
        }
    }

    pub(super) fn rights(&mut self) {
        let (table, name, us) = (self.table, self.table.quoted(), quoted(&self.table.role));
        let rights = &table.rights;
        if !rights.use_schema {
            let schema = quoted(&table.schema);
            self.refuse(format!(
                "role {us} may not use schema {schema}; GRANT USAGE ON SCHEMA {schema} TO {us}"
            ));
        }
        if !rights.owns {
            self.refuse(format!(
                "role {us} does not own {name}, and only who owns a table may keep a trigger on it enabled \
                 always; GRANT {} TO {us}",
                quoted(&table.owner)
            ));
        }
        for part in table.partitions.iter().filter(|part| !part.owns && rights.owns) {
            let part = &part.name;
            self.refuse(format!(
                "role {us} does not own {part}, a partition, and triggers are put on it too; ALTER TABLE {part} \
                 OWNER TO {}",
                quoted(&table.owner)
            ));
        }
        if !rights.lacks.is_empty() {
            let lacks = rights.lacks.join(", ");
            self.refuse(format!(
                "role {us} lacks {lacks} on {name}; GRANT {lacks} ON {name} TO {us}"
            ));
        }
        if !rights.create_schema {
            let database = quoted(&table.database);
            self.refuse(format!(
                "role {us} may not make a schema for the guard in database {database}; GRANT CREATE ON \
                 DATABASE {database} TO {us}"
            ));
        }
        if table.hides_rows {
            self.refuse(format!(
                "row level security hides rows of {name} from role {us}; ALTER ROLE {us} BYPASSRLS, or ALTER \
                 TABLE {name} NO FORCE ROW LEVEL SECURITY where {us} owns it"
            ));
        }
    }

    pub(super) fn triggers(&mut self) {
        let silent = self.table.may_silence;
        let theirs = self.table.triggers.iter().filter(|it| !it.name.starts_with(TRIGGER));
        for trigger in theirs.filter(|it| it.enabled != Enabled::Never) {
            let Trigger { name, table, function, when, enabled } = trigger;
            let name = quoted(name);
            if when.starts_with("BEFORE")
                && when.ends_with("ROW")
                && trigger.name.as_str() > TRIGGER
            {
                self.refuse(format!(
                    "trigger {name} on {table} ({when}) fires after the guard's, and could change what the \
                     guard has seen; give it a name before {TRIGGER}: ALTER TRIGGER {name} ON {table} RENAME TO ..."
                ));
                continue;
            }
            let fires = match enabled {
                Enabled::Always | Enabled::Replicating => {
                    "it fires for rows that are copied into this table, too; where it tells others of new events, \
                     ENABLE it without ALWAYS or REPLICA"
                }
                _ if silent => "it stays silent for rows that are copied into this table",
                _ => {
                    "it fires for rows that are copied into this table, too: our role may not keep it from that \
                     (from PostgreSQL 15: GRANT SET ON PARAMETER session_replication_role)"
                }
            };
            self.warn(format!("trigger {name} on {table} ({when}, calls {function}): {fires}"));
        }
    }

    pub(super) fn foreign_keys(&mut self) {
        let name = self.table.quoted();
        for ForeignKey { name: key, outgoing, other, on_delete, on_update } in
            &self.table.foreign_keys
        {
            let key = quoted(key);
            let follows = [on_delete, on_update].into_iter().any(|it| *it != Action::Refuse);
            if !outgoing {
                self.warn(format!(
                    "{other} points to {name} (foreign key {key}): its rows do not move with the tenant, and {}",
                    match on_delete {
                        Action::Cascade => "go when the old rows are purged",
                        Action::Unset => "point to nothing when the old rows are purged",
                        Action::Refuse => "keep the old rows from being purged",
                    }
                ));
                continue;
            }
            self.warn(format!(
                "{name} points to {other} (foreign key {key}): the target needs those rows before the copy"
            ));
            if follows {
                self.warn(format!(
                    "a DELETE or UPDATE of {other} changes rows of {name} (foreign key {key}): while a tenant \
                     is guarded, it is refused where it meets the tenant's rows"
                ));
            }
        }
    }
}

fn lost(name: &str, persistence: Persistence) -> String {
    match persistence {
        Persistence::Temporary => {
            format!("{name} is a temporary table, which goes with its session")
        }
        Persistence::Unlogged | Persistence::Permanent => {
            format!("{name} is unlogged, so a crash empties it; ALTER TABLE {name} SET LOGGED")
        }
    }
}
