//! Where log lines are gathered: Loki or Elasticsearch.

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;

use rehome_app::http::Endpoint;

use super::encoded;

/// Which lines of `eventsource.migration` to search for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogQuery {
    /// Only of this migration.
    pub(crate) migration: Option<MigrationId>,
    /// Only errors.
    pub(crate) errors: bool,
    /// From when on.
    pub(crate) from: Timestamp,
    /// The end of the time range.
    pub(crate) until: Timestamp,
}

/// A place where they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogStore<'a> {
    Loki(&'a Endpoint),
    Elasticsearch(&'a Endpoint),
}

impl LogStore<'_> {
    /// How many lines there are. Of Loki at most 1,000 are counted.
    pub(crate) async fn count(self, query: &LogQuery) -> Result<u64, String> {
        match self {
            Self::Loki(endpoint) => {
                let path = format!(
                    "/loki/api/v1/query_range?limit=1000&start={}000&end={}000&query={}",
                    query.from.micros(),
                    query.until.micros(),
                    encoded(&query.logql())
                );
                let answer = endpoint.get(&path).await?.json()?;
                let streams = answer["data"]["result"].as_array();
                let streams =
                    streams.ok_or_else(|| format!("{endpoint}: its response has no streams"))?;
                let lines = streams.iter().filter_map(|stream| stream["values"].as_array());
                Ok(lines.map(|lines| lines.len() as u64).sum())
            }
            Self::Elasticsearch(endpoint) => {
                let path =
                    format!("/_search?size=0&track_total_hits=true&q={}", encoded(&query.lucene()));
                let answer = endpoint.get(&path).await?.json()?;
                let total = answer["hits"]["total"]["value"].as_u64();
                total.ok_or_else(|| format!("{endpoint}: its response has no number of hits"))
            }
        }
    }
}

impl LogQuery {
    fn logql(&self) -> String {
        let migration = self.migration.map(|id| format!(" | migration_id=\"{id}\""));
        let errors = if self.errors { " | level=\"ERROR\"" } else { "" };
        format!(
            "{{app=\"eventsource\"}} | json | logger=\"eventsource.migration\"{}{errors}",
            migration.unwrap_or_default()
        )
    }

    fn lucene(&self) -> String {
        let migration = self.migration.map(|id| format!(" AND migration_id:\"{id}\""));
        let errors = if self.errors { " AND level:ERROR" } else { "" };
        let time = |at: Timestamp| rehome_api::Time(at.micros());
        format!(
            "logger:\"eventsource.migration\"{}{errors} AND timestamp:[\"{}\" TO \"{}\"]",
            migration.unwrap_or_default(),
            time(self.from),
            time(self.until)
        )
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use rehome_app::http::fake::Fake;

    fn query(errors: bool) -> LogQuery {
        LogQuery {
            migration: Some(MigrationId::new(Uuid::from_u128(5))),
            errors,
            from: Timestamp::from_micros(1_800_000_000_000_000),
            until: Timestamp::from_micros(1_800_000_060_000_000),
        }
    }

    #[tokio::test]
    async fn lines_are_counted_over_the_streams_of_loki() {
        let fake = Fake::start(|path| {
            let lines = if path.contains("ERROR") { "[]" } else { r#"[["1","a"],["2","b"]]"# };
            let stream = format!(r#"{{"stream":{{}},"values":{lines}}}"#);
            (200, format!(r#"{{"status":"success","data":{{"result":[{stream},{stream}]}}}}"#))
        })
        .await;
        let endpoint = Endpoint::parse(&fake.url()).unwrap();
        assert_eq!(LogStore::Loki(&endpoint).count(&query(false)).await, Ok(4));
        assert_eq!(LogStore::Loki(&endpoint).count(&query(true)).await, Ok(0));
        assert!(fake.heard()[0].contains("start=1800000000000000000&"), "nanoseconds");
    }

    #[tokio::test]
    async fn elasticsearch_counts_by_itself() {
        let fake = Fake::start(|_| (200, r#"{"hits":{"total":{"value":7}}}"#.to_owned())).await;
        let endpoint = Endpoint::parse(&format!("{}/logs-*", fake.url())).unwrap();
        assert_eq!(LogStore::Elasticsearch(&endpoint).count(&query(true)).await, Ok(7));
        assert!(fake.heard()[0].starts_with("GET /logs-*/_search?"), "{:?}", fake.heard());
    }
}
