//! Tenants under the guard: their rows, and the numbers that their events get.

use rehome_domain::digest::{Digest, sha256};
use rehome_domain::ids::TenantId;
use rehome_domain::layout::{RowOrder, tenant_of};
use rehome_domain::ledger::{Head, Ledger};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::install::Table;
use super::shape::not_set_up;
use crate::error::FileError;
use crate::file::Turn;
use crate::rows::{self, TenantNo};

type Done<T> = Result<T, FileError>;

/// Rows numbered between two checks of the clock.
const ROWS_PER_LOOK: u64 = 32;

/// How far the guarding of a tenant has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The triggers guard it. The order of its numbers is not decided yet.
    Announced,
    /// Its history is numbered in the order of positions.
    History,
    /// All rows without a number are arrivals.
    Noted,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::History => "history",
            Self::Noted => "noted",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Announced, Self::History, Self::Noted];
        all.into_iter().find(|phase| phase.as_str() == text)
    }
}

/// A tenant's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guarded {
    pub(super) no: TenantNo,
    /// What the table calls it.
    pub(super) key: String,
    pub(super) ledger: Ledger,
    /// The switch away from here is published.
    pub(super) settled: bool,
    pub(super) phase: Phase,
    pub(super) history_from: i64,
    pub(super) history_to: i64,
    pub(super) floor: i64,
    /// In which order its rows are digested; `None`: the table's own.
    pub(super) order: Option<RowOrder>,
}

const COLUMNS: &str = "tenant_no, role, epoch, seq, digest, key, settled, phase, history_from, history_to, floor, row_order";

impl Guarded {
    /// The tenant's row, if it is guarded.
    pub(super) fn find(conn: &Connection, tenant: TenantId) -> Done<Option<Self>> {
        let sql = format!("SELECT {COLUMNS} FROM rehome_guard_tenants WHERE tenant = ?1");
        let mut statement = conn.prepare_cached(&sql)?;
        let mut found = statement.query([tenant.as_bytes().as_slice()])?;
        let Some(row) = found.next()? else { return Ok(None) };
        let (no, ledger) = rows::ledger(row)?;
        let phase = row.get_ref(7)?.as_str()?;
        Ok(Some(Self {
            no,
            ledger,
            key: row.get(5)?,
            settled: row.get(6)?,
            phase: Phase::parse(phase)
                .ok_or_else(|| FileError::corrupt(format!("the phase \"{phase}\"")))?,
            history_from: row.get(8)?,
            history_to: row.get(9)?,
            floor: row.get(10)?,
            order: order(row.get(11)?)?,
        }))
    }

    /// Begins to guard a tenant, whose history ends at `last`.
    pub(super) fn add(
        tx: &Transaction<'_>,
        tenant: TenantId,
        key: &str,
        ledger: Ledger,
        phase: Phase,
        last: i64,
    ) -> Done<Self> {
        // The numbers of one whose guard has gone may still be there.
        let highest = "SELECT coalesce(max(tenant_no), 0) FROM \
             (SELECT tenant_no FROM rehome_guard_tenants UNION ALL SELECT tenant_no FROM rehome_guard_leaving)";
        let highest: i64 = tx.prepare_cached(highest)?.query_row([], |row| row.get(0))?;
        let guarded = Self {
            no: TenantNo::after(highest)?,
            key: key.to_owned(),
            ledger,
            settled: false,
            phase,
            history_from: i64::MIN,
            history_to: last,
            floor: last,
            order: None,
        };
        tx.prepare_cached(
            "INSERT INTO rehome_guard_tenants (tenant_no, tenant, key, role, epoch, seq, digest, settled, phase, \
             history_from, history_to, floor) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9, ?10, ?10)",
        )?
        .execute((
            guarded.no.number(),
            tenant.as_bytes().as_slice(),
            key,
            ledger.role.as_str(),
            rows::int(ledger.epoch.0)?,
            rows::int(ledger.head.seq)?,
            ledger.head.digest.as_bytes().as_slice(),
            phase.as_str(),
            guarded.history_from,
            last,
        ))?;
        Ok(guarded)
    }

    /// Writes the row that is there.
    pub(super) fn save(&self, tx: &Transaction<'_>) -> Done<()> {
        tx.prepare_cached(
            "UPDATE rehome_guard_tenants SET role = ?2, epoch = ?3, seq = ?4, digest = ?5, settled = ?6, phase = ?7, \
             history_from = ?8, floor = ?9, row_order = ?10 WHERE tenant_no = ?1",
        )?
        .execute((
            self.no.number(),
            self.ledger.role.as_str(),
            rows::int(self.ledger.epoch.0)?,
            rows::int(self.ledger.head.seq)?,
            self.ledger.head.digest.as_bytes().as_slice(),
            self.settled,
            self.phase.as_str(),
            self.history_from,
            self.floor,
            self.order.as_ref().map(RowOrder::to_string),
        ))?;
        Ok(())
    }

    /// Whether rows wait for a number.
    pub(super) fn is_behind(&self, conn: &Connection) -> Done<bool> {
        Ok(self.phase != Phase::Noted || self.arrivals(conn)? > 0)
    }

    /// How many rows came in and have no number.
    pub(super) fn arrivals(&self, conn: &Connection) -> Done<u64> {
        let sql = "SELECT count(*) FROM rehome_guard_arrivals WHERE tenant_no = ?1";
        conn.prepare_cached(sql)?.query_row([self.no.number()], |row| Ok(rows::count(row, 0)))?
    }

    /// How many rows the table has beyond a position, and the last one's position.
    pub(super) fn count_rows(
        conn: &Connection,
        table: &Table,
        key: &str,
        beyond: i64,
    ) -> Done<(u64, Option<i64>)> {
        let mut statement = conn.prepare_cached(&table.sql.count)?;
        let (count, last) =
            statement.query_row((key, beyond), |row| Ok((rows::count(row, 0), row.get(1)?)))?;
        Ok((count?, last))
    }

    /// How many numbers there are of positions beyond one.
    pub(super) fn count_numbers(&self, conn: &Connection, beyond: i64) -> Done<u64> {
        let sql = "SELECT count(*) FROM rehome_guard_positions WHERE position > ?3 AND place > ?1 AND place <= ?2";
        let range = (self.no.position(0), self.no.last_position(), beyond);
        conn.prepare_cached(sql)?.query_row(range, |row| Ok(rows::count(row, 0)))?
    }

    /// The position of the row with the last number.
    pub(super) fn last_numbered(&self, conn: &Connection) -> Done<i64> {
        let sql = "SELECT position FROM rehome_guard_positions WHERE place = ?1";
        let place = self.no.position(self.ledger.head.seq);
        let found = conn.prepare_cached(sql)?.query_row([place], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(i64::MIN))
    }

    /// Gives numbers to up to `max` rows, in the order in which they came, for as long as `turn` lasts. Answers how
    /// many got one. The caller saves the row.
    pub(super) fn number(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table,
        max: u64,
        turn: Option<&Turn>,
    ) -> Done<u64> {
        let mut numbered = 0;
        if self.phase == Phase::History {
            numbered = self.number_history(tx, table, max, turn)?;
            if numbered > 0 {
                return Ok(numbered);
            }
            self.phase = Phase::Noted;
        }
        if self.phase == Phase::Noted {
            numbered = self.number_arrivals(tx, table, max, turn)?;
        }
        Ok(numbered)
    }

    fn number_history(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table,
        max: u64,
        turn: Option<&Turn>,
    ) -> Done<u64> {
        let mut statement = tx.prepare_cached(&table.sql.history)?;
        let range = (&self.key.clone(), self.history_from, self.history_to, rows::int(max)?);
        let mut found = statement.query(range)?;
        let mut numbered = 0;
        while let Some(row) = found.next()? {
            let position = row.get(0)?;
            let digest = table.rows.whole(row, 1, self.order.as_ref())?.digest();
            self.add_number(tx, position, &digest)?;
            self.history_from = position;
            numbered += 1;
            if is_over(turn, numbered) {
                break;
            }
        }
        Ok(numbered)
    }

    fn number_arrivals(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table,
        max: u64,
        turn: Option<&Turn>,
    ) -> Done<u64> {
        let mut statement = tx.prepare_cached(&table.sql.arrivals)?;
        let mut found = statement.query((self.no.number(), rows::int(max)?))?;
        let (mut numbered, mut last) = (0, 0);
        while let Some(row) = found.next()? {
            last = row.get::<_, i64>(0)?;
            let position: i64 = row.get(1)?;
            if row.get::<_, Option<i64>>(2)?.is_none() {
                return Err(FileError::corrupt(format!(
                    "row {position} of its table was recorded and is missing"
                )));
            }
            let digest = table.rows.whole(row, 3, self.order.as_ref())?.digest();
            self.add_number(tx, position, &digest)?;
            numbered += 1;
            if is_over(turn, numbered) {
                break;
            }
        }
        drop(found);
        if numbered > 0 {
            tx.prepare_cached(
                "DELETE FROM rehome_guard_arrivals WHERE tenant_no = ?1 AND id <= ?2",
            )?
            .execute((self.no.number(), last))?;
            forget_clashes(tx)?;
        }
        Ok(numbered)
    }

    fn add_number(&mut self, tx: &Transaction<'_>, position: i64, row: &Digest) -> Done<()> {
        let Head { seq, digest } = self.ledger.head;
        let seq = seq + 1;
        let digest = sha256(&[digest.as_bytes(), &seq.to_be_bytes(), row.as_bytes()]);
        add_position(tx, self.no.new_position(seq)?, position, &digest)?;
        self.ledger.head = Head { seq, digest };
        self.floor = self.floor.max(position);
        Ok(())
    }

    /// The stored digest of number `seq`.
    pub(super) fn digest_at(&self, conn: &Connection, seq: u64) -> Done<Option<Digest>> {
        if seq == 0 {
            return Ok(Some(Digest::EMPTY));
        }
        let sql = "SELECT digest FROM rehome_guard_positions WHERE place = ?1";
        let mut statement = conn.prepare_cached(sql)?;
        let mut found = statement.query([self.no.position(seq)])?;
        found.next()?.map(|row| rows::digest(row, 0)).transpose()
    }
}

fn is_over(turn: Option<&Turn>, done: u64) -> bool {
    turn.is_some_and(|turn| done.is_multiple_of(ROWS_PER_LOOK) && turn.is_over())
}

fn order(text: Option<String>) -> Done<Option<RowOrder>> {
    let read = |text: String| {
        text.parse().map_err(|_| FileError::corrupt(format!("the order \"{text}\" of columns")))
    };
    text.map(read).transpose()
}

/// Notes where the event at `place` is.
pub(super) fn add_position(
    tx: &Transaction<'_>,
    place: i64,
    position: i64,
    digest: &Digest,
) -> Done<()> {
    let sql = "INSERT INTO rehome_guard_positions (place, position, digest) VALUES (?1, ?2, ?3)";
    tx.prepare_cached(sql)?.execute((place, position, digest.as_bytes().as_slice()))?;
    Ok(())
}

/// Deletes records of writers without an effect. A transaction that removes rows must do this: otherwise the next writer would
/// treat the rows as replaced.
pub(super) fn forget_clashes(tx: &Transaction<'_>) -> Done<()> {
    tx.prepare_cached("DELETE FROM rehome_guard_clashes")?.execute([])?;
    Ok(())
}

/// What the table calls a tenant of which no other store knows the name.
pub(super) fn key_of(conn: &Connection, table: &Table, tenant: TenantId) -> Done<Option<String>> {
    let own = tenant.uuid().hyphenated().to_string();
    if Guarded::count_rows(conn, table, &own, i64::MIN)?.0 > 0 {
        return Ok(Some(own));
    }
    let mut statement = conn.prepare(&table.sql.keys)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        // A name that is no text is no tenant's: nothing compares equal to it.
        let Ok(key) = row.get::<_, String>(0) else { continue };
        if tenant_of(&key) == tenant {
            return Ok(Some(key));
        }
    }
    // A derived id does not contain the name; any other is the name.
    Ok((tenant.uuid().get_version_num() != 5).then_some(own))
}

/// Refuses where rows of the table have no number and no arrival: they came around the triggers.
pub(super) fn refuse_strays(rows: u64, known: u64, tenant: TenantId) -> Done<()> {
    if rows == known {
        return Ok(());
    }
    Err(not_set_up(format!(
        "its table has {rows} rows of tenant {tenant} but the guard has recorded {known}: a connection wrote with triggers \
         disabled; the tenant is not switched until the store is released and adopted again"
    )))
}
