//! The settings of Patroni and of haproxy.

use std::path::Path;

/// What one Patroni has to know.
pub(super) struct Patroni<'a> {
    pub(super) name: &'a str,
    /// The port of its REST API, and the one under which others reach it.
    pub(super) rest: [u16; 2],
    /// The port of its Postgres, and the one under which others reach it.
    pub(super) postgres: [u16; 2],
    /// The ports under which it reaches the etcd, and the API that it uses there.
    pub(super) etcd: &'a [u16],
    pub(super) api: &'a str,
    pub(super) data: &'a Path,
    pub(super) bin: &'a Path,
    /// Where sockets and passwords go.
    pub(super) folder: &'a Path,
}

/// The bounds of a failover are as low as Patroni's rule allows (`loop_wait + 2 * retry_timeout <= ttl`), so that a
/// round takes seconds. Production has 10, 10 and 30.
///
/// The processes are killed, never the machine, so nothing needs to be forced to disk.
pub(super) fn patroni(of: &Patroni<'_>) -> String {
    let Patroni { name, rest: [rest, far_rest], postgres: [postgres, far_postgres], etcd, api, data, bin, folder } = of;
    let hosts: Vec<String> = etcd.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
    let (hosts, data, bin, folder) = (hosts.join(", "), data.display(), bin.display(), folder.display());
    format!(
        "scope: soak
name: {name}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{far_rest}'}}
{api}: {{hosts: [{hosts}], use_proxies: true}}
bootstrap:
  initdb: [{{encoding: UTF8}}, {{auth: trust}}, no-sync]
  dcs:
    ttl: 6
    loop_wait: 1
    retry_timeout: 2
    maximum_lag_on_failover: 1048576
    synchronous_mode: true
    synchronous_mode_strict: true
    primary_start_timeout: 0
    postgresql:
      use_pg_rewind: true
      remove_data_directory_on_rewind_failure: true
      remove_data_directory_on_diverged_timelines: true
      parameters:
        restart_after_crash: 'off'
        wal_log_hints: 'on'
        fsync: 'off'
        max_connections: 80
        max_wal_senders: 10
        max_replication_slots: 10
        shared_buffers: 64MB
        max_wal_size: 256MB
        wal_keep_size: 1GB
        wal_sender_timeout: 3s
        wal_receiver_timeout: 3s
        wal_receiver_status_interval: 1s
        wal_retrieve_retry_interval: 500ms
postgresql:
  listen: '127.0.0.1:{postgres}'
  connect_address: '127.0.0.1:{far_postgres}'
  data_dir: '{data}'
  bin_dir: '{bin}'
  pgpass: '{folder}/{name}.pgpass'
  authentication:
    superuser: {{username: postgres}}
    replication: {{username: postgres}}
    rewind: {{username: postgres}}
  basebackup: [{{checkpoint: fast}}, no-sync]
  parameters: {{unix_socket_directories: '{folder}'}}
  pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']
"
    )
}

/// haproxy forwards connections to the server whose Patroni says that it is the primary, and ends those to a server
/// that is none any more. `servers` are the ports of each Postgres and of its Patroni.
pub(super) fn haproxy(port: u16, servers: &[[u16; 2]]) -> String {
    let server = |(index, [postgres, rest]): (usize, &[u16; 2])| {
        format!("  server n{index} 127.0.0.1:{postgres} check port {rest}\n")
    };
    let servers: String = servers.iter().enumerate().map(server).collect();
    format!(
        "global
  maxconn 500
defaults
  mode tcp
  timeout connect 1s
  timeout client 30m
  timeout server 30m
  timeout check 1s
listen postgres
  bind 127.0.0.1:{port}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}"
    )
}
