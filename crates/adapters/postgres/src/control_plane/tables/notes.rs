//! Data beside a migration or a tenant that moves no route: marks, memos, checkpoints.

use rehome_domain::digest::sha256;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_ports::{Checkpoint, Marks, Memo};
use tokio_postgres::types::Type;

use super::{TRIES, all, first, of_known};
use crate::control_plane::rows::{self, int};
use crate::control_plane::{Answer, busy, text};
use crate::server::{Client, Param};

pub(crate) async fn marks(client: &mut Client, id: MigrationId) -> Answer<Marks> {
    let sql = format!(
        "SELECT true, k.migration IS NOT NULL, {} FROM {{schema}}.migrations AS g \
         LEFT JOIN {{schema}}.marks AS k ON k.migration = g.id WHERE g.id = $1",
        rows::MARKS
    );
    let found = client.read(&sql, &[(&id.uuid(), Type::UUID)]).await?;
    of_known(
        id,
        &found,
        |columns| {
            if columns.next()? { rows::marks(columns) } else { Ok(Marks::default()) }
        },
    )
}

/// Writes the marks by the port's rule, applied to the current ones.
pub(crate) async fn set_marks(client: &mut Client, id: MigrationId, new: &Marks) -> Answer<()> {
    let sql = "INSERT INTO {schema}.marks AS k (migration, read_back_m, read_back_seq, \
                   read_back_digest, copy_rate, verified_seq, updated_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (migration) DO UPDATE SET read_back_m = excluded.read_back_m, \
                   read_back_seq = excluded.read_back_seq, \
                   read_back_digest = excluded.read_back_digest, copy_rate = excluded.copy_rate, \
                   verified_seq = excluded.verified_seq, updated_at = excluded.updated_at \
               WHERE (k.read_back_m, k.read_back_seq) IS NOT DISTINCT FROM ($8::bigint, $9::bigint) \
               RETURNING true";
    for _ in 0..TRIES {
        let held = marks(client, id).await?;
        let kept = held.moved_to(new);
        let int = |count: Option<u64>| count.map(int).transpose();
        let (mark, old) = (kept.read_back, held.read_back);
        let digest = mark.map(|mark| mark.head.digest);
        let params: [Param<'_>; 9] = [
            (&id.uuid(), Type::UUID),
            (&int(mark.map(|mark| mark.m.0))?, Type::INT8),
            (&int(mark.map(|mark| mark.head.seq))?, Type::INT8),
            (&digest.as_ref().map(|digest| digest.as_bytes().as_slice()), Type::BYTEA),
            (&kept.copy_rate, Type::FLOAT8),
            (&int(kept.verified_seq)?, Type::INT8),
            (&kept.updated_at.micros(), Type::INT8),
            (&int(old.map(|mark| mark.m.0))?, Type::INT8),
            (&int(old.map(|mark| mark.head.seq))?, Type::INT8),
        ];
        if !client.write(sql, &params).await?.is_empty() {
            return Ok(());
        }
    }
    Err(busy().into())
}

pub(crate) async fn memo(client: &mut Client, id: MigrationId, name: &str) -> Answer<Option<Memo>> {
    let sql = "SELECT true, m.at, m.text FROM {schema}.migrations AS g \
               LEFT JOIN {schema}.memos AS m ON m.migration = g.id AND m.name = $2 WHERE g.id = $1";
    let params: [Param<'_>; 2] = [(&id.uuid(), Type::UUID), (&text(name), Type::TEXT)];
    let found = client.read(sql, &params).await?;
    of_known(id, &found, |columns| {
        let (at, text) = (columns.optional_time()?, columns.next::<Option<String>>()?);
        Ok(at.zip(text).map(|(at, text)| Memo { at, text }))
    })
}

pub(crate) async fn set_memo(
    client: &mut Client,
    id: MigrationId,
    name: &str,
    memo: &Memo,
) -> Answer<()> {
    let sql = "WITH written AS (INSERT INTO {schema}.memos (migration, name, at, text) \
                   SELECT g.id, $2, $3, $4 FROM {schema}.migrations AS g WHERE g.id = $1 \
                   ON CONFLICT (migration, name) \
                   DO UPDATE SET at = excluded.at, text = excluded.text) \
               SELECT EXISTS (SELECT FROM {schema}.migrations WHERE id = $1)";
    let params: [Param<'_>; 4] = [
        (&id.uuid(), Type::UUID),
        (&text(name), Type::TEXT),
        (&memo.at.micros(), Type::INT8),
        (&text(&memo.text), Type::TEXT),
    ];
    let found = client.write(sql, &params).await?;
    of_known(id, &found, |_| Ok(()))
}

pub(crate) async fn checkpoint(client: &mut Client, tenant: TenantId, name: &str) -> Answer<u64> {
    let sql = "SELECT seq FROM {schema}.checkpoints WHERE tenant = $1 AND name_hash = $2";
    let hash = sha256(&[name.as_bytes()]);
    let params: [Param<'_>; 2] =
        [(&tenant.uuid(), Type::UUID), (&hash.as_bytes().as_slice(), Type::BYTEA)];
    let found = client.read(sql, &params).await?;
    Ok(first(&found, rows::seq)?.unwrap_or(0))
}

pub(crate) async fn checkpoints(
    client: &mut Client,
    tenant: TenantId,
    limit: usize,
) -> Answer<Vec<Checkpoint>> {
    let sql = "SELECT tenant, name, seq FROM {schema}.checkpoints WHERE tenant = $1 \
               ORDER BY name COLLATE \"C\" LIMIT $2";
    let params: [Param<'_>; 2] =
        [(&tenant.uuid(), Type::UUID), (&rows::at_most(limit), Type::INT8)];
    Ok(all(&client.read(sql, &params).await?, rows::checkpoint)?)
}

pub(crate) async fn furthest_checkpoints(
    client: &mut Client,
    after: Option<TenantId>,
    limit: usize,
) -> Answer<Vec<Checkpoint>> {
    let sql = "SELECT DISTINCT ON (tenant) tenant, name, seq FROM {schema}.checkpoints \
               WHERE $1::uuid IS NULL OR tenant > $1 ORDER BY tenant, seq DESC LIMIT $2";
    let after = after.map(TenantId::uuid);
    let params: [Param<'_>; 2] = [(&after, Type::UUID), (&rows::at_most(limit), Type::INT8)];
    Ok(all(&client.read(sql, &params).await?, rows::checkpoint)?)
}

pub(crate) async fn put_checkpoint(
    client: &mut Client,
    tenant: TenantId,
    name: &str,
    seq: u64,
) -> Answer<()> {
    let sql = "INSERT INTO {schema}.checkpoints (tenant, name_hash, name, seq) \
               VALUES ($1, $2, $3, $4) \
               ON CONFLICT (tenant, name_hash) DO UPDATE SET seq = excluded.seq";
    let hash = sha256(&[name.as_bytes()]);
    let params: [Param<'_>; 4] = [
        (&tenant.uuid(), Type::UUID),
        (&hash.as_bytes().as_slice(), Type::BYTEA),
        (&text(name), Type::TEXT),
        (&int(seq)?, Type::INT8),
    ];
    client.write(sql, &params).await?;
    Ok(())
}
