//! Rows of another program's table or query, for an import.
//!
//! **No row is skipped.** Positions are drawn before their rows are committed, so a row may become visible after
//! others with higher positions. The source takes the highest visible position, waits until every transaction that was open at that moment
//! has ended, and reads up to that position: a later transaction draws a higher one (from a sequence without a
//! cache). `pg_locks` shows those transactions to every role.
//!
//! Everything runs in READ ONLY transactions, with rehome's search path: names in a query must be qualified.

mod select;

use async_trait::async_trait;
use rehome_domain::layout::Layout;
use rehome_ports::{
    EventSource, Fault, FaultKind, Moment, PAGE_ROWS, SourcePage, SourceParts, SourceRow,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::ServerError;
use crate::rows::{Read, get};
use crate::server::{Client, PostgresOptions, PostgresUrl, Server};
use select::Select;

/// Maximum time of one page: a sort of the whole table, at worst.
const PAGE_WITHIN: std::time::Duration = std::time::Duration::from_secs(3_600);
/// Transactions that a message names.
const NAMED: usize = 3;

/// Transactions of this database that are open, but for our own and those that maintain it.
const OPEN: &str = "\
    SELECT l.virtualtransaction || '@' || l.pid, \
        'the transaction of process ' || l.pid || coalesce(' (' || nullif(a.application_name, '') || ')', '') \
    FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid \
    WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid() \
        AND a.usesysid IS NOT NULL \
        AND a.datid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) \
    UNION ALL \
    SELECT 'prepared ' || p.gid, 'the prepared transaction ' || quote_literal(p.gid) FROM pg_prepared_xacts AS p \
    WHERE p.database = current_database() \
    ORDER BY 1";

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PgSourceOf {
    /// The rows that this query returns.
    Query(String),
    /// The table of a layout.
    Table(Box<Layout>),
}

/// The source.
pub struct PgSource {
    name: String,
    parts: SourceParts,
    select: Select,
    url: PostgresUrl,
    client: Client,
    /// All rows up to here can be seen that will ever be.
    settled: i64,
    /// A position that was seen, and the transactions that may still bring lower ones.
    open: Option<(i64, Vec<String>)>,
    /// Reads all rows of one moment.
    cursor: Option<Client>,
    /// Rows of the cursor so far, which number them.
    numbered: i64,
}

impl PgSource {
    /// Connects and checks the columns.
    pub async fn open(url: &PostgresUrl, of: &PgSourceOf) -> Result<Self, Fault> {
        let name = match of {
            PgSourceOf::Query(_) => format!("the query on {url}"),
            PgSourceOf::Table(layout) => {
                format!("table \"{}\".\"{}\" of {url}", layout.schema, layout.table)
            }
        };
        let look = async {
            let mut client = connect(url).await?;
            let mut tx = client.begin().await?;
            let select = match of {
                PgSourceOf::Query(sql) => Select::of_query(&mut tx, sql).await?,
                PgSourceOf::Table(layout) => Select::of_table(&mut tx, layout).await?,
            };
            tx.roll_back().await?;
            Ok((client, select))
        };
        let (client, select) = look.await.map_err(|error: ServerError| error.fault(&name))?;
        let parts = select.parts;
        let url = url.clone();
        Ok(Self {
            name,
            parts,
            select,
            url,
            client,
            settled: -1,
            open: None,
            cursor: None,
            numbered: 0,
        })
    }

    /// Advances `settled` as far as possible. Returns the transaction to wait for.
    async fn settle(&mut self) -> Read<Option<String>> {
        if self.open.is_none() {
            // The first read also finds the lowest one.
            let (first, after) = match self.settled {
                -1 => ("min(s.position)", i64::MIN),
                settled => ("NULL::bigint", settled),
            };
            let sql = format!(
                "SELECT {first}, max(s.position) FROM ({}) AS s WHERE s.position OPERATOR(pg_catalog.>) $1",
                self.select.positions
            );
            let found = read_only(&mut self.client, &sql, &[(&after, Type::INT8)]).await?;
            let row =
                found.first().ok_or_else(|| ServerError::corrupt("no answer about positions"))?;
            let (first, last): (Option<i64>, Option<i64>) = (get(row, 0)?, get(row, 1)?);
            if let Some(first) = first.filter(|first| *first < 0) {
                return Err(ServerError::new(FaultKind::NotSetUp(format!(
                    "its position {first} is negative; positions are whole numbers from 0"
                ))));
            }
            let Some(last) = last.filter(|last| *last > self.settled) else { return Ok(None) };
            let open = self.client.read(OPEN, &[]).await?;
            let open = open.iter().map(|row| get(row, 0)).collect::<Read<Vec<String>>>()?;
            self.open = Some((last, open));
        }
        let Some((last, before)) = &mut self.open else { return Ok(None) };
        if !before.is_empty() {
            let now = self.client.read(OPEN, &[]).await?;
            let now: Vec<(String, String)> =
                now.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Read<_>>()?;
            before.retain(|id| now.iter().any(|(other, _)| other == id));
            if !before.is_empty() {
                let still =
                    now.iter().filter(|(id, _)| before.contains(id)).map(|(_, who)| who.as_str());
                let named: Vec<&str> = still.take(NAMED).collect();
                let more = before.len().saturating_sub(named.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                return Ok(Some(format!("the end of {}{more}", named.join(", "))));
            }
        }
        self.settled = *last;
        self.open = None;
        Ok(None)
    }

    async fn read_page(&mut self, after: i64) -> Read<SourcePage> {
        if !self.parts.position {
            return self.read_numbered(after).await;
        }
        let mut waits_for = None;
        if after >= self.settled {
            waits_for = self.settle().await?;
        }
        if after >= self.settled {
            return Ok(SourcePage { rows: Vec::new(), read_to: after, waits_for });
        }
        let limit = i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX);
        let rows = read_only(
            &mut self.client,
            &format!(
                "SELECT * FROM ({}) AS s WHERE s.position OPERATOR(pg_catalog.>) $1 \
                 AND s.position OPERATOR(pg_catalog.<=) $2 ORDER BY s.position LIMIT $3",
                self.select.rows
            ),
            &[(&after, Type::INT8), (&self.settled, Type::INT8), (&limit, Type::INT8)],
        )
        .await?;
        let rows = rows.iter().map(row).collect::<Read<Vec<_>>>()?;
        if let Some(pair) = rows.windows(2).find(|pair| pair[0].position == pair[1].position) {
            return Err(ServerError::new(FaultKind::NotSetUp(format!(
                "two of its rows have the position {}; positions must be unique",
                pair[0].position
            ))));
        }
        let read_to = match rows.last() {
            Some(last) if rows.len() == PAGE_ROWS => last.position,
            _ => self.settled,
        };
        Ok(SourcePage { rows, read_to, waits_for: None })
    }

    /// The next page of a table without positions: all of it as it was when this began.
    async fn read_numbered(&mut self, after: i64) -> Read<SourcePage> {
        if after < 0 {
            self.cursor = None;
        }
        if self.cursor.is_none() && after < 0 {
            self.open_cursor().await?;
        }
        let rows = self.fetch().await?;
        let read_to = rows.last().map_or(after, |row| row.position);
        Ok(SourcePage { rows, read_to, waits_for: None })
    }

    /// Begins to read everything as it is now.
    async fn open_cursor(&mut self) -> Read<()> {
        let mut client = connect(&self.url).await?;
        client.hold("SET TRANSACTION READ ONLY").await?;
        client.read("SET LOCAL enable_seqscan = on", &[]).await?;
        let order = self
            .select
            .order
            .as_deref()
            .map_or(String::new(), |order| format!(" ORDER BY {order}"));
        let sql = format!(
            "DECLARE rehome_source NO SCROLL CURSOR FOR SELECT * FROM ({}) AS s{order}",
            self.select.rows
        );
        client.foreign(&sql, &[]).await?;
        (self.cursor, self.numbered) = (Some(client), 0);
        Ok(())
    }

    /// The next rows of the cursor; it is closed after the last.
    async fn fetch(&mut self) -> Read<Vec<SourceRow>> {
        let Some(client) = &mut self.cursor else { return Ok(Vec::new()) };
        let rows = client.foreign(&format!("FETCH {PAGE_ROWS} FROM rehome_source"), &[]).await?;
        let mut rows = rows.iter().map(row).collect::<Read<Vec<_>>>()?;
        if !self.parts.position {
            for row in &mut rows {
                self.numbered += 1;
                row.position = self.numbered;
            }
        }
        if rows.is_empty() {
            self.cursor = None;
        }
        Ok(rows)
    }
}

#[async_trait]
impl EventSource for PgSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn parts(&self) -> SourceParts {
        self.parts
    }

    fn comes_in_behind(&self) -> Option<&str> {
        self.select.cache.as_deref()
    }

    async fn page(&mut self, after: i64) -> Result<SourcePage, Fault> {
        let read = self.read_page(after).await;
        read.map_err(|error| error.fault(&self.name))
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        let begun = self.open_cursor().await;
        begun.map_err(|error| error.fault(&self.name))
    }

    async fn next(&mut self) -> Result<Vec<SourceRow>, Fault> {
        let read = self.fetch().await;
        read.map_err(|error| error.fault(&self.name))
    }
}

async fn connect(url: &PostgresUrl) -> Read<Client> {
    let options = PostgresOptions { answer_within: PAGE_WITHIN, ..PostgresOptions::default() };
    Server::connect(url, options).await
}

/// One statement of a user in a read-only transaction.
async fn read_only(
    client: &mut Client,
    sql: &str,
    params: &[crate::server::Param<'_>],
) -> Read<Vec<Row>> {
    let mut tx = client.begin().await?;
    tx.batch("SET TRANSACTION READ ONLY; SET LOCAL enable_seqscan = on").await?;
    let rows = tx.foreign(sql, params).await?;
    tx.roll_back().await?;
    Ok(rows)
}

/// A row as [`Select`] writes it.
fn row(row: &Row) -> Read<SourceRow> {
    let text = |column: usize| get::<Option<String>>(row, column);
    let moment = |column: usize| {
        let micros = get::<Option<i64>>(row, column)?.map(Moment::Micros);
        Ok::<_, ServerError>(match micros {
            None => text(column + 1)?.map(Moment::Text),
            some => some,
        })
    };
    Ok(SourceRow {
        position: get::<Option<i64>>(row, 0)?.unwrap_or_default(),
        tenant: text(1)?,
        stream_type: text(2)?,
        stream_id: text(3)?,
        event_id: text(4)?,
        event_type: text(5)?,
        version: get(row, 6)?,
        occurred_at: moment(7)?,
        recorded_at: moment(9)?,
        data: text(11)?,
        metadata: text(12)?,
    })
}
