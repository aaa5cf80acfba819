//! The configuration of a member: as in production, with shorter times.

/// Seconds for which a leader that does not report keeps the leadership. The smallest for which a busy machine
/// does not lose it.
const TTL: u8 = 8;

pub(super) struct Config<'a> {
    pub(super) name: &'a str,
    pub(super) folder: &'a str,
    pub(super) programs: &'a str,
    pub(super) etcd: u16,
    pub(super) api: u16,
    pub(super) port: u16,
    pub(super) administrator: &'a str,
    pub(super) password: &'a str,
    pub(super) synchronous: bool,
}

impl Config<'_> {
    pub(super) fn yaml(&self) -> String {
        let Self { name, folder, programs, etcd, api, port, .. } = self;
        let Self { administrator, password, synchronous, .. } = self;
        format!(
            "scope: rehome
name: {name}
restapi: {{listen: '127.0.0.1:{api}', connect_address: '127.0.0.1:{api}'}}
etcd3: {{host: '127.0.0.1:{etcd}'}}
watchdog: {{mode: 'off'}}
bootstrap:
  dcs:
    ttl: {TTL}
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: {synchronous}
    maximum_lag_on_failover: 1073741824
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 300
        shared_buffers: 32MB
        max_wal_size: 256MB
        checkpoint_timeout: 1min
        wal_log_hints: 'on'
        wal_retrieve_retry_interval: 500ms
        timezone: UTC
  initdb: [{{encoding: UTF8}}, {{locale: C}}, no-sync]
  pg_hba:
  - host replication replicator 127.0.0.1/32 scram-sha-256
  - host all all 127.0.0.1/32 scram-sha-256
postgresql:
  listen: '127.0.0.1:{port}'
  connect_address: '127.0.0.1:{port}'
  data_dir: {folder}/data
  bin_dir: {programs}
  pgpass: {folder}/pgpass
  parameters: {{unix_socket_directories: ''}}
  authentication:
    superuser: {{username: {administrator}, password: '{password}'}}
    replication: {{username: replicator, password: '{password}'}}
    rewind: {{username: rewinder, password: '{password}'}}
"
        )
    }
}
