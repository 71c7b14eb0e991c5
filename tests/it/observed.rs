//! Metrics and traces of the real programs, as an operator sees them.

use std::sync::{Arc, Mutex};

use axum::http::Method;
use inventory_tests::programs::{Running, free_address, grpc_server, program};
use inventory_tests::test_keys::app_key;
use inventory_tests::wix_caller::{APP_ID, WixCaller, item, order};
use inventory_tests::world::{Backend, Database, serve};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use serde_json::json;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// A trace collector that keeps all spans as text.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<String>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().expect("no panic").push_str(&format!("{:?}", request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_name_site_order_and_request_but_never_the_token() {
    let collector = Collector::default();
    let service = TraceServiceServer::new(collector.clone());
    let endpoint = format!("http://{}", serve(Server::builder().add_service(service)).await);

    let database = Database::fresh(Backend::Sqlite);
    let server = grpc_server(&database.text);
    let mut command = program("wix-adapter");
    command.args(["serve", "--http-listen", "127.0.0.1:0", "--wix-app-id", APP_ID, "--otlp-endpoint", &endpoint]);
    command.args(["--grpc-upstream", &server.addresses[0].to_string()]).env("WIX_PUBLIC_KEY", &app_key().public);
    let front = Running::start(command, 1);
    let caller = WixCaller::new(front.addresses[0]);
    let site = Uuid::new_v4().to_string();
    let data = order(&site, json!([item("A", 1)]));
    let token = caller.token(data.clone());
    assert_eq!(caller.post("/v1/increment", token.clone()).await.status, 200);
    drop(caller);
    // A clean exit delivers the spans that are still waiting.
    assert_eq!(tokio::task::spawn_blocking(|| front.terminate().code()).await.expect("no panic"), Some(0));
    let spans = collector.0.lock().expect("no panic").clone();
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
async fn metrics_count_orders_by_outcome() {
    let free = free_address();
    let database = Database::fresh(Backend::Sqlite);
    let mut command = program("wix-adapter");
    command.args(["standalone", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]);
    command.args(["--database-url", &database.text, "--wix-app-id", APP_ID, "--admin-listen", &free.to_string()]);
    command.env("WIX_PUBLIC_KEY", &app_key().public);
    let servers = Running::start(command, 2);
    let caller = WixCaller::new(servers.addresses[1]);
    let site = Uuid::new_v4().to_string();
    let give = order(&site, json!([item("A", 1)]));
    assert_eq!(caller.call("increment", give.clone()).await.status, 200);
    assert_eq!(caller.call("increment", give).await.status, 200);
    assert_eq!(caller.call("decrement", order(&site, json!([item("A", 2)]))).await.status, 428);
    let metrics =
        WixCaller::new(free).send(Method::GET, "/metrics", Vec::new()).await.expect("the admin server answers").text;
    for line in [
        r#"inventory_commands_total{outcome="applied"} 1"#,
        r#"inventory_commands_total{outcome="replayed"} 1"#,
        r#"inventory_commands_total{outcome="refused"} 1"#,
        // The increment returns a piece of an order that took none.
        r#"inventory_order_marks_total{mark="over_return",policy="report"} 1"#,
        r#"wix_calls_total{method="decrement",answer="not_possible"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
