//! A server's report about itself.

use rehome_ports::StoreReport;
use rehome_ports::clock::Clock;
use tokio_postgres::types::Type;

use super::{Client, Server};
use crate::error::ServerError;
use crate::rows::get;
use crate::schema::{self, Kind, Meta, names, owners};

const REPORT: &str = "SELECT current_setting('server_version'), current_setting('fsync'), \
     current_setting('synchronous_commit'), current_setting('full_page_writes'), \
     pg_is_in_recovery(), \
     (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 0 * $1";

/// The counters of columns in schema $1.
const COUNTERS: &str = "SELECT s.oid, c.relname::text, a.attname::text, s.relname::text \
     FROM pg_namespace AS n JOIN pg_class AS s ON s.relnamespace = n.oid AND s.relkind = 'S' \
     JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid \
         AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') \
     JOIN pg_class AS c ON c.oid = d.refobjid AND c.relnamespace = n.oid \
     JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid \
     WHERE n.nspname = $1 ORDER BY s.relname";

impl Server {
    /// Its version, its durability, whether it is a primary, and its clock compared with this host's.
    pub(crate) async fn report(
        &self,
        kind: Kind,
        clock: &dyn Clock,
    ) -> Result<StoreReport, ServerError> {
        let mut client = self.client().await?;
        let meta = schema::read_meta(&mut client, kind).await?;
        let Some(meta) = meta else {
            return Err(ServerError::corrupt("its row in the meta table is gone"));
        };
        // Queried twice: the second time everything is prepared, and both directions take
        // equally long.
        client.read(REPORT, &[(&0_i64, Type::INT8)]).await?;
        let before = clock.now().micros();
        let rows = client.read(REPORT, &[(&0_i64, Type::INT8)]).await?;
        let after = clock.now().micros();
        let row = rows.first().ok_or_else(|| ServerError::corrupt("no answer about itself"))?;
        let (fsync, commit, pages): (&str, &str, &str) = (get(row, 1)?, get(row, 2)?, get(row, 3)?);
        let standby: bool = get(row, 4)?;
        let problems = self.problems(&mut client).await?;
        let mut copied = self.moved(&mut client, &meta).await?;
        copied.extend(self.behind(&mut client).await?);
        let ours_ms = before.midpoint(after) / 1_000;
        let role = if standby { "a standby, which accepts no writes" } else { "primary" };
        Ok(StoreReport {
            engine: format!("PostgreSQL {}", get::<&str>(row, 0)?),
            format: meta.format,
            deployment: meta.deployment,
            identity: meta.identity,
            durability: format!(
                "{role}, fsync={fsync}, synchronous_commit={commit}, full_page_writes={pages}"
            ),
            durable: fsync == "on" && commit != "off" && pages == "on" && !standby,
            clock_skew_ms: get::<i64>(row, 5)? - ours_ms,
            problems,
            copied,
        })
    }

    /// Problems for an operator.
    async fn problems(&self, client: &mut Client) -> Result<Vec<String>, ServerError> {
        let mut problems = owners::open_doors(client, self.url.schema()).await?;
        if !self.url.is_pooled() && !client.has_our_settings() {
            problems.push(
                "a pooler does not pass session settings to the server; add pooler=transaction to the \
                 URL, and direct=HOST:PORT for a control plane"
                    .to_owned(),
            );
        }
        Ok(problems)
    }

    /// Whether it is on another server than it was created on.
    async fn moved(&self, client: &mut Client, meta: &Meta) -> Result<Vec<String>, ServerError> {
        let now = schema::system_identifier(client).await?;
        let mut found = Vec::new();
        if let (Some(was), Some(now)) = (&meta.system_identifier, now)
            && *was != now
        {
            found.push(format!(
                "it was created on a server with the system identifier {was} and is now on one with {now}: a \
                 dump was restored, or it was moved by a subscription or a major upgrade; events acknowledged \
                 after that copy are missing here. Compare the tenants' heads with the other stores and with \
                 `rehome recover`; if nothing is missing, record the new server: UPDATE {}.meta SET \
                 system_identifier = '{now}'",
                names::quoted(self.url.schema())
            ));
        }
        Ok(found)
    }

    /// The counters that are behind the numbers in their columns: a subscription copies rows, and no counters.
    async fn behind(&self, client: &mut Client) -> Result<Vec<String>, ServerError> {
        let schema = self.url.schema();
        let mut found = Vec::new();
        let counters = client.read(COUNTERS, &[(&schema, Type::TEXT)]).await?;
        for row in &counters {
            let (counter, table, column): (u32, &str, &str) =
                (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            // The numbers as they were when the statement began; the counter, which no transaction holds back, later.
            let sql = format!(
                "SELECT coalesce((SELECT max(t.{}) FROM {{schema}}.{} AS t), 0)::bigint, \
                 coalesce(pg_sequence_last_value($1::oid::regclass), 0)",
                names::quoted(column),
                names::quoted(table)
            );
            let numbers = client.read(&sql, &[(&counter, Type::OID)]).await?;
            let Some(numbers) = numbers.first() else { continue };
            let (highest, last): (i64, i64) = (get(numbers, 0)?, get(numbers, 1)?);
            if highest > last {
                let sequence: &str = get(row, 3)?;
                let name = format!("{}.{}", names::quoted(schema), names::quoted(sequence));
                found.push(format!(
                    "its counter {name} is at {last}, and numbers up to {highest} are in use: it was restored or \
                     switched to by logical means, which copy rows and no counters, and new streams or tenants are \
                     refused. Compare the tenants' heads with the other stores and with `rehome recover`, then set it: \
                     SELECT setval('{}', {highest})",
                    name.replace('\'', "''")
                ));
            }
        }
        Ok(found)
    }
}
