//! Postgres gives the service a role with few rights. The whole service runs as that role, and the role cannot touch
//! the books in any other way. The owner of the tables cannot empty them by accident either.

use inventory_core::store::DatabaseUrl;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::programs::{Running, finish_saying, grpc_server, program};
use inventory_tests::requests::{adjust, decrement, guid, increment, reference, set, set_item};
use inventory_tests::world::{Backend, Database};
use tonic::transport::Endpoint;

/// A database with the schema, a new role that may run the service, and the database's URL for that role.
pub(crate) fn with_role() -> (Database, String, String) {
    let database = Database::fresh(Backend::Postgres);
    let role = format!("service-{}", &guid()[..8]);
    books::script(&database.url, &format!("CREATE ROLE \"{role}\" LOGIN"));
    let mut migrate = program("inventory-grpc");
    migrate.args(["migrate", "--database-url", &database.text, "--grant-to", &role]);
    let output = migrate.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (_, host) = database.text.split_once('@').expect("the URL has a user");
    let text = format!("postgres://{role}@{host}");
    (database, role, text)
}

pub(crate) fn remove_role(database: &Database, role: &str) {
    books::script(&database.url, &format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_runs_as_a_role_that_cannot_touch_the_books() {
    let (database, role, text) = with_role();
    let mut serve = program("inventory-grpc");
    serve.args(["serve", "--grpc-listen", "127.0.0.1:0", "--migrate", "never", "--database-url", &text]);
    let server = Running::start(serve, 1);
    let url = format!("http://{}", server.addresses[0]);
    let channel = Endpoint::from_shared(url).expect("the URL is valid").connect().await.expect("the server answers");
    let (site, order_id) = (guid(), guid());
    let mut stock = StockServiceClient::new(channel.clone());
    let mut availability = AvailabilityServiceClient::new(channel.clone());
    stock.set_stock(set(&site, vec![set_item("A", 5), set_item("B", 0)])).await.expect("levels can be set");
    stock.adjust_stock(adjust(&site, &[("A", 1)])).await.expect("levels can be adjusted");
    let taken = v1::DecrementAvailabilityRequest { order_id: order_id.clone(), ..decrement(&site, &[("A", 2)]) };
    availability.decrement_availability(taken.clone()).await.expect("stock can be taken");
    let replay = availability.decrement_availability(taken).await.expect("a replay is answered").into_inner();
    assert!(replay.repeated_request);
    availability.decrement_availability(decrement(&site, &[("A", 99)])).await.expect_err("a refusal is recorded");
    availability.increment_availability(increment(&site, &order_id, &[("A", 1)])).await.expect("stock can come back");
    let unit = v1::UpdateUnitRequest {
        site_id: site.clone(),
        unit: reference("A"),
        new_sku: Some("SKU".into()),
        ..Default::default()
    };
    stock.update_unit(unit).await.expect("units can be changed");
    let policies = v1::UpdateSiteRequest {
        site_id: site.clone(),
        over_returns: v1::OverReturnPolicy::Clip.into(),
        ..Default::default()
    };
    SiteServiceClient::new(channel.clone()).update_site(policies).await.expect("sites can be changed");
    let asked = v1::GetOrderRequest { site_id: site.clone(), order_id, ..Default::default() };
    let found = LedgerServiceClient::new(channel).get_order(asked).await.expect("the ledger can be read").into_inner();
    assert_eq!((found.entries.len(), found.lines[0].net), (2, 1));
    drop(server);

    let as_role: DatabaseUrl = text.parse().expect("the URL is valid");
    for forbidden in [
        "UPDATE ledger SET delta = delta",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "UPDATE change SET actor = 'somebody'",
        "DELETE FROM change",
        "TRUNCATE change",
        "DELETE FROM level",
        "DELETE FROM unit",
        "DELETE FROM site",
        "DELETE FROM waypoint",
        "DELETE FROM journal",
        "INSERT INTO cut (site_id, sequence, recorded_at) SELECT site_id, sequence, recorded_at FROM site",
        "UPDATE balance SET available = 0",
        "DELETE FROM holding",
        "UPDATE request SET recorded_at = 0",
        "ALTER TABLE ledger DISABLE TRIGGER append_only",
        "DROP TABLE ledger",
        "CREATE TABLE other (id int)",
    ] {
        let done = books::execute(&as_role, forbidden);
        let error = done.expect_err(forbidden).to_string();
        assert!(error.contains("permission denied") || error.contains("must be owner"), "{forbidden}: {error}");
    }
    remove_role(&database, &role);
}

/// By default a server brings the schema up to date. The role of the service has no right to that, and needs none on a
/// schema that lacks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_the_default_settings_starts_as_that_role() {
    let (database, role, text) = with_role();
    let server = grpc_server(&text);
    let url = format!("http://{}", server.addresses[0]);
    let channel = Endpoint::from_shared(url).expect("the URL is valid").connect().await.expect("the server answers");
    StockServiceClient::new(channel).set_stock(set(&guid(), vec![set_item("A", 5)])).await.expect("levels can be set");
    drop(server);

    let newest = "SELECT max(version) FROM __diesel_schema_migrations";
    let forget = format!("DELETE FROM __diesel_schema_migrations WHERE version = ({newest})");
    assert_eq!(books::execute(&database.url, &forget), Ok(1));
    let mut serve = program("inventory-grpc");
    serve.args(["serve", "--grpc-listen", "127.0.0.1:0", "--database-url", &text]);
    let (code, said) = finish_saying(serve);
    assert!(code == 1 && said.contains("permission denied"), "a step is missing, and the role may not run it: {said}");
    remove_role(&database, &role);
}

#[test]
fn not_even_the_owner_empties_the_ledger() {
    let database = Database::fresh(Backend::Postgres);
    let mut migrate = program("inventory-grpc");
    migrate.args(["migrate", "--database-url", &database.text]);
    assert!(migrate.output().expect("the program starts").status.success());
    for table in ["ledger", "change", "waypoint", "site, unit, level, change, ledger, waypoint, request"] {
        let error = books::execute(&database.url, &format!("TRUNCATE {table}")).expect_err(table).to_string();
        assert!(error.contains("never changed or removed"), "{table}: {error}");
    }
}

#[test]
fn a_server_that_may_not_migrate_says_what_is_missing() {
    let database = Database::fresh(Backend::Postgres);
    let mut serve = program("inventory-grpc");
    serve.args(["serve", "--grpc-listen", "127.0.0.1:0", "--migrate", "never", "--database-url", &database.text]);
    let output = serve.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("no tables of this service; run `inventory-grpc migrate`"),
        "{said}"
    );
    let mut migrate = program("inventory-grpc");
    migrate.args(["migrate", "--database-url", &database.text]);
    assert!(migrate.output().expect("the program starts").status.success());
    let mut grant = program("inventory-grpc");
    let path = database.folder().join("roles.db");
    grant.args(["migrate", "--grant-to", "x", "--database-url", &format!("sqlite:{}", path.display())]);
    let output = grant.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--grant-to: SQLite has no roles"), "{said}");
}
