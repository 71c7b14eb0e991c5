//! Several gRPC servers that a program calls: the flags, and the connections.

use clap::Args;
use tonic::transport::{Channel, Endpoint};

use crate::signals::Reload;
use crate::tls::upstream::{BadUpstream, GrpcUpstream, UpstreamTls, endpoint};

/// The gRPC servers to call, which have one database.
#[derive(Clone, Debug, Args)]
pub struct GrpcUpstreams {
    /// A gRPC server: HOST:PORT, http://HOST:PORT or https://HOST:PORT. Repeatable, or separated by commas: all of them
    /// must have the same database. Each site has one of them; if that one does not serve, its calls go to another one.
    #[arg(
        long,
        visible_alias = "server",
        env = "GRPC_UPSTREAM",
        default_value = "127.0.0.1:50051",
        value_delimiter = ',',
        value_parser = endpoint
    )]
    pub grpc_upstream: Vec<Endpoint>,
    /// How to trust them.
    #[command(flatten)]
    pub tls: UpstreamTls,
}

impl GrpcUpstreams {
    /// For each server its name, `HOST:PORT`, and a channel that connects at the first call, and again whenever the
    /// connection is lost. `settings` adds to the endpoints. Must be called inside the runtime.
    pub fn channels(
        &self,
        settings: impl Fn(Endpoint) -> Endpoint,
        reload: &Reload,
    ) -> Result<Vec<(String, Channel)>, BadUpstream> {
        let mut channels: Vec<(String, Channel)> = Vec::new();
        for endpoint in &self.grpc_upstream {
            let server = GrpcUpstream { grpc_upstream: endpoint.clone(), tls: self.tls.clone() };
            let name = server.address();
            if channels.iter().any(|(other, _)| *other == name) {
                return Err(BadUpstream::Twice { uri: endpoint.uri().clone() });
            }
            channels.push((name, server.channel(&settings, reload.clone())?));
        }
        Ok(channels)
    }

    /// The URLs of the servers, separated by commas.
    pub fn names(&self) -> String {
        self.grpc_upstream.iter().map(|endpoint| endpoint.uri().to_string()).collect::<Vec<_>>().join(",")
    }
}
