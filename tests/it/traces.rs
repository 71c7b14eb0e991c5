//! Traces of the real programs, as a collector gets them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use inventory_tests::programs::{Running, program};
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use inventory_tests::world::{Backend, Database, serve};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// A collector that keeps all that it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().expect("no panic").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts a collector. Returns its URL.
    async fn start(&self) -> String {
        let service = TraceServiceServer::new(self.clone());
        format!("http://{}", serve(Server::builder().add_service(service)).await)
    }

    /// All that it got, as text.
    fn text(&self) -> String {
        format!("{:?}", self.0.lock().expect("no panic"))
    }

    /// The spans of one trace for each root, from the root down: name, kind, whether it failed. Reports of the server's
    /// health are left out.
    fn traces(&self) -> Vec<Vec<(String, SpanKind, bool)>> {
        let requests = self.0.lock().expect("no panic");
        let scopes = requests.iter().flat_map(|request| &request.resource_spans).flat_map(|from| &from.scope_spans);
        let spans: Vec<&Span> = scopes.flat_map(|scope| &scope.spans).collect();
        let children: BTreeMap<&[u8], &Span> =
            spans.iter().map(|span| (span.parent_span_id.as_slice(), *span)).collect();
        let mut roots = spans.clone();
        roots.retain(|span| span.parent_span_id.is_empty());
        roots.sort_by_key(|span| span.start_time_unix_nano);
        let down = |root: &Span| {
            let mut chain = vec![root.clone()];
            while let Some(span) = children.get(chain[chain.len() - 1].span_id.as_slice()) {
                assert_eq!(span.trace_id, root.trace_id);
                chain.push((*span).clone());
            }
            let failed = |span: &Span| span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
            chain.iter().map(|span| (span.name.clone(), span.kind(), failed(span))).collect()
        };
        roots.into_iter().filter(|root| !root.name.starts_with("grpc.health.")).map(down).collect()
    }
}

/// The gRPC server, and the adapter in front of it, with traces.
fn start(database: &Database, collector: &str, log: &Path) -> (Running, Running) {
    let mut command = program("inventory-grpc");
    command.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &database.text]);
    command.args(["--otlp-endpoint", collector]);
    let server = Running::start_logging(command, 1, log);
    let front = adapter(&server.addresses[0].to_string(), collector);
    (server, front)
}

fn adapter(upstream: &str, collector: &str) -> Running {
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID, "--otlp-endpoint", collector]);
    command.args(["--grpc-upstream", upstream]).env("WIX_PUBLIC_KEY", &app_key().public);
    Running::start(command, 1)
}

/// Ends the programs in turn. A clean exit delivers the spans that are still waiting.
async fn stop(programs: Vec<Running>) {
    let ended = tokio::task::spawn_blocking(|| programs.into_iter().all(|program| program.terminate().success())).await;
    assert!(ended.expect("no panic"), "a program did not end with 0");
}

/// Both programs, and the collector of their traces.
struct Traced {
    collector: Collector,
    caller: WixCaller,
    programs: Vec<Running>,
    _database: Database,
}

impl Traced {
    async fn start() -> Self {
        let collector = Collector::default();
        let url = collector.start().await;
        let database = Database::fresh(Backend::Sqlite);
        let (server, front) = start(&database, &url, &database.folder().join("log"));
        let caller = WixCaller::new(front.addresses[0]);
        Self { collector, caller, programs: vec![front, server], _database: database }
    }

    /// Ends the programs. Returns the collector, which has everything.
    async fn end(self) -> Collector {
        let Self { collector, caller, programs, _database } = self;
        drop(caller);
        stop(programs).await;
        collector
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_adapter_to_the_commit() {
    let traced = Traced::start().await;
    let site = Uuid::new_v4().to_string();
    assert_eq!(traced.caller.call("increment", order(&site, json!([item("A", 1)]))).await.status, 200);
    assert_eq!(traced.caller.call("decrement", order(&site, json!([item("A", 2)]))).await.status, 428);
    assert_eq!(traced.caller.post("/v1/decrement", "a.b.c".into()).await.status, 401);
    let collector = traced.end().await;
    let chain = |route: &str, method: &str| {
        let method = format!("inventory.v1.AvailabilityService/{method}");
        vec![
            (route.to_owned(), SpanKind::Server, false),
            (method.clone(), SpanKind::Client, false),
            (method, SpanKind::Server, false),
            ("commit".to_owned(), SpanKind::Internal, false),
        ]
    };
    let refused = vec![("POST /v1/decrement".to_owned(), SpanKind::Server, false)];
    // The calls travel on one stream, which is a trace of its own.
    let stream = ("inventory.v1.AvailabilityService/ChangeAvailability".to_owned(), SpanKind::Server, false);
    let expected = [
        chain("POST /v1/increment", "IncrementAvailability"),
        vec![stream],
        chain("POST /v1/decrement", "DecrementAvailability"),
        refused,
    ];
    assert_eq!(collector.traces(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_name_site_order_and_request_but_never_the_token() {
    let traced = Traced::start().await;
    let site = Uuid::new_v4().to_string();
    let data = order(&site, json!([item("A", 1)]));
    let token = traced.caller.token(data.clone());
    assert_eq!(traced.caller.post("/v1/increment", token.clone()).await.status, 200);
    let collector = traced.end().await;
    let spans = collector.text();
    let text = |field: &str| {
        data["request"][field].as_str().or(data["metadata"][field].as_str()).expect("the field is text").to_owned()
    };
    for named in [site, text("orderId"), text("requestId")] {
        assert!(spans.contains(&named), "no span names {named}");
    }
    let (_, signature) = token.rsplit_once('.').expect("a token has three parts");
    assert!(!spans.contains(signature) && !spans.contains("catalogItemId"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_has_the_status_of_an_error() {
    let collector = Collector::default();
    let url = collector.start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let upstream = nobody.local_addr().expect("a listener has an address").to_string();
    drop(nobody);
    let front = adapter(&upstream, &url);
    let caller = WixCaller::new(front.addresses[0]);
    let answer = caller.call("decrement", order(&Uuid::new_v4().to_string(), json!([item("A", 2)]))).await;
    assert_eq!(answer.status, 503);
    drop(caller);
    stop(vec![front]).await;
    let traces = collector.traces();
    assert_eq!(traces.len(), 1);
    assert!(traces[0].len() == 2 && traces[0].iter().all(|(_, _, failed)| *failed), "{traces:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_is_one_line_in_the_log() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", nobody.local_addr().expect("a listener has an address"));
    drop(nobody);
    let database = Database::fresh(Backend::Sqlite);
    let folder = TempDir::new().expect("the temporary folder is writable");
    let log = folder.path().join("log");
    let (server, front) = start(&database, &url, &log);
    let caller = WixCaller::new(front.addresses[0]);
    let site = Uuid::new_v4().to_string();
    // More than one delivery holds.
    for _ in 0..30 {
        let calls = (0..64).map(|_| caller.call("increment", order(&site, json!([item("A", 1)]))));
        assert!(futures_util::future::join_all(calls).await.iter().all(|answer| answer.status == 200));
    }
    drop(caller);
    stop(vec![front, server]).await;
    let log = std::fs::read_to_string(&log).expect("the log can be read");
    assert_eq!(log.matches("the collector of traces does not take them").count(), 1, "{log}");
}
