//! Which column could be what: first by the unique keys, then by types, then by names.

use rehome_postgres::catalog::{
    Column, Given, Key, Table, is_integer, is_name, is_of_the_database, is_payload, is_time,
};

use super::words::{
    DATA_WORDS, EVENT_ID_WORDS, EVENT_TYPE_WORDS, METADATA_WORDS, OCCURRED_WORDS, POSITION_WORDS,
    RECORDED_WORDS, STREAM_TYPE_WORDS, STREAM_WORDS, TENANT_WORDS, VERSION_WORDS, has_word, plain,
};

/// A column, and why.
pub(super) type Guess = Option<(String, String)>;

/// The guesses so far.
pub(super) struct Columns<'a> {
    pub(super) table: &'a Table,
    taken: Vec<String>,
    pub(super) tenant: Guess,
    pub(super) streams: Vec<String>,
    pub(super) stream_why: String,
    pub(super) stream_type: Guess,
    pub(super) version: Guess,
    pub(super) first: (u8, String),
    pub(super) position: Guess,
    pub(super) event_id: Guess,
    pub(super) event_type: Guess,
    pub(super) occurred: Guess,
    pub(super) recorded: Guess,
    pub(super) data: Guess,
    pub(super) metadata: Guess,
    pub(super) anew: Vec<String>,
}

impl<'a> Columns<'a> {
    /// Guesses the columns, from the most to the least certain.
    pub(super) fn of(table: &'a Table) -> Self {
        let mut this = Self {
            table,
            taken: Vec::new(),
            tenant: None,
            streams: Vec::new(),
            stream_why: String::new(),
            stream_type: None,
            version: None,
            first: (
                1,
                "no row contradicts it; 0 if the first event of a stream has that version"
                    .to_owned(),
            ),
            position: None,
            event_id: None,
            event_type: None,
            occurred: None,
            recorded: None,
            data: None,
            metadata: None,
            anew: Vec::new(),
        };
        this.anew = table
            .columns
            .iter()
            .filter(|it| is_of_the_database(it))
            .map(|it| it.name.clone())
            .collect();
        this.taken.clone_from(&this.anew);
        this.position = this.position();
        this.take(&this.position.clone());
        this.tenant = this.tenant();
        this.take(&this.tenant.clone());
        this.stream();
        this.event_id = this.event_id();
        this.take(&this.event_id.clone());
        this.event_type = this.named(EVENT_TYPE_WORDS, is_name, "");
        this.take(&this.event_type.clone());
        if this.stream_type.is_none() {
            this.stream_type = this.named(STREAM_TYPE_WORDS, is_name, "");
            this.take(&this.stream_type.clone());
        }
        this.times();
        this.metadata = this.named(METADATA_WORDS, is_payload, "");
        this.take(&this.metadata.clone());
        this.data = this.data();
        this.take(&this.data.clone());
        this
    }

    fn take(&mut self, guess: &Guess) {
        self.taken.extend(guess.iter().map(|(name, _)| name.clone()));
    }

    fn free(&self) -> impl Iterator<Item = &'a Column> {
        let taken = self.taken.clone();
        self.table.columns.iter().filter(move |column| !taken.contains(&column.name))
    }

    /// The likeliest by its name among those that fit.
    fn named(&self, words: &[&str], fits: fn(&Column) -> bool, more: &str) -> Guess {
        let of =
            |word: &&str| self.free().find(|column| fits(column) && plain(&column.name) == **word);
        let column = words.iter().find_map(of)?;
        Some((column.name.clone(), format!("by its name; it is {}{more}", column.kind)))
    }

    /// A number from a sequence that identifies rows.
    fn position(&self) -> Guess {
        let drawn = || self.free().filter(|column| is_integer(column) && column.sequence.is_some());
        let alone = |column: &&Column| {
            self.table.keys.iter().any(|key| {
                key.weak.is_none()
                    && key.columns.contains(&column.name)
                    && key.columns.iter().all(|name| {
                        *name == column.name || self.table.partition_columns.contains(name)
                    })
            })
        };
        if let Some(column) = drawn().find(alone) {
            let why = "a number from a sequence, with a unique key".to_owned();
            return Some((column.name.clone(), why));
        }
        let word = |word: &&str| drawn().find(|column| plain(&column.name) == **word);
        let column = POSITION_WORDS.iter().find_map(word)?;
        let why = "a number from a sequence, by its name; no unique key confirms it".to_owned();
        Some((column.name.clone(), why))
    }

    /// A column that is called tenant, or something that may be one; of several the first in a unique key.
    fn tenant(&self) -> Guess {
        let names = || self.free().filter(|column| is_name(column));
        if let Some(column) = names().find(|it| plain(&it.name).starts_with("tenant")) {
            return Some((column.name.clone(), format!("by its name; it is {}", column.kind)));
        }
        let mut maybe: Vec<&Column> =
            names().filter(|column| has_word(&column.name, TENANT_WORDS)).collect();
        let place = |column: &&Column| {
            let keys = self.table.keys.iter().filter(|key| key.columns.len() > 1);
            let places =
                keys.filter_map(|key| key.columns.iter().position(|it| *it == column.name));
            let word = TENANT_WORDS.iter().position(|word| *word == plain(&column.name));
            (places.min().unwrap_or(usize::MAX), word)
        };
        maybe.sort_by_key(place);
        let (first, others) = maybe.split_first()?;
        let others: Vec<_> = others.iter().map(|column| column.name.as_str()).collect();
        let or = if others.is_empty() {
            String::new()
        } else {
            format!("; it could be {}, too", others.join(" or "))
        };
        let why = format!("UNCERTAIN: no column is called tenant; it is {}{or}", first.kind);
        Some((first.name.clone(), why))
    }

    /// The unique key that prevents two events of one version in a stream.
    fn stream(&mut self) {
        let Some((key, version)) = self.stream_key() else {
            self.version = self.named(VERSION_WORDS, is_integer, "; no unique key confirms it");
            self.take(&self.version.clone());
            if let Some((name, why)) =
                self.named(STREAM_WORDS, is_name, "; no unique key confirms it")
            {
                self.taken.push(name.clone());
                self.streams.push(name);
                self.stream_why = why;
            }
            return;
        };
        let why = format!(
            "the whole number in the unique key {} over {}",
            key.name,
            key.columns.join(", ")
        );
        self.taken.push(version.clone());
        self.version = Some((version.clone(), why));
        let is_tenant =
            |name: &String| self.tenant.as_ref().is_some_and(|(tenant, _)| tenant == name);
        let mut streams = Vec::new();
        for name in key.columns.iter().filter(|name| **name != version && !is_tenant(name)) {
            let Some(column) = self.table.column(name) else { continue };
            if self.table.partition_columns.contains(name) && !has_word(name, STREAM_WORDS) {
                continue;
            }
            if has_word(name, STREAM_TYPE_WORDS) && is_name(column) {
                self.stream_type =
                    Some((name.clone(), format!("by its name, in the unique key {}", key.name)));
            } else if is_name(column) {
                streams.push(name.clone());
            }
        }
        self.stream_why = format!("with the version in the unique key {}", key.name);
        self.taken.extend(streams.iter().cloned());
        self.take(&self.stream_type.clone());
        self.streams = streams;
    }

    /// A key of two columns or more with a whole number that comes from no sequence: by its name, or the last
    /// one.
    fn stream_key(&self) -> Option<(&'a Key, String)> {
        let numbers = |key: &Key| -> Vec<String> {
            let is_number = |name: &&String| {
                self.table.column(name).is_some_and(|it| is_integer(it) && it.sequence.is_none())
            };
            key.columns.iter().filter(is_number).cloned().collect()
        };
        let keys = self.table.keys.iter().filter(|key| key.weak.is_none() && key.columns.len() > 1);
        let keys: Vec<_> = keys
            .filter(|key| {
                !self.position.as_ref().is_some_and(|(name, _)| key.columns.contains(name))
            })
            .map(|key| (key, numbers(key)))
            .filter(|(_, numbers)| !numbers.is_empty())
            .collect();
        let word = |word: &&str| {
            keys.iter().find_map(|(key, numbers)| {
                let name = numbers.iter().rev().find(|name| plain(name) == **word)?;
                Some((*key, name.clone()))
            })
        };
        let last = || keys.first().and_then(|(key, numbers)| Some((*key, numbers.last()?.clone())));
        VERSION_WORDS.iter().find_map(word).or_else(last)
    }

    fn event_id(&self) -> Guess {
        let unique = |column: &&Column| {
            let others =
                |name: &String| *name == column.name || self.table.partition_columns.contains(name);
            self.table.keys.iter().any(|key| {
                key.weak.is_none()
                    && key.columns.contains(&column.name)
                    && key.columns.iter().all(others)
            })
        };
        let uuid = || self.free().filter(|column| column.base == "uuid");
        if let Some(column) = uuid().find(unique) {
            return Some((column.name.clone(), "a uuid with a unique key".to_owned()));
        }
        self.named(EVENT_ID_WORDS, |column| column.base == "uuid", "; no unique key confirms it")
    }

    fn times(&mut self) {
        let now = |column: &Column| {
            let default = match &column.given {
                Given::Default(default) => default.as_str(),
                Given::Nothing | Given::Identity | Given::Generated => "",
            };
            ["now()", "CURRENT_TIMESTAMP", "clock_timestamp", "statement_timestamp"]
                .iter()
                .any(|word| default.contains(word))
        };
        self.recorded = self.named(RECORDED_WORDS, is_time, "").or_else(|| {
            let column = self.free().find(|column| is_time(column) && now(column))?;
            Some((column.name.clone(), "a time that the database sets".to_owned()))
        });
        self.take(&self.recorded.clone());
        self.occurred = self.named(OCCURRED_WORDS, is_time, "").or_else(|| {
            let mut times = self.free().filter(|column| is_time(column));
            let (first, more) = (times.next()?, times.next());
            let why = "the only other time".to_owned();
            more.is_none().then(|| (first.name.clone(), why))
        });
        self.take(&self.occurred.clone());
    }

    fn data(&self) -> Guess {
        self.named(DATA_WORDS, is_payload, "").or_else(|| {
            let made =
                |column: &&Column| matches!(column.base.as_str(), "jsonb" | "json" | "bytea");
            let column = self.free().find(made)?;
            Some((column.name.clone(), format!("the first unused {} column", column.kind)))
        })
    }

    /// The version's column, if its rows can show the first version.
    pub(super) fn known_version(&self) -> Option<&str> {
        self.version.as_ref().map(|(name, _)| name.as_str())
    }

    /// What the lowest version of some rows is.
    pub(super) fn lowest(&mut self, lowest: i64) {
        let why = format!("the lowest version of a thousand rows is {lowest}");
        match lowest {
            0 => self.first = (0, why),
            1 => self.first = (1, why),
            _ => {}
        }
    }
}
