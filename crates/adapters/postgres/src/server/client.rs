//! A connection lent by the pool, and a transaction on it.
//!
//! **Where names resolve.** A role that can create objects in a schema of the search path can
//! run code as rehome's role: a function or operator with better fitting types takes precedence over that of
//! `pg_catalog`. So no statement of rehome runs with a path that has more than `pg_catalog` in it (and, last,
//! the session's own temporary objects). A session gets that path when it starts. If a pooler
//! prevents that, each statement runs in a transaction of its own that sets the path
//! first, sent in one piece. rehome's functions have the same path of their own.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, TryStreamExt as _};
use tokio_postgres::Row;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::PostgresOptions;
use super::pool::{self, Object, Session};
use super::primary;
use crate::error::ServerError;
use crate::schema::names;

/// A value to bind, and the type it is bound as.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection. It goes back to the pool when dropped, unless something on it was cut off.
pub(crate) struct Client {
    /// `None` only while it is dropped.
    connection: Option<Object>,
    /// As it is, not quoted.
    schema: String,
    answer_within: Duration,
    /// Something was sent and its end has not been seen.
    busy: bool,
    /// Inside a transaction of the adapter, which has its settings.
    in_transaction: bool,
}

impl Client {
    pub(super) fn new(connection: Object, schema: String, options: PostgresOptions) -> Self {
        let answer_within = options.answer_within;
        let (busy, in_transaction) = (false, false);
        Self { connection: Some(connection), schema, answer_within, busy, in_transaction }
    }

    /// How long to wait for responses, where work takes longer than usual statements.
    pub(crate) fn answers_within(&mut self, time: Duration) {
        self.answer_within = time;
    }

    /// The statement of a template, see [`names::render`].
    pub(crate) fn sql(&self, template: &str) -> String {
        names::render(template, &self.schema)
    }

    /// Whether the settings of the session are the adapter's: behind a pooler they may be another client's.
    pub(crate) fn has_our_settings(&self) -> bool {
        self.connection.as_ref().is_some_and(|session| session.has_our_settings())
    }

    /// One statement that changes nothing.
    pub(crate) async fn read(
        &mut self,
        template: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, ServerError> {
        self.run(template, params).await
    }

    /// One statement that may change something, in a transaction of its own. If its answer is
    /// lost, it may have been applied.
    pub(crate) async fn write(
        &mut self,
        template: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, ServerError> {
        self.run(template, params).await.map_err(ServerError::of_write)
    }

    /// The same for a statement that is one call of a function of rehome, with values of exactly its types: no
    /// name in it needs resolution, and the function sets its path itself.
    pub(crate) async fn call(
        &mut self,
        template: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, ServerError> {
        self.run_as_it_is(template, params).await.map_err(ServerError::of_write)
    }

    /// Starts a transaction, READ COMMITTED: each statement in it sees what was committed before
    /// the statement, including the transactions that a lock waited for.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_>, ServerError> {
        self.busy = true;
        let begin = if self.has_our_settings() { BEGIN.to_owned() } else { self.begin_ours() };
        self.batch(&begin).await?;
        self.in_transaction = true;
        Ok(Transaction(self))
    }

    /// Starts a transaction with a lock, and keeps both until this is dropped.
    pub(crate) async fn hold(&mut self, lock: &str) -> Result<(), ServerError> {
        let begin = if self.has_our_settings() { BEGIN.to_owned() } else { self.begin_ours() };
        self.busy = true;
        self.batch(&format!("{begin}; {lock}")).await?;
        self.in_transaction = true;
        Ok(())
    }

    /// Starts a transaction with the settings of the adapter's sessions.
    fn begin_ours(&self) -> String {
        format!("{BEGIN}; {}", pool::local_settings(self.answer_within))
    }

    /// Statements without values, one after the other.
    async fn batch(&mut self, template: &str) -> Result<(), ServerError> {
        let sql = self.sql(template);
        let (connection, asked) = self.ask();
        within(asked, connection.batch_execute(&sql)).await
    }

    /// Whether a statement has to bring its own transaction with our settings.
    fn is_bare(&self) -> bool {
        !self.in_transaction && !self.has_our_settings()
    }

    async fn run(&mut self, template: &str, params: &[Param<'_>]) -> Result<Vec<Row>, ServerError> {
        if !self.is_bare() {
            return self.run_as_it_is(template, params).await;
        }
        let (sql, begin) = (self.sql(template), self.begin_ours());
        let (connection, asked) = self.ask();
        let query = connection.query_typed(&sql, params);
        within(asked, wrapped(connection, &begin, query)).await
    }

    async fn run_as_it_is(
        &mut self,
        template: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, ServerError> {
        let sql = self.sql(template);
        let named = self.has_our_settings();
        let (connection, asked) = self.ask();
        if !named {
            return within(asked, connection.query_typed(&sql, params)).await;
        }
        let types: Vec<Type> = params.iter().map(|(_, kind)| kind.clone()).collect();
        let values: Vec<&(dyn ToSql + Sync)> = params.iter().map(|(value, _)| *value).collect();
        let query = async {
            let statement = connection.prepare_typed_cached(&sql, &types).await?;
            connection.query(&statement, &values).await
        };
        within(asked, query).await
    }

    /// One read-only statement, row by row as they arrive: memory holds only what `take`
    /// keeps. Its first error ends the reading.
    pub(crate) async fn read_each(
        &mut self,
        template: &str,
        params: &[Param<'_>],
        mut take: impl FnMut(Row) -> Result<(), ServerError> + Send,
    ) -> Result<(), ServerError> {
        let sql = self.sql(template);
        let named = self.has_our_settings();
        let begin = self.is_bare().then(|| self.begin_ours());
        let (connection, asked) = self.ask();
        let mut taken = Ok(());
        let read = async {
            let rows = if named {
                let types: Vec<Type> = params.iter().map(|(_, kind)| kind.clone()).collect();
                let statement = connection.prepare_typed_cached(&sql, &types).await?;
                connection.query_raw(&statement, params.iter().map(|(value, _)| *value)).await?
            } else {
                connection.query_typed_raw(&sql, params.iter().cloned()).await?
            };
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = rows.try_next().await? {
                if taken.is_ok() {
                    taken = take(row);
                }
            }
            Ok(())
        };
        match begin {
            Some(begin) => within(asked, wrapped(connection, &begin, read)).await?,
            None => within(asked, read).await?,
        }
        taken
    }

    /// One statement of a user, as it is, without placeholders. Only in a
    /// transaction of the adapter, which has its settings.
    pub(crate) async fn foreign(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, ServerError> {
        let (connection, asked) = self.ask();
        within(asked, connection.query_typed(sql, params)).await
    }

    /// The columns that a statement returns, by name and type, without executing it. Only in a transaction of the
    /// adapter.
    pub(crate) async fn describe(&mut self, sql: &str) -> Result<Vec<(String, Type)>, ServerError> {
        let (connection, asked) = self.ask();
        let prepared = within(asked, connection.prepare(sql)).await?;
        let columns = prepared.columns().iter();
        Ok(columns.map(|column| (column.name().to_owned(), column.type_().clone())).collect())
    }

    /// Marks the connection until an answer is here.
    fn ask(&mut self) -> (&Object, Asked<'_>) {
        let connection = self.connection.as_ref().expect("it is there until it is dropped");
        let before = std::mem::replace(&mut self.busy, true);
        let (session, answer_within) = (&**connection, self.answer_within);
        (connection, Asked { busy: &mut self.busy, before, answer_within, session })
    }
}

/// The start of every transaction.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// A statement in a transaction of its own, of which everything is sent before anything is answered. If
/// one part fails, the server skips or rolls back the rest.
async fn wrapped<T>(
    connection: &Object,
    begin: &str,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    let (begun, answer, ended) = tokio::join!(
        biased;
        connection.batch_execute(begin),
        statement,
        connection.batch_execute("COMMIT"),
    );
    begun?;
    let answer = answer?;
    ended?;
    Ok(answer)
}

/// A question that was not yet answered.
struct Asked<'a> {
    busy: &'a mut bool,
    before: bool,
    answer_within: Duration,
    session: &'a Session,
}

/// Waits for the answer. If it does not come, or the caller goes away, the connection stays marked.
async fn within<T>(
    asked: Asked<'_>,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, ServerError> {
    let time = asked.answer_within;
    let answer = tokio::select! {
        biased;
        answer = tokio::time::timeout(time, answer) => {
            answer.map_err(|_| ServerError::no_answer(time))?
        }
        () = asked.session.overtaken() => return Err(primary::overtaken()),
    };
    if asked.session.is_overtaken() {
        return Err(primary::overtaken());
    }
    // A primary that became a standby stays one: the connection goes.
    let read_only = Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
    if answer.as_ref().err().and_then(tokio_postgres::Error::code) != read_only {
        *asked.busy = asked.before;
    }
    Ok(answer?)
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.busy
        {
            // Closes it; the server rolls back what was not committed.
            drop(Object::take(connection));
        }
    }
}

/// A transaction. If dropped before its commit, it closes the connection, and the server
/// rolls it back.
pub(crate) struct Transaction<'a>(&'a mut Client);

impl Transaction<'_> {
    /// One statement in the transaction. Whatever its error, nothing is applied.
    pub(crate) async fn query(
        &mut self,
        template: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, ServerError> {
        self.0.run(template, params).await
    }

    /// Begins a COPY of rows of these types into the server.
    pub(crate) async fn copy_in(
        &mut self,
        template: &str,
        types: &[Type],
    ) -> Result<CopyIn, ServerError> {
        let sql = self.0.sql(template);
        let (connection, asked) = self.0.ask();
        let answer_within = asked.answer_within;
        let sink = within(asked, connection.copy_in(&sql)).await?;
        Ok(CopyIn { writer: Box::pin(BinaryCopyInWriter::new(sink, types)), answer_within })
    }

    /// A COPY of rows in the text format, in pieces.
    pub(crate) async fn copy_text(
        &mut self,
        template: &str,
        pieces: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), ServerError> {
        let sql = self.0.sql(template);
        let (connection, asked) = self.0.ask();
        let sent = async {
            let sink = connection.copy_in::<_, Bytes>(&sql).await?;
            let mut sink = std::pin::pin!(sink);
            for piece in pieces {
                sink.send(piece).await?;
            }
            sink.finish().await
        };
        within(asked, sent).await?;
        Ok(())
    }

    /// Commits. If the answer is lost, it may have been applied.
    pub(crate) async fn commit(self) -> Result<(), ServerError> {
        self.end("COMMIT").await.map_err(ServerError::of_write)
    }

    /// Rolls back and keeps the connection.
    pub(crate) async fn roll_back(self) -> Result<(), ServerError> {
        self.end("ROLLBACK").await
    }

    /// Statements without values, one after the other.
    pub(crate) async fn batch(&mut self, template: &str) -> Result<(), ServerError> {
        self.0.batch(template).await
    }

    async fn end(self, end: &str) -> Result<(), ServerError> {
        self.0.batch(end).await?;
        self.0.busy = false;
        self.0.in_transaction = false;
        Ok(())
    }
}

/// Rows on their way to the server. Dropped before its end, nothing of it is there.
pub(crate) struct CopyIn {
    writer: Pin<Box<BinaryCopyInWriter>>,
    answer_within: Duration,
}

impl CopyIn {
    /// Sends a row.
    pub(crate) async fn row(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), ServerError> {
        let time = self.answer_within;
        let sent = tokio::time::timeout(time, self.writer.as_mut().write(values)).await;
        Ok(sent.map_err(|_| ServerError::no_answer(time))??)
    }

    /// Ends the copy; the transaction continues.
    pub(crate) async fn finish(mut self) -> Result<(), ServerError> {
        let time = self.answer_within;
        let ended = tokio::time::timeout(time, self.writer.as_mut().finish()).await;
        ended.map_err(|_| ServerError::no_answer(time))??;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.0
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.0
    }
}
