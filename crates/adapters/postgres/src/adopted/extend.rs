//! Copying complete rows: into their table by COPY, with the target's own positions, and into the guard's tables.

use bytes::{BufMut as _, Bytes, BytesMut};
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::RowOrder;
use rehome_domain::ledger::{Head, Ledger};
use tokio_postgres::types::Type;

use super::kept::Values;
use super::{Answer, PgAdopted, change, kept, shape};
use crate::error::ServerError;
use crate::ledger_store::extend::{chained, fitting};
use crate::ledger_store::lock_holder::{LOOK_AFTER_MS, Wait};
use crate::rows::{self, Read, get};
use crate::schema::names::quoted;
use crate::server::{Client, Transaction};

/// Who holds the tenant's row and has stopped.
const HOLDERS: &str = "SELECT h.pid, h.done FROM {schema}.holders($1) AS h";
/// Bytes that are sent at once.
const PIECE: usize = 64 << 10;

/// Whether our role may keep a table's own triggers from firing: a copied row is no new fact.
pub(super) async fn may_hush(client: &mut Client) -> Read<bool> {
    // PostgreSQL 15 made it a right that can be granted.
    let found = client
        .read(
            "SELECT r.rolsuper, current_setting('server_version_num')::int >= 150000 \
             FROM pg_roles AS r WHERE r.rolname = current_user",
            &[],
        )
        .await?;
    let Some(row) = found.first() else { return Ok(false) };
    if get(row, 0)? {
        return Ok(true);
    }
    if !get(row, 1)? {
        return Ok(false);
    }
    let granted = client
        .read("SELECT has_parameter_privilege('session_replication_role', 'SET')", &[])
        .await?;
    granted.first().map_or(Ok(false), |row| get(row, 0))
}

impl PgAdopted {
    /// In this transaction the table's own triggers do not fire, if rehome's role may disable them; the guard's are
    /// ENABLE ALWAYS.
    pub(super) async fn hush(&self, tx: &mut Transaction<'_>) -> Read<()> {
        if self.may_hush {
            tx.batch("SET LOCAL session_replication_role = replica").await?;
        }
        Ok(())
    }
}

pub(super) async fn extend(
    store: &PgAdopted,
    tenant: TenantId,
    m: Epoch,
    previous: Head,
    events: &[Event],
) -> Answer<Head> {
    let events = fitting(events);
    let good = chained(previous, events).await;
    if good == 0 {
        // By nothing, or by what breaks the chain: the rules have the word.
        let ledger = change::ledger(store, tenant).await?;
        return Ok(ledger.extend(m, previous, events)?.head);
    }
    // In an order of their own are the next, if any.
    let (events, order) = kept::of_one_form(&events[..good], &store.installed)?;
    let order = order.as_ref();
    let mut wait = Wait::held_by(tenant, HOLDERS);
    let ledger = loop {
        match copy(store, (tenant, m), previous, events, order).await {
            Ok(ledger) => break ledger,
            Err(error) if error.is_locked() => wait.or(&store.server, error).await?,
            Err(error) => return Err(error.into()),
        }
    };
    ledger.extend(m, previous, &[])?;
    Ok(events.last().map_or(previous, Head::of))
}

/// Answers the ledger as it was found, under its lock; the rows are in if it is the copy's.
async fn copy(
    store: &PgAdopted,
    (tenant, m): (TenantId, Epoch),
    previous: Head,
    events: &[Event],
    order: Option<&RowOrder>,
) -> Read<Ledger> {
    let count = i32::try_from(events.len()).unwrap_or(i32::MAX);
    let mut client = store.server.client().await?;
    let mut tx = client.begin().await?;
    store.hush(&mut tx).await?;
    let begun = tx
        .query(
            "SELECT o_role, o_epoch, o_seq, o_digest, o_no, o_positions, pg_current_xact_id()::text, o_fits \
             FROM {schema}.begin_extend($1, $2, $3, $4, $5, $6, $7)",
            &[
                (&tenant.uuid(), Type::UUID),
                (&LOOK_AFTER_MS, Type::INT4),
                (&rows::int(m.0).unwrap_or(i64::MAX), Type::INT8),
                (&rows::int(previous.seq)?, Type::INT8),
                (&previous.digest.as_bytes().as_slice(), Type::BYTEA),
                (&count, Type::INT4),
                (&order.map(RowOrder::to_string), Type::TEXT),
            ],
        )
        .await;
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => {
            if error.is_locked() {
                tx.roll_back().await?;
            }
            return Err(error);
        }
    };
    let Some(row) = begun.first() else {
        tx.roll_back().await?;
        return Ok(Ledger::ABSENT);
    };
    let ledger = rows::ledger(row, 0)?;
    let Some(positions) = get::<Option<Vec<i64>>>(row, 5)? else {
        let fits: bool = get(row, 7)?;
        tx.roll_back().await?;
        let is_copy = ledger.extend(m, previous, &[]).is_ok();
        return if fits || !is_copy { Ok(ledger) } else { Err(in_another_order(tenant)) };
    };
    let no: i32 = get(row, 4)?;
    let own: &str = get(row, 6)?;
    let heads = store.headed.as_ref().map_or(0, |headed| headed.travels);
    let values = events.iter().map(|event| kept::values(event, order, &store.installed, heads));
    let values = values.collect::<Read<Vec<_>>>()?;
    let texts = Texts::of(store, no, &positions, own, events, &values)?;
    // Before the events: they may point to it.
    if let Some(headed) = &store.headed {
        headed.put(&mut tx, &values).await?;
    }
    tx.copy_text(&table_copy(store), texts.rows).await?;
    tx.copy_text(&positions_copy(store), texts.positions).await?;
    let head = events.last().map_or(previous, Head::of);
    tx.query(
        "SELECT {schema}.end_extend($1, $2, $3)",
        &[
            (&no, Type::INT4),
            (&rows::int(head.seq)?, Type::INT8),
            (&head.digest.as_bytes().as_slice(), Type::BYTEA),
        ],
    )
    .await?;
    tx.commit().await?;
    Ok(ledger)
}

/// The copy was begun from a store whose rows are digested in another order.
fn in_another_order(tenant: TenantId) -> ServerError {
    shape::not_set_up(format!(
        "its copy of tenant {tenant} was begun from a store of another layout, in whose order rows are digested; abort the \
         migration with `--purge-target`, and start it again"
    ))
}

fn table_copy(store: &PgAdopted) -> String {
    let installed = &store.installed;
    let columns = installed.position.iter().chain(&installed.row_columns).chain(&installed.stamped);
    let columns: Vec<_> = columns.map(|name| quoted(name)).collect();
    format!("COPY {} ({}) FROM STDIN", shape::qualified(&store.layout), columns.join(", "))
}

fn positions_copy(store: &PgAdopted) -> String {
    let keys: Vec<_> = (1..=store.installed.key_columns.len()).map(|n| format!("k{n}")).collect();
    format!("COPY {{schema}}.positions (no, seq, {}, digest) FROM STDIN", keys.join(", "))
}

/// Rows in the text format of COPY.
struct Texts {
    rows: Vec<Bytes>,
    positions: Vec<Bytes>,
}

impl Texts {
    fn of(
        store: &PgAdopted,
        no: i32,
        positions: &[i64],
        own: &str,
        events: &[Event],
        values: &[Values],
    ) -> Read<Self> {
        let installed = &store.installed;
        let keys = installed.key_columns.iter().map(|name| {
            if installed.position.as_ref() == Some(name) {
                return Ok(None);
            }
            let place = installed.row_columns.iter().position(|column| column == name);
            let place = place.ok_or_else(|| {
                ServerError::corrupt(format!("a key with column \"{name}\", which is not copied"))
            })?;
            Ok(Some(place))
        });
        let keys = keys.collect::<Read<Vec<_>>>()?;
        let (mut rows, mut places) = (Pieces::default(), Pieces::default());
        for (n, (event, columns)) in events.iter().zip(values).enumerate() {
            let position = positions.get(n);
            if position.is_none() && installed.position.is_some() {
                return Err(shape::not_set_up(
                    "the position of its table has no sequence, so a copy cannot assign positions"
                        .to_owned(),
                ));
            }
            let (columns, _) = columns.split_at(installed.row_columns.len());
            if let Some(position) = position {
                rows.number(*position);
            }
            for column in columns {
                rows.text(column.as_deref());
            }
            for _ in &installed.stamped {
                rows.text(Some(own));
            }
            rows.end();
            places.number(i64::from(no));
            places.number(rows::int(event.seq)?);
            for key in &keys {
                match (key, position) {
                    (Some(place), _) => places.text(columns[*place].as_deref()),
                    (None, Some(position)) => places.number(*position),
                    (None, None) => places.text(None),
                }
            }
            places.text(Some(&format!("\\x{}", event.digest)));
            places.end();
        }
        Ok(Self { rows: rows.all(), positions: places.all() })
    }
}

/// Lines, in pieces of some size.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    piece: BytesMut,
    begun: bool,
}

impl Pieces {
    fn separate(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            self.piece.put_u8(b'\t');
        }
    }

    fn number(&mut self, number: i64) {
        self.separate();
        self.piece.put_slice(number.to_string().as_bytes());
    }

    fn text(&mut self, text: Option<&str>) {
        self.separate();
        let Some(text) = text else { return self.piece.put_slice(b"\\N") };
        for byte in text.bytes() {
            match byte {
                b'\\' => self.piece.put_slice(b"\\\\"),
                b'\n' => self.piece.put_slice(b"\\n"),
                b'\r' => self.piece.put_slice(b"\\r"),
                b'\t' => self.piece.put_slice(b"\\t"),
                byte => self.piece.put_u8(byte),
            }
        }
    }

    fn end(&mut self) {
        self.piece.put_u8(b'\n');
        self.begun = false;
        if self.piece.len() >= PIECE {
            self.done.push(self.piece.split().freeze());
        }
    }

    fn all(mut self) -> Vec<Bytes> {
        if !self.piece.is_empty() {
            self.done.push(self.piece.freeze());
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_reads_back_what_was_written() {
        let mut lines = Pieces::default();
        lines.number(-7);
        lines.text(Some("a\tb\\c\r\nd"));
        lines.text(None);
        lines.text(Some("\\N"));
        lines.text(Some(""));
        lines.end();
        assert_eq!(lines.all().concat(), b"-7\ta\\tb\\\\c\\r\\nd\t\\N\t\\\\N\t\n");
    }
}
