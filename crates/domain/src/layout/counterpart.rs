//! Which column of one adopted table is for the same as a column of another, and what a move between the two would lose.
//!
//! Columns are matched by the parts of an event that they have, and columns without such a part by their names. Each copied
//! column of either table needs a counterpart in the other, so a tenant that moves can return with all that was written since.

use super::{ColumnKind, FormColumn, Layout, Part, RowForm, RowOrder, Texts};

/// Why a tenant of the table of `source` cannot move to that of `target` without a loss, a sentence each; none: it can, and return.
pub fn losses(source: (&Layout, &RowForm), target: (&Layout, &RowForm)) -> Vec<String> {
    let mut found = source.0.differences(target.0);
    found.extend(source.1.differences(target.1));
    if found.is_empty() && source.0 != target.0 {
        let (exchanged, pairs) = (source.1.exchanged(target.1), source.1.pairs(target.1));
        let same_engine = source.1.texts == target.1.texts;
        found.extend(exchanged);
        found.extend(pairs.filter_map(|(ours, theirs)| other_texts(ours, theirs, same_engine)));
    }
    found
}

/// The columns whose counterparts have other names, as a sentence's part each.
pub fn renamed(source: &RowForm, target: &RowForm) -> Vec<String> {
    let others = source.pairs(target).filter(|(ours, theirs)| ours.name != theirs.name);
    others.map(|(ours, theirs)| format!("\"{}\" to \"{}\"", ours.name, theirs.name)).collect()
}

impl Layout {
    /// Why a tenant cannot move from a table of this layout to one of another, apart from the columns: a sentence each. It is
    /// the same in both directions.
    pub fn differences(&self, target: &Self) -> Vec<String> {
        if self == target {
            return Vec::new();
        }
        let mut found = Vec::new();
        let sides = [(self, target, "source", "target"), (target, self, "target", "source")];
        for (one, other, here, there) in sides {
            if let (Some(position), None) = (&one.position, &other.position) {
                found.push(format!(
                    "the {here} numbers its rows by column \"{position}\", and the layout of the {there} names no position: the \
                     order of events of different streams would be known to the guard only; name a `position` there"
                ));
            }
            for beside in one.beside.iter().filter(|beside| beside.stands_in_the_way()) {
                found.push(format!(
                    "the {here} has streams' heads in \"{}\", and its layout does not map their columns; name `stream_id` and \
                     `version` of the table",
                    beside.table
                ));
            }
            if let Some((beside, heads)) = one.heads()
                && !heads.travels.is_empty()
            {
                found.push(format!(
                    "column \"{}\" of the {here}'s table \"{}\" moves with the events of a stream, which works only between \
                     tables of one layout",
                    heads.travels.join("\", \""),
                    beside.table
                ));
            }
        }
        found
    }
}

impl RowForm {
    /// Why a row of `self` would not be the same row at `target`, a sentence each; none: it would be.
    pub fn differences(&self, target: &Self) -> Vec<String> {
        self.order_at(target).err().unwrap_or_default()
    }

    /// The order in which `target` digests rows of `self`, so that the digests of equal rows are equal. `None`: its own.
    ///
    /// Types are left to the servers between two tables in PostgreSQL with equally named columns: a value that changes on the
    /// way is found when it is read back.
    pub fn order_at(&self, target: &Self) -> Result<Option<RowOrder>, Vec<String>> {
        if let Some(why) = self.of_an_earlier_version(target) {
            return Err(vec![why]);
        }
        let mut found = Vec::new();
        let mut places = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            match target.columns.iter().position(|theirs| column.is_counterpart(theirs)) {
                Some(place) => places.push(place),
                None => found.push(lost(column, target)),
            }
        }
        for theirs in &target.columns {
            if !self.columns.iter().any(|ours| ours.is_counterpart(theirs)) {
                found.extend(self.without_value(theirs));
            }
        }
        if !found.is_empty() {
            return Err(found);
        }
        let pairs: Vec<(&FormColumn, &FormColumn)> =
            self.columns.iter().zip(places.iter().map(|&place| &target.columns[place])).collect();
        let is_of_servers = (self.texts, target.texts) == (Texts::Postgresql, Texts::Postgresql);
        if !(is_of_servers && pairs.iter().all(|(ours, theirs)| ours.name == theirs.name)) {
            let same_engine = self.texts == target.texts;
            found.extend(
                pairs.iter().filter_map(|(ours, theirs)| other_texts(ours, theirs, same_engine)),
            );
        }
        let order = RowOrder::new(places).map_err(|invalid| vec![invalid.to_string()]);
        if found.is_empty() { order } else { Err(found) }
    }

    /// Each column that has a counterpart, with it.
    fn pairs<'a>(
        &'a self,
        target: &'a Self,
    ) -> impl Iterator<Item = (&'a FormColumn, &'a FormColumn)> {
        let theirs = |ours: &FormColumn| target.columns.iter().find(|it| ours.is_counterpart(it));
        self.columns.iter().filter_map(move |ours| Some((ours, theirs(ours)?)))
    }

    /// Columns whose values would go to one another's, as if one of the two layouts had confused them: a sentence each.
    fn exchanged(&self, target: &Self) -> Vec<String> {
        let counterpart = |name: &str| {
            self.pairs(target).find(|(ours, _)| ours.name == name).map(|(_, it)| it.name.as_str())
        };
        let comes_back = |first: &str| {
            let mut at = counterpart(first)?;
            for _ in &self.columns {
                if at == first {
                    return Some(());
                }
                at = counterpart(at)?;
            }
            None
        };
        let crossed = self.pairs(target).filter(|(ours, theirs)| ours.name != theirs.name);
        crossed
            .filter(|(ours, _)| comes_back(&ours.name).is_some())
            .map(|(ours, theirs)| {
                format!(
                    "column \"{}\" would go to \"{}\", as both layouts name them {}, although the target has a column \"{}\" too: \
                     one of the layouts confuses them; correct it and adopt that store again, or rename the columns of one table",
                    ours.name,
                    theirs.name,
                    parts(&ours.parts),
                    ours.name
                )
            })
            .collect()
    }

    /// Why rows of a store that was adopted by an earlier version, with SQLite's own texts, are not compared.
    fn of_an_earlier_version(&self, target: &Self) -> Option<String> {
        let which = match (self.texts == Texts::Sqlite, target.texts == Texts::Sqlite) {
            (false, false) => return None,
            (true, false) => "the source was",
            (false, true) => "the target was",
            (true, true) => {
                let is_one = |(ours, theirs): (&FormColumn, &FormColumn)| {
                    ours.name == theirs.name && ours.parts == theirs.parts
                };
                let mut pairs = self.columns.iter().zip(&target.columns);
                if self.columns.len() == target.columns.len() && pairs.all(is_one) {
                    return None;
                }
                "both stores were"
            }
        };
        Some(format!(
            "{which} adopted by an earlier rehome, which compared the texts of SQLite only; while no migration \
             of it is under way, run `rehome store release` and `rehome store adopt` for it"
        ))
    }

    /// What is said of a column of the target that `self` has no counterpart for.
    fn without_value(&self, theirs: &FormColumn) -> Option<String> {
        let name = &theirs.name;
        if matches!(theirs.parts[..], [Part::Version(_)]) && self.version().is_some() {
            // The column of the source is named for it.
            return None;
        }
        Some(if theirs.parts.is_empty() {
            format!(
                "the target has a column \"{name}\", and rows of the source have no value for it; if it has a default or may be \
                 NULL, list it in `anew` of the target's layout, and adopt that store again"
            )
        } else {
            format!(
                "column \"{name}\" of the target would have no value: it is {}, and no column of the source's layout is",
                parts(&theirs.parts)
            )
        })
    }

    /// The column with nothing but the version, and the version of a stream's first event.
    fn version(&self) -> Option<(&str, u8)> {
        self.columns.iter().find_map(|column| match column.parts[..] {
            [Part::Version(first)] => Some((column.name.as_str(), first)),
            _ => None,
        })
    }
}

/// What is said of a column that `target` has no counterpart for.
fn lost(column: &FormColumn, target: &RowForm) -> String {
    let name = &column.name;
    if let [Part::Version(ours)] = column.parts[..]
        && let Some((theirs, first)) = target.version()
    {
        return format!(
            "column \"{name}\" would change: the versions of a stream begin at {ours} at the source, and in \"{theirs}\" of \
             the target at {first}; both layouts need the same `first_version`"
        );
    }
    let there = target.columns.iter().find(|theirs| theirs.name == *name);
    match there {
        None if column.parts.is_empty() => format!(
            "column \"{name}\" would be lost: the target has no such column; add it to the table there, and adopt that store again"
        ),
        _ if column.parts.is_empty() => format!(
            "column \"{name}\" would be lost: no part of an event is in it, and \"{name}\" of the target is {}",
            parts(there.map_or(&[], |theirs| &theirs.parts))
        ),
        _ => format!(
            "column \"{name}\" would be lost: it is {}, and no column of the target's layout is",
            parts(&column.parts)
        ),
    }
}

/// Parts of an event as a layout names them.
fn parts(parts: &[Part]) -> String {
    let names: Vec<String> = parts.iter().map(|part| format!("`{part}`")).collect();
    names.join(" and ")
}

/// Why a column and its counterpart have other texts for equal values.
fn other_texts(ours: &FormColumn, theirs: &FormColumn, same_engine: bool) -> Option<String> {
    let (name, kind) = (&ours.name, &ours.kind);
    if *kind != theirs.kind {
        let there = if *name == theirs.name {
            format!("{} at the target", theirs.kind)
        } else {
            format!("its counterpart \"{}\" at the target is {}", theirs.name, theirs.kind)
        };
        return Some(format!(
            "column \"{name}\" is {kind} at the source and {there}, whose values have other texts"
        ));
    }
    (matches!(kind, ColumnKind::Other(_)) && !same_engine).then(|| {
        format!("column \"{name}\" is {kind}, whose values rehome does not compare between SQLite and PostgreSQL")
    })
}

#[cfg(test)]
mod tests;
