//! Upgrades filled databases of earlier schemas. The second migration makes the chains of levels from the ledger. The
//! sixth one moves option keys into the settings of catalogs, and finds out which units were ever stocked.

use inventory_core::model::catalog::{Unit, Variant};
use inventory_core::model::ids::{LevelId, SiteId};
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::ledger_service_client::LedgerServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_tests::books;
use inventory_tests::programs::program;
use inventory_tests::requests::{decrement, reference_of};
use inventory_tests::scenario::BOOKINGS;
use inventory_tests::steps;
use inventory_tests::test_clock::{SECOND, YEAR_2100, timestamp};
use inventory_tests::world::{Backend, Database, start_grpc};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;
use uuid::Uuid;

const MIGRATIONS: [&str; 5] = [
    "2026-11-23-000001_stock",
    "2026-11-23-000002_chain",
    "2026-11-23-000003_note",
    "2026-11-23-000004_unit",
    "2026-11-23-000005_orders",
];
const ENTRIES: i64 = 300;

/// A GUID as SQL of the store.
fn stored(backend: Backend, guid: &Uuid) -> String {
    match backend {
        Backend::Sqlite => format!("x'{}'", guid.simple()),
        Backend::Postgres => format!("CAST('{guid}' AS uuid)"),
    }
}

#[test]
fn a_database_of_the_first_schema_gets_its_chains() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let database = Database::fresh(backend);
        let run = |sql: &str| books::execute(&database.url, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        steps::apply_first(&database, backend, &MIGRATIONS[..1]);
        let id = |digit: u128| stored(backend, &Uuid::from_u128(digit));
        let (site, unit, shop) = (id(1), id(2), id(3));
        run(&format!("INSERT INTO site (site_id, sequence) VALUES ({site}, {ENTRIES})"));
        run(&format!("INSERT INTO unit VALUES ({unit}, {site}, 'app', 'item', '')"));
        // Every third entry belongs to the level at the shop, the others to the level at the default location.
        let mut levels = [(id(4), "NULL".to_owned(), 0, 0), (id(5), shop, 0, 0)];
        for sequence in 1..=ENTRIES {
            let (_, location, available, last) = &mut levels[usize::from(sequence % 3 == 0)];
            let before = *available;
            (*available, *last) = (before + 1, sequence);
            run(&format!(
                "INSERT INTO change VALUES ({site}, {sequence}, {sequence}, 2, 0, NULL, '{sequence}', '', 0)"
            ));
            run(&format!(
                "INSERT INTO ledger VALUES ({site}, {sequence}, {sequence}, {unit}, {location}, 1, {before}, \
                 {before} + 1, NULL, false)"
            ));
            let key = id(sequence as u128);
            run(&format!("INSERT INTO request VALUES ({site}, {key}, {key}, {sequence}, {sequence}, NULL, 0)"));
        }
        for (level, location, available, last) in &levels {
            run(&format!(
                "INSERT INTO level VALUES ({level}, {site}, {unit}, {location}, {available}, {available}, {last})"
            ));
        }
        let mut migrate = program("inventory-grpc");
        migrate.args(["migrate", "--database-url", &database.text]);
        assert!(migrate.output().expect("the program starts").status.success(), "{backend:?}: migrate failed");
        assert_eq!(books::count(&database.url, "SELECT count(*) AS wrong FROM waypoint"), 3 + 1);
        // Dropping the database checks the rest: every entry names the previous one of its level.
    }
}

/// The site of the second test.
const SITE: Uuid = Uuid::from_u128(0x5eed_0000_0000_4000_8000_0000_0000_0001);

/// An entry of the old ledger: the kind of its change, the unit by app and item, and the change of the level.
type OldEntry = (i64, &'static str, &'static str, i64);

const OLD_ENTRIES: [OldEntry; 11] = [
    (3, "app", "set", 5),
    (3, BOOKINGS, "set", 2),
    (4, "app", "adjusted", 1),
    (1, "app", "ordered", -2),
    (1, BOOKINGS, "ordered", -1),
    (2, "app", "returned", 3),
    (1, "app", "set", -1),
    (5, "app", "moved", -1),
    (6, "app", "repaired", 1),
    (3, "app", "status", 1),
    (3, "app", "limited", 4),
];

/// Units that have settings: app, item, SKU, tracking, backorder limit, whether subscriptions count.
const OLD_SETTINGS: [(&str, &str, &str, i64, i64, bool); 3] = [
    ("app", "status", "'S-1'", 2, 0, true),
    ("app", "limited", "NULL", 1, 7, false),
    ("app", "planned", "'P-1'", 2, 0, true),
];

/// Fills a database of the fifth schema. Returns the time of its last change.
fn fill(database: &Database, backend: Backend) -> i64 {
    let run = |sql: &str| books::execute(&database.url, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let site = SiteId::from_uuid(SITE);
    let id = |guid: &Uuid| stored(backend, guid);
    let unit_of = |app_id: &str, item_id: &str| {
        let variant = Variant::default();
        Unit { app_id: app_id.to_owned(), item_id: item_id.to_owned(), variant }.id(site)
    };
    run(&format!(
        "INSERT INTO site (site_id, sequence, option_keys, revision, suspected_repeats, over_returns) VALUES \
         ({}, {}, '{{\"app\":[\"size\",\"color\"],\"{BOOKINGS}\":[]}}', 6, 2, 2)",
        id(&SITE),
        OLD_ENTRIES.len()
    ));
    run(&format!("INSERT INTO site (site_id) VALUES ({})", id(&Uuid::from_u128(9))));
    for (app_id, item_id, sku, tracking, limit, counts) in OLD_SETTINGS {
        run(&format!(
            "INSERT INTO unit (unit_id, site_id, app_id, item_id, variant, sku, tracking, backorder_limit, \
             counts_subscriptions) VALUES ({}, {}, '{app_id}', '{item_id}', '', {sku}, {tracking}, {limit}, {counts})",
            id(unit_of(app_id, item_id).as_uuid()),
            id(&SITE)
        ));
    }
    let mut time = YEAR_2100;
    for (sequence, (kind, app_id, item_id, delta)) in (1..).zip(OLD_ENTRIES) {
        let unit = unit_of(app_id, item_id);
        let (site, unit_id, level) = (id(&SITE), id(unit.as_uuid()), id(LevelId::of(unit, None).as_uuid()));
        run(&format!(
            "INSERT INTO unit (unit_id, site_id, app_id, item_id, variant) VALUES ({unit_id}, {site}, '{app_id}', \
             '{item_id}', '') ON CONFLICT (unit_id) DO NOTHING"
        ));
        time += SECOND;
        run(&format!(
            "INSERT INTO change (site_id, first_sequence, last_sequence, kind, reason, request_id, actor, recorded_at) \
             VALUES ({site}, {sequence}, {sequence}, {kind}, 0, '{sequence}', '', {time})"
        ));
        let earlier = (1..).zip(OLD_ENTRIES).take(sequence as usize - 1);
        let earlier: Vec<(i64, OldEntry)> =
            earlier.filter(|(_, (_, app, item, _))| (*app, *item) == (app_id, item_id)).collect();
        let before: i64 = earlier.iter().map(|(_, (.., delta))| delta).sum();
        let (previous, revision) = (earlier.last().map_or(0, |(sequence, _)| *sequence), earlier.len() + 1);
        let after = before + delta;
        run(&format!(
            "INSERT INTO ledger (site_id, sequence, change_sequence, unit_id, delta, level_before, level_after, \
             subscription, previous_sequence) VALUES ({site}, {sequence}, {sequence}, {unit_id}, {delta}, {before}, \
             {after}, false, {previous})"
        ));
        run(&format!(
            "INSERT INTO level (level_id, site_id, unit_id, available, revision, last_sequence) VALUES ({level}, \
             {site}, {unit_id}, {after}, {revision}, {sequence}) ON CONFLICT (level_id) DO UPDATE SET \
             available = {after}, revision = {revision}, last_sequence = {sequence}"
        ));
        let key = id(&Uuid::from_u128(sequence as u128));
        run(&format!(
            "INSERT INTO request (site_id, request_key, fingerprint, first_sequence, last_sequence, recorded_at) \
             VALUES ({site}, {key}, {key}, {sequence}, {sequence}, {time})"
        ));
    }
    time
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_kinds_of_items_keeps_its_units_on_sqlite() {
    upgrade_to_kinds(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_kinds_of_items_keeps_its_units_on_postgres() {
    upgrade_to_kinds(Backend::Postgres).await;
}

async fn upgrade_to_kinds(backend: Backend) {
    use v1::SettingSource::{BuiltIn, Unit};
    use v1::Tracking::{Quantity, Status, Untracked};
    let database = Database::fresh(backend);
    steps::apply_first(&database, backend, &MIGRATIONS);
    let last_time = fill(&database, backend);
    let stop = CancellationToken::new();
    let address = format!("http://{}", start_grpc(database.url.clone(), stop.clone()).await);
    let channel = Channel::from_shared(address).expect("the URL is valid").connect_lazy();
    let site_id = SITE.to_string();

    let mut sites = SiteServiceClient::new(channel.clone());
    let get = v1::GetSiteRequest { site_id: site_id.clone() };
    let site = sites.get_site(get).await.expect("the site is known").into_inner().site.expect("the site");
    let keys = |app_id: &str, keys: &[&str]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let option_keys = Some(v1::OptionKeys { keys });
        v1::CatalogSettings { app_id: app_id.into(), option_keys, ..Default::default() }
    };
    assert_eq!(site.catalogs, [keys(BOOKINGS, &[]), keys("app", &["size", "color"])]);
    assert_eq!((site.sequence, site.revision), (OLD_ENTRIES.len() as i64, 6));
    assert_eq!(site.over_returns(), v1::OverReturnPolicy::Clip);
    let get = v1::GetSiteRequest { site_id: Uuid::from_u128(9).to_string() };
    let empty = sites.get_site(get).await.expect("the site is known").into_inner().site.expect("the site");
    assert_eq!((empty.catalogs, empty.sequence), (vec![], 0));

    let usual = (Quantity, BuiltIn);
    let rows = [
        ("app", "set", usual, true, 4),
        ("app", "adjusted", usual, true, 1),
        ("app", "ordered", usual, false, -2),
        ("app", "returned", usual, false, 3),
        ("app", "moved", usual, false, -1),
        ("app", "repaired", usual, false, 1),
        ("app", "status", (Status, Unit), true, 1),
        ("app", "limited", usual, true, 4),
        ("app", "planned", (Status, Unit), false, 0),
        (BOOKINGS, "set", usual, true, 2),
        (BOOKINGS, "ordered", (Untracked, BuiltIn), false, -1),
    ];
    let mut stock = StockServiceClient::new(channel.clone());
    for (app_id, item_id, tracking, stocked, level) in rows {
        let name = format!("{app_id}/{item_id}");
        let get = v1::GetUnitRequest { site_id: site_id.clone(), unit: reference_of(app_id, item_id) };
        let unit = stock.get_unit(get).await.expect(&name).into_inner().unit.expect(&name);
        assert_eq!(((unit.tracking(), unit.tracking_source()), unit.stocked), (tracking, stocked), "{name}");
        let limits = (unit.backorder_limit, unit.backorder_limit_source());
        let counts = (unit.counts_subscriptions, unit.counts_subscriptions_source());
        let expected = match item_id {
            "limited" => ((7, Unit), (false, Unit)),
            _ => ((0, BuiltIn), (true, BuiltIn)),
        };
        assert_eq!((limits, counts), expected, "{name}");
        let sku = match item_id {
            "status" => "S-1",
            "planned" => "P-1",
            _ => "",
        };
        assert_eq!(unit.sku, sku, "{name}");
        let unit = reference_of(app_id, item_id);
        let get = v1::GetStockRequest { site_id: site_id.clone(), unit, ..Default::default() };
        let found = stock.get_stock(get).await.expect(&name).into_inner().stock.expect(&name);
        assert_eq!(found.available, level, "{name}");
    }

    // The machine's clock is before the last change of the ledger, and the site's time is not.
    let mut availability = AvailabilityServiceClient::new(channel.clone());
    let rows =
        [("app", "ordered", false), (BOOKINGS, "ordered", true), (BOOKINGS, "set", true), ("app", "planned", false)];
    for (app_id, item_id, is_sold) in rows {
        let item = v1::Item { unit: reference_of(app_id, item_id), quantity: 2, ..Default::default() };
        let request = v1::DecrementAvailabilityRequest { items: vec![item], ..decrement(&site_id, &[]) };
        let taken = availability.decrement_availability(request).await.map(drop).map_err(|status| status.code());
        assert_eq!(taken, if is_sold { Ok(()) } else { Err(Code::FailedPrecondition) }, "{app_id}/{item_id}");
    }
    let after_sequence = OLD_ENTRIES.len() as i64;
    let request = v1::ListEntriesRequest { site_id, after_sequence, ..Default::default() };
    let entries = LedgerServiceClient::new(channel).list_entries(request).await.expect("entries").into_inner().entries;
    let changes: Vec<_> = entries.iter().map(|entry| (entry.delta, entry.record_time)).collect();
    assert_eq!(changes, [(0, Some(timestamp(last_time))), (-2, Some(timestamp(last_time)))]);
    stop.cancel();
}
