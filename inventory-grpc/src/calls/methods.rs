//! The metric of all calls, and the methods that it knows: those of the descriptors that the server shows.
//!
//! A path that is none of them counts as one unknown method, so callers cannot make up labels.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use inventory_program::trace;
use inventory_proto::DESCRIPTORS;
use metrics::{Histogram, Unit, describe_histogram, histogram};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use super::ended::Ended;

const HANDLING: &str = "grpc_server_handling_seconds";
/// The service and the method of a path that names none.
const UNKNOWN: &str = "unknown";

/// The names of the codes, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The name of a code, as the specification of gRPC writes it.
pub(super) fn code_name(code: Code) -> &'static str {
    CODES[code as usize]
}

/// All methods of the server.
pub(super) struct Methods {
    known: HashMap<String, Arc<Method>>,
    unknown: Arc<Method>,
}

/// One method, with the histograms of its calls.
pub(super) struct Method {
    /// `package.Service/Method`.
    pub(super) path: String,
    service: String,
    name: String,
    /// By the number of the code. Made at the first call that ends with it.
    times: [OnceLock<Histogram>; CODES.len()],
}

impl Methods {
    /// Reads the methods from the descriptors. Calls that succeed are exported from now on, with 0.
    pub(super) fn new() -> Self {
        describe_histogram!(
            HANDLING,
            Unit::Seconds,
            "Time from a call's headers to the last byte of its answer, in seconds, by method and code. A call on a \
             stream of calls counts as one of its method, from its message to its answer."
        );
        let sets = [
            DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        // The sets are part of the program, so each can be decoded. A test counts the methods.
        let files = sets.into_iter().flat_map(|set| FileDescriptorSet::decode(set).unwrap_or_default().file);
        let mut known = HashMap::new();
        for file in files {
            for service in &file.service {
                let service_name = format!("{}.{}", file.package(), service.name());
                for method in &service.method {
                    let method = Method::new(service_name.clone(), method.name().to_owned());
                    known.insert(format!("/{}", method.path), Arc::new(method));
                }
            }
        }
        Self { known, unknown: Arc::new(Method::new(UNKNOWN.to_owned(), UNKNOWN.to_owned())) }
    }

    /// The method that a path names.
    pub(super) fn of(&self, path: &str) -> Arc<Method> {
        Arc::clone(self.known.get(path).unwrap_or(&self.unknown))
    }
}

impl Method {
    fn new(service: String, name: String) -> Self {
        let times = std::array::from_fn(|_| OnceLock::new());
        let method = Self { path: format!("{service}/{name}"), service, name, times };
        method.times(Code::Ok);
        method
    }

    /// A span of a call of this method.
    pub(super) fn span(&self) -> Span {
        tracing::info_span!(
            parent: None,
            "call",
            otel.name = trace::only_traced(self.path.as_str()),
            otel.kind = trace::only_traced("server"),
            rpc.system = trace::only_traced("grpc"),
            rpc.method = self.path,
            rpc.grpc.status_code = Empty,
            site.id = Empty,
            order.id = Empty,
            request.id = Empty,
        )
    }

    /// Counts a call that ended, and ends it in its span.
    pub(super) fn ended<'a>(&self, code: Code, why: &'a str, took: Duration, span: &Span) -> Ended<'a> {
        self.times(code).record(took.as_secs_f64());
        if let Some(code) = trace::only_traced(code as i32) {
            span.record("rpc.grpc.status_code", code);
        }
        let ended = Ended { code, why, took };
        if ended.is_failure() {
            trace::failed(span, code_name(code));
        }
        ended
    }

    fn times(&self, code: Code) -> &Histogram {
        self.times[code as usize].get_or_init(|| {
            let (service, method) = (self.service.clone(), self.name.clone());
            histogram!(
                HANDLING,
                "grpc_service" => service,
                "grpc_method" => method,
                "grpc_code" => code_name(code),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_contract_is_known_and_others_are_one() {
        let methods = Methods::new();
        let of_contract = methods.known.keys().filter(|path| path.starts_with("/inventory.v1.")).count();
        let described = FileDescriptorSet::decode(DESCRIPTORS).expect("the descriptors can be read");
        let services = described.file.iter().flat_map(|file| &file.service);
        assert_eq!(of_contract, services.map(|service| service.method.len()).sum::<usize>());
        for path in ["/inventory.v1.StockService/SetStock", "/grpc.health.v1.Health/Check"] {
            assert_eq!(format!("/{}", methods.of(path).path), path);
        }
        assert_eq!(methods.of("/inventory.v1.StockService/Other").path, "unknown/unknown");
    }

    #[test]
    fn every_code_has_its_name() {
        for (number, name) in (0..).zip(CODES) {
            let debug = format!("{:?}", Code::from_i32(number));
            assert_eq!(name.replace('_', "").to_lowercase(), debug.to_lowercase());
        }
    }
}
