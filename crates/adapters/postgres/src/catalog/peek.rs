//! Checks of the rows, for what the catalog does not show.

use std::time::Duration;

use rehome_domain::layout::{Layout, TenantPart};
use rehome_ports::Fault;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Finding, Severity, Table};
use crate::rows::{self, Read, get};
use crate::schema::names::quoted;
use crate::server::{Client, Param, PostgresOptions, PostgresUrl, Server};

/// Maximum time of a check of all rows.
const LOOK_WITHIN: Duration = Duration::from_secs(600);
/// Maximum number of examples of each kind.
const EXAMPLES: i64 = 5;

/// What the rows of a table are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How many there are.
    pub rows: u64,
    /// Of how many streams.
    pub streams: u64,
    /// Of how many tenants.
    pub tenants: u64,
    /// What of them breaks the rules already, with examples.
    pub findings: Vec<Finding>,
}

/// Tables of a schema, by their names; partitions are left out.
pub async fn tables(url: &PostgresUrl, schema: &str) -> Result<Vec<String>, Fault> {
    let look = async {
        let mut client = Server::connect(url, PostgresOptions::default()).await?;
        let found = client
            .read(
                "SELECT c.relname::text FROM pg_namespace AS n \
                 JOIN pg_class AS c ON c.relnamespace = n.oid \
                 WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1",
                &[(&schema, Type::TEXT)],
            )
            .await?;
        found.iter().map(|row| get(row, 0)).collect::<Read<Vec<_>>>()
    };
    look.await.map_err(|error| error.fault(&format!("database {url}")))
}

/// The lowest number in a column of whole numbers, of the first thousand rows that come.
pub async fn lowest(url: &PostgresUrl, table: &Table, column: &str) -> Result<Option<i64>, Fault> {
    let sql = format!(
        "SELECT min(v) FROM (SELECT t.{}::bigint AS v FROM {} AS t LIMIT 1000) AS x",
        quoted(column),
        table.quoted()
    );
    let look = async {
        let mut client = Server::connect(url, PostgresOptions::default()).await?;
        let found = client.read(&sql, &[]).await?;
        found.first().map_or(Ok(None), |row| get(row, 0))
    };
    look.await.map_err(|error| error.fault(&format!("database {url}")))
}

/// Checks all rows: whether streams have gaps or two tenants, whether versions and positions agree, and
/// whether ids are duplicated. The layout must match the table.
pub async fn history(url: &PostgresUrl, layout: &Layout, table: &Table) -> Result<History, Fault> {
    let look = async {
        let options = PostgresOptions { answer_within: LOOK_WITHIN, ..PostgresOptions::default() };
        let mut client = Server::connect(url, options).await?;
        Look::new(layout, table).all(&mut client).await
    };
    look.await.map_err(|error| error.fault(&format!("database {url}")))
}

/// The layout's names, as SQL has them.
struct Look<'a> {
    layout: &'a Layout,
    table: &'a Table,
    /// Whose row `t` is; `$1` is the key or the separator.
    tenant: String,
    bound: &'a str,
    /// The columns that name the stream of row `t`.
    streams: Vec<String>,
    version: String,
}

impl<'a> Look<'a> {
    fn new(layout: &'a Layout, table: &'a Table) -> Self {
        let (tenant, bound) = match &layout.tenant {
            TenantPart::Column(name) => (format!("t.{}::text", quoted(name)), ""),
            TenantPart::Json { column, key } => {
                (format!("(t.{}::text::jsonb ->> $1)", quoted(column)), key.as_str())
            }
            TenantPart::Prefix { separator } => {
                let first = layout.stream_id.first().map_or("", String::as_str);
                let stream = format!("t.{}::text", quoted(first));
                let tenant = format!(
                    "(CASE WHEN strpos({stream}, $1) > 0 THEN split_part({stream}, $1, 1) END)"
                );
                (tenant, separator.as_str())
            }
        };
        let streams = layout.stream_type.iter().chain(&layout.stream_id);
        let streams = streams.map(|name| format!("t.{}", quoted(name))).collect();
        let version = format!("t.{}::bigint", quoted(&layout.version));
        Self { layout, table, tenant, bound, streams, version }
    }

    /// The stream's name as it is shown, of columns of an alias.
    fn shown(&self, alias: &str) -> String {
        let parts = (1..=self.streams.len()).map(|n| format!("{alias}.s{n}::text"));
        format!("concat_ws('/', {})", parts.collect::<Vec<_>>().join(", "))
    }

    /// The columns that name the stream, called `s1` and so on.
    fn named(&self) -> String {
        let named = self.streams.iter().zip(1..).map(|(column, n)| format!("{column} AS s{n}"));
        named.collect::<Vec<_>>().join(", ")
    }

    /// Every row's tenant, which also binds `$1` where the tenant is a column.
    fn tenant(&self) -> String {
        format!("CASE WHEN $1::text IS NOT NULL THEN {} END", self.tenant)
    }

    async fn all(&self, client: &mut Client) -> Read<History> {
        let bound: [Param<'_>; 1] = [(&self.bound, Type::TEXT)];
        let mut history = History::default();
        for row in &client.read(&self.streams_sql(), &bound).await? {
            self.of_streams(row, &mut history)?;
        }
        if let Some(position) = &self.layout.position {
            for row in &client.read(&self.order_sql(position), &bound).await? {
                history.findings.push(out_of_order(position, row)?);
            }
        }
        if let Some(id) = &self.layout.event_id
            && !self.table.keys.iter().any(|key| key.weak.is_none() && key.columns == [id.clone()])
        {
            for row in &client.read(&self.ids_sql(id), &bound).await? {
                history.findings.push(Finding {
                    severity: Severity::Refuse,
                    column: Some(id.clone()),
                    text: format!(
                        "tenant {} has {} events with the id {}; ids must be unique",
                        shown(get(row, 0)?),
                        rows::count(row, 2)?,
                        get::<&str>(row, 1)?
                    ),
                });
            }
        }
        history.findings.sort_by_key(|finding| finding.severity);
        Ok(history)
    }

    /// First the sums; then streams with gaps: the tenant, the name, how many, the lowest and the highest
    /// version, how many different, and whether another tenant has rows in it.
    fn streams_sql(&self) -> String {
        let same = (1..=self.streams.len()).map(|n| format!("o.s{n} = g.s{n}"));
        let columns: Vec<_> = (1..=self.streams.len()).map(|n| format!("x.s{n}")).collect();
        format!(
            "WITH r AS (SELECT {tenant} AS tenant, {named}, {version} AS v FROM {table} AS t), \
             g AS MATERIALIZED (SELECT x.tenant, {columns}, count(*) AS n, min(x.v) AS low, max(x.v) AS high, \
                 count(DISTINCT x.v) AS versions FROM r AS x GROUP BY x.tenant, {columns}) \
             (SELECT NULL::text, NULL::text, coalesce(sum(g.n), 0)::bigint, \
                  count(*) FILTER (WHERE g.tenant IS NOT NULL), count(DISTINCT g.tenant), \
                  coalesce(sum(g.n) FILTER (WHERE g.tenant IS NULL), 0)::bigint, NULL::text FROM g) \
             UNION ALL \
             (SELECT g.tenant, {shown}, g.n, g.low, g.high, g.versions, \
                  (SELECT min(o.tenant) FROM g AS o WHERE {same} AND o.tenant <> g.tenant) \
              FROM g WHERE g.tenant IS NOT NULL \
                  AND (g.low <> {first} OR g.versions <> g.n OR g.high - g.low + 1 <> g.versions) \
              ORDER BY 1, 2 LIMIT {EXAMPLES})",
            tenant = self.tenant(),
            named = self.named(),
            version = self.version,
            table = self.table.quoted(),
            columns = columns.join(", "),
            shown = self.shown("g"),
            same = same.collect::<Vec<_>>().join(" AND "),
            first = self.layout.first_version,
        )
    }

    fn of_streams(&self, row: &Row, history: &mut History) -> Read<()> {
        let number = |column: usize| get::<i64>(row, column);
        let Some(stream) = get::<Option<&str>>(row, 1)? else {
            history.rows = rows::count(row, 2)?;
            history.streams = rows::count(row, 3)?;
            history.tenants = rows::count(row, 4)?;
            let nobodys = number(5)?;
            if nobodys > 0 {
                history.findings.push(Finding {
                    severity: Severity::Warn,
                    column: None,
                    text: format!(
                        "{nobodys} rows belong to no tenant: they are not guarded and never move"
                    ),
                });
            }
            return Ok(());
        };
        let (count, low, high, versions) = (number(2)?, number(3)?, number(4)?, number(5)?);
        let first = i64::from(self.layout.first_version);
        let what = if let Some(other) = get::<Option<&str>>(row, 6)? {
            format!(
                "also has rows of tenant {}; a stream belongs to one tenant",
                shown(Some(other))
            )
        } else if versions < count {
            format!("has {count} rows with {versions} different versions; versions must be unique")
        } else if low != first {
            format!("starts at version {low}, but by the layout streams start at {first}")
        } else {
            format!("has {count} events and the versions {low} to {high}; it has a gap")
        };
        history.findings.push(Finding {
            severity: Severity::Refuse,
            column: Some(self.layout.version.clone()),
            text: format!(
                "stream {} of tenant {} {what}",
                shown(Some(stream)),
                shown(get(row, 0)?)
            ),
        });
        Ok(())
    }

    /// Rows that come after the next version of their stream.
    fn order_sql(&self, position: &str) -> String {
        let columns: Vec<_> = (1..=self.streams.len()).map(|n| format!("x.s{n}")).collect();
        format!(
            "SELECT o.tenant, {shown}, o.v, o.p, o.before FROM ( \
                 SELECT x.*, lag(x.p) OVER (PARTITION BY x.tenant, {columns} ORDER BY x.v) AS before \
                 FROM (SELECT {tenant} AS tenant, {named}, {version} AS v, t.{position}::bigint AS p \
                       FROM {table} AS t) AS x \
                 WHERE x.tenant IS NOT NULL) AS o \
             WHERE o.p <= o.before ORDER BY o.p LIMIT {EXAMPLES}",
            shown = self.shown("o"),
            columns = columns.join(", "),
            tenant = self.tenant(),
            named = self.named(),
            version = self.version,
            position = quoted(position),
            table = self.table.quoted(),
        )
    }

    /// Ids that a tenant has more than once.
    fn ids_sql(&self, id: &str) -> String {
        format!(
            "SELECT x.tenant, x.id::text, count(*) \
             FROM (SELECT {tenant} AS tenant, t.{id} AS id FROM {table} AS t) AS x \
             WHERE x.tenant IS NOT NULL AND x.id IS NOT NULL GROUP BY x.tenant, x.id HAVING count(*) > 1 \
             ORDER BY 1, 2 LIMIT {EXAMPLES}",
            tenant = self.tenant(),
            id = quoted(id),
            table = self.table.quoted(),
        )
    }
}

fn out_of_order(position: &str, row: &Row) -> Read<Finding> {
    let number = |column: usize| get::<i64>(row, column);
    Ok(Finding {
        severity: Severity::Warn,
        column: Some(position.to_owned()),
        text: format!(
            "stream {} of tenant {}: version {} has position {}, the version before it has {}; these rows are \
             numbered in the order of versions",
            shown(get(row, 1)?),
            shown(get(row, 0)?),
            number(2)?,
            number(3)?,
            number(4)?
        ),
    })
}

/// A foreign name for display.
fn shown(name: Option<&str>) -> String {
    name.map_or_else(|| "(none)".to_owned(), |name| format!("{name:?}"))
}
