//! One database: another library's table, and the guard beside it.
//!
//! This is the committed state. The uncommitted state of a transaction is in its writer
//! ([`crate::writer`]), so that a rollback or a death leaves nothing to undo.

/// The tenant's ledger at this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts inserts.
    Active,
    /// Fenced for a cutover that is not decided yet: READ COMMITTED writers wait.
    Paused,
    /// Another store has the authority, and may be replicated to this one: inserts are refused.
    Refusing,
}

/// The guard of the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// The role.
    pub role: Role,
    /// Which writing of the row that has the role this is: what a snapshot is compared with.
    pub version: u8,
    /// How often that row was written for another reason than its role.
    pub touched: u8,
}

/// A committed row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Which event it is.
    pub event: u8,
    /// Its stream.
    pub stream: u8,
    /// Its version in the stream.
    pub version: u8,
    /// The table's own position.
    pub position: u8,
    /// The transaction that inserted it.
    pub xid: u8,
    /// The number that the AFTER trigger drew for it, if there was one.
    pub arrival: Option<u8>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Database {
    /// The guard, where the tenant has one.
    pub guard: Option<Guard>,
    /// How often the row that has the role was written, over all guardings.
    pub roles: u8,
    /// How often the tenant was guarded: a sequence, which no snapshot hides.
    pub guardings: u8,
    /// The table, in the order of commits.
    pub rows: Vec<Row>,
    /// The events by number: what the ledger's head counts.
    pub numbers: Vec<u8>,
    /// The last arrival that was numbered.
    pub cursor: u8,
    /// The highest position that a copy wrote.
    pub floor: u8,
    /// The highest position of a committed row of another tenant.
    pub others: u8,
    /// The last position drawn.
    pub position: u8,
    /// The last transaction id drawn.
    pub xid: u8,
    /// The last arrival drawn.
    pub arrival: u8,
    /// The triggers are enabled.
    pub triggers: bool,
    /// Changes of the triggers and the table since the guard was installed.
    pub changed: bool,
    /// A fence that a crash would undo.
    pub unsynced: bool,
}

impl Database {
    /// A database whose table has these events, inserted before there was a guard.
    pub fn with(events: u8, streams: u8) -> Self {
        let mut database = Self { triggers: true, ..Self::default() };
        for event in 0..events {
            let stream = event % streams;
            let position = database.draw_position();
            database.xid += 1;
            let version = database.version(stream) + 1;
            let xid = database.xid;
            database.rows.push(Row { event, stream, version, position, xid, arrival: None });
        }
        database
    }

    /// The role, where the tenant is guarded.
    pub fn role(&self) -> Option<Role> {
        self.guard.map(|guard| guard.role)
    }

    /// Sets the role in a transaction of its own.
    pub fn set_role(&mut self, role: Role) {
        self.roles += 1;
        self.guard = Some(Guard { role, version: self.roles, touched: 0 });
    }

    /// Draws a position.
    pub fn draw_position(&mut self) -> u8 {
        self.position += 1;
        self.position
    }

    /// The stream's last committed version.
    pub fn version(&self, stream: u8) -> u8 {
        let versions = self.rows.iter().filter(|row| row.stream == stream).map(|row| row.version);
        versions.max().unwrap_or(0)
    }

    /// The row of an event.
    pub fn row(&self, event: u8) -> Option<&Row> {
        self.rows.iter().find(|row| row.event == event)
    }

    /// The rows that have no number, and an arrival or none.
    pub fn unnumbered(&self, arrived: bool) -> Vec<Row> {
        let rows = self
            .rows
            .iter()
            .filter(|row| row.arrival.is_some() == arrived && !self.numbers.contains(&row.event));
        rows.copied().collect()
    }
}
