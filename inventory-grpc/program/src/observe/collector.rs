//! The collector of traces: where it is, and what the log says of one that does not answer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use super::Sight;
use crate::signals::Reload;
use crate::tls::{self, BadFile};

const ENDPOINT: &str = "--otlp-endpoint (OTLP_ENDPOINT)";
const CA: &str = "--otlp-ca (OTLP_CA)";
/// Time for a connection to the collector, and for one delivery.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Traces cannot be sent. The text names the flag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CollectorError {
    /// The authority is missing.
    #[error("{ENDPOINT}: {uri} is https, so {CA} is required: the file of the authority that signed its certificate")]
    NoAuthority {
        /// The URL.
        uri: Uri,
    },
    /// An authority is given for a collector that is reached without TLS.
    #[error("{CA} is set, but {ENDPOINT} is not https; write https://HOST:PORT, or remove the flag")]
    NotTls,
    /// The URL has no host that a certificate can name.
    #[error("{ENDPOINT}: {uri} has no host that a certificate can name")]
    Host {
        /// The URL.
        uri: Uri,
    },
    /// The authority's file cannot be used.
    #[error(transparent)]
    File(#[from] BadFile),
    /// The exporter cannot be built.
    #[error("{ENDPOINT}: traces cannot be sent to {uri}")]
    Exporter {
        /// The URL.
        uri: Uri,
        /// The cause.
        source: ExporterBuildError,
    },
}

/// The form of `--otlp-endpoint`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    match Endpoint::from_shared(text.to_owned()) {
        Ok(endpoint) if ["http", "https"].map(Some).contains(&endpoint.uri().scheme_str()) => Ok(endpoint),
        Ok(_) | Err(_) => Err("must be http://HOST:PORT, or https://HOST:PORT for TLS".into()),
    }
}

/// The provider of traces; `None` if no collector is set. Must be called inside the runtime.
pub(super) fn provider(program: &'static str, sight: &Sight) -> Result<Option<SdkTracerProvider>, CollectorError> {
    let Sight { otlp_endpoint, otlp_ca, log_calls: _ } = sight;
    let Some(endpoint) = otlp_endpoint else {
        return if otlp_ca.is_some() { Err(CollectorError::NotTls) } else { Ok(None) };
    };
    let uri = endpoint.uri().clone();
    let channel = channel(endpoint, otlp_ca.clone())?;
    let exporter = SpanExporter::builder().with_tonic().with_channel(channel).build();
    let exporter = exporter.map_err(|source| CollectorError::Exporter { uri: uri.clone(), source })?;
    let exporter = Told { exporter, uri, is_failing: AtomicBool::new(false) };
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_service_name(program).with_attribute(version).build();
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
}

/// A channel that connects at the first delivery.
fn channel(endpoint: &Endpoint, ca: Option<PathBuf>) -> Result<Channel, CollectorError> {
    let uri = endpoint.uri().clone();
    let endpoint = endpoint.clone().connect_timeout(TIME_MAX).timeout(TIME_MAX);
    match (uri.scheme_str() == Some("https"), ca) {
        (false, None) => Ok(endpoint.connect_lazy()),
        (false, Some(_)) => Err(CollectorError::NotTls),
        (true, None) => Err(CollectorError::NoAuthority { uri }),
        (true, Some(ca)) => {
            let connector = tls::connector(CA, &uri, ca, None, tls::ALPN_GRPC, Reload::never())?;
            let connector = connector.ok_or(CollectorError::Host { uri })?;
            Ok(endpoint.connect_with_connector_lazy(connector))
        }
    }
}

/// An exporter whose failures are logged at their start and at their end.
#[derive(Debug)]
struct Told {
    exporter: SpanExporter,
    uri: Uri,
    is_failing: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_failing => {
                let collector = &self.uri;
                tracing::warn!(%collector, %error, "the collector of traces does not take them; they are lost");
            }
            Ok(()) if was_failing => {
                tracing::info!(collector = %self.uri, "the collector of traces takes them again");
            }
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
