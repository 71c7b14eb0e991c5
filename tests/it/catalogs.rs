//! Settings of catalogs: which setting of a unit is in force, where it comes from, and which settings are refused.

use inventory_proto::v1;
use inventory_tests::errors::{error, error_of};
use inventory_tests::on_both;
use inventory_tests::requests::{catalog, guid, reference, reference_of, reset, set, set_item, tracked, window};
use inventory_tests::scenario::{BOOKINGS, RESTAURANTS, STORES, app_of};
use inventory_tests::test_clock::{SECOND, YEAR_2100, timestamp};
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::World;
use prost_types::Timestamp;
use tonic::Code;

on_both!(
    the_unit_goes_before_its_catalog_and_the_catalog_before_the_built_in_settings,
    a_unit_that_was_never_written_is_explained,
    settings_of_catalogs_are_replaced_app_by_app,
    bad_settings_of_a_site_are_named_by_their_path,
    bad_settings_of_a_unit_are_named_by_their_path,
    a_sales_window_must_end_after_it_begins,
);

use v1::SettingSource::{BuiltIn, Catalog, Unit};
use v1::Tracking::{Quantity, Status, Untracked};

/// The settings of a unit in force, each with its source: tracking, backorder limit, whether subscriptions count.
type InForce = ((v1::Tracking, v1::SettingSource), (i64, v1::SettingSource), (bool, v1::SettingSource));

fn in_force(unit: &v1::Unit) -> InForce {
    (
        (unit.tracking(), unit.tracking_source()),
        (unit.backorder_limit, unit.backorder_limit_source()),
        (unit.counts_subscriptions, unit.counts_subscriptions_source()),
    )
}

struct Row {
    name: &'static str,
    id: &'static str,
    /// The settings of the unit's catalog.
    catalog: v1::CatalogSettings,
    /// The unit's own settings.
    unit: v1::UpdateUnitRequest,
    /// The level that is set before, if any.
    level: Option<i64>,
    expected: InForce,
}

async fn the_unit_goes_before_its_catalog_and_the_catalog_before_the_built_in_settings(world: World) {
    let limits = ((0, BuiltIn), (true, BuiltIn));
    let usual = |tracking, source| ((tracking, source), limits.0, limits.1);
    let none = v1::CatalogSettings::default;
    let by = |tracking: v1::Tracking| v1::CatalogSettings { tracking: tracking.into(), ..none() };
    let policy = |unstocked: v1::Unstocked| v1::CatalogSettings { unstocked: unstocked.into(), ..none() };
    let own = v1::UpdateUnitRequest::default;
    let row = |name, id, catalog, unit, level, expected| Row { name, id, catalog, unit, level, expected };
    let rows = [
        row("nothing is set", "A", none(), own(), None, usual(Quantity, BuiltIn)),
        row("nothing is set, Wix Stores", "product", none(), own(), Some(1), usual(Quantity, BuiltIn)),
        row("nothing is set, Wix Bookings", "booking", none(), own(), None, usual(Untracked, BuiltIn)),
        row("nothing is set, Wix Restaurants", "dish", none(), own(), None, usual(Untracked, BuiltIn)),
        row("a stocked booking", "booking", none(), own(), Some(0), usual(Quantity, BuiltIn)),
        row("a catalog's tracking", "A", by(Status), own(), None, usual(Status, Catalog)),
        row("a catalog's tracking, a booking", "booking", by(Status), own(), None, usual(Untracked, BuiltIn)),
        row("the same, stocked", "booking", by(Status), own(), Some(3), usual(Status, Catalog)),
        row("a catalog that sells", "A", policy(v1::Unstocked::Sell), own(), None, usual(Untracked, Catalog)),
        row("the same, stocked", "A", policy(v1::Unstocked::Sell), own(), Some(0), usual(Quantity, BuiltIn)),
        row("bookings refused", "booking", policy(v1::Unstocked::Refuse), own(), None, usual(Quantity, BuiltIn)),
        row("a unit's tracking", "A", by(Status), tracked(Untracked), Some(1), usual(Untracked, Unit)),
        row("a unit's tracking, a booking", "booking", none(), tracked(Quantity), None, usual(Quantity, Unit)),
        row(
            "a unit's tracking that equals the built-in one",
            "A",
            none(),
            tracked(Quantity),
            None,
            usual(Quantity, Unit),
        ),
        row(
            "each setting from another place",
            "A",
            v1::CatalogSettings { backorder_limit: Some(9), counts_subscriptions: Some(false), ..none() },
            v1::UpdateUnitRequest { backorder_limit: Some(0), ..own() },
            Some(1),
            ((Quantity, BuiltIn), (0, Unit), (false, Catalog)),
        ),
        row(
            "all settings of the catalog",
            "booking",
            v1::CatalogSettings { backorder_limit: Some(9), counts_subscriptions: Some(false), ..by(Status) },
            own(),
            Some(1),
            ((Status, Catalog), (9, Catalog), (false, Catalog)),
        ),
        row(
            "all settings of the unit",
            "A",
            v1::CatalogSettings { backorder_limit: Some(9), counts_subscriptions: Some(false), ..by(Status) },
            v1::UpdateUnitRequest { backorder_limit: Some(1), counts_subscriptions: Some(true), ..tracked(Untracked) },
            Some(1),
            ((Untracked, Unit), (1, Unit), (true, Unit)),
        ),
    ];
    for Row { name, id, catalog: settings, unit, level, expected } in rows {
        let (site_id, app_id) = (guid(), app_of(id));
        let settings = v1::CatalogSettings { app_id: app_id.into(), ..settings };
        let request = v1::UpdateSiteRequest { site_id: site_id.clone(), ..catalog(settings) };
        world.sites().update_site(request).await.expect(name);
        let request = v1::UpdateUnitRequest { site_id: site_id.clone(), unit: reference_of(app_id, id), ..unit };
        let updated = world.stock().update_unit(request).await.expect(name).into_inner().unit.expect(name);
        if let Some(available) = level {
            let item = v1::SetStockItem { unit: reference_of(app_id, id), available, ..Default::default() };
            world.stock().set_stock(set(&site_id, vec![item])).await.expect(name);
        } else {
            assert_eq!(in_force(&updated), expected, "{name}: UpdateUnit");
        }
        let request = v1::GetUnitRequest { site_id: site_id.clone(), unit: reference_of(app_id, id) };
        let got = world.stock().get_unit(request).await.expect(name).into_inner().unit.expect(name);
        assert_eq!((in_force(&got), got.stocked), (expected, level.is_some()), "{name}: GetUnit");
        let request =
            v1::ExplainLevelRequest { site_id: site_id.clone(), unit: reference_of(app_id, id), ..Default::default() };
        let explained = world.ledger().explain_level(request).await.expect(name).into_inner().unit;
        assert_eq!(explained.as_ref(), Some(&got), "{name}: ExplainLevel");
        let request = v1::ListUnitsRequest { site_id: site_id.clone(), ..Default::default() };
        let listed = world.stock().list_units(request).await.expect(name).into_inner().units;
        assert_eq!(listed, [got], "{name}: ListUnits");
        let request = v1::GetStockRequest { site_id, unit: reference_of(app_id, id), ..Default::default() };
        let stock = world.stock().get_stock(request).await.expect(name).into_inner().stock.expect(name);
        assert_eq!((stock.tracking(), stock.backorder_limit), (expected.0.0, expected.1.0), "{name}: GetStock");
    }
}

async fn a_unit_that_was_never_written_is_explained(world: World) {
    for (id, tracking) in [("A", Quantity), ("product", Quantity), ("booking", Untracked), ("dish", Untracked)] {
        let (site_id, unit) = (world.site.clone(), reference_of(app_of(id), id));
        let request = v1::ExplainLevelRequest { site_id, unit, ..Default::default() };
        let explained = world.ledger().explain_level(request).await.expect(id).into_inner();
        let unit = explained.unit.expect("the answer holds the unit");
        assert_eq!(unit.catalog_reference, reference_of(app_of(id), id));
        assert_eq!(in_force(&unit), ((tracking, BuiltIn), (0, BuiltIn), (true, BuiltIn)), "{id}");
        assert!(!unit.stocked, "{id}");
        let request = v1::GetUnitRequest { site_id: world.site.clone(), unit: reference_of(app_of(id), id) };
        let unknown = world.stock().get_unit(request).await.expect_err("nothing was written for the unit");
        assert_eq!(error_of(&unknown), error(Code::NotFound, "UNIT_NOT_FOUND", ""), "{id}");
    }
}

async fn settings_of_catalogs_are_replaced_app_by_app(world: World) {
    let all = v1::CatalogSettings {
        app_id: CATALOG.into(),
        option_keys: Some(v1::OptionKeys { keys: vec!["Size".into()] }),
        tracking: Status.into(),
        backorder_limit: Some(4),
        counts_subscriptions: Some(false),
        unstocked: v1::Unstocked::Sell.into(),
    };
    let bookings = v1::CatalogSettings {
        app_id: BOOKINGS.into(),
        option_keys: Some(v1::OptionKeys::default()),
        unstocked: v1::Unstocked::Refuse.into(),
        ..Default::default()
    };
    let update = async |catalogs: &[&v1::CatalogSettings]| {
        let catalogs = catalogs.iter().map(|settings| (*settings).clone()).collect();
        let site = world.configure_site(v1::UpdateSiteRequest { catalogs, ..Default::default() }).await;
        site.expect("the settings are valid")
    };
    let site = update(&[&all, &bookings]).await;
    assert_eq!((site.catalogs, site.revision), (vec![bookings.clone(), all.clone()], 1), "in the order of the app ids");
    let upper = v1::CatalogSettings { app_id: BOOKINGS.to_uppercase(), ..bookings.clone() };
    let site = update(&[&upper]).await;
    assert_eq!((site.catalogs, site.revision), (vec![bookings.clone(), all.clone()], 1), "nothing changed");
    let fewer = v1::CatalogSettings { app_id: CATALOG.into(), backorder_limit: Some(0), ..Default::default() };
    let site = update(&[&fewer]).await;
    assert_eq!((site.catalogs, site.revision), (vec![bookings.clone(), fewer.clone()], 2), "all settings of the app");
    let nothing = v1::CatalogSettings { app_id: BOOKINGS.into(), ..Default::default() };
    let site = update(&[&nothing]).await;
    assert_eq!((site.catalogs, site.revision), (vec![fewer.clone()], 3), "an app without settings is built in");
    let policies = v1::UpdateSiteRequest { over_returns: v1::OverReturnPolicy::Clip.into(), ..Default::default() };
    let site = world.configure_site(policies).await.expect("the policy can be changed");
    assert_eq!(site.catalogs, std::slice::from_ref(&fewer), "a request that names no app changes none");
    let request = v1::GetSiteRequest { site_id: world.site.clone() };
    let got = world.sites().get_site(request).await.expect("the site is known").into_inner().site;
    assert_eq!(got.expect("the answer holds the site").catalogs, [fewer]);
}

async fn bad_settings_of_a_site_are_named_by_their_path(world: World) {
    let app = |app_id: &str| v1::CatalogSettings { app_id: app_id.into(), ..Default::default() };
    let keys = |keys: Vec<String>| v1::CatalogSettings { option_keys: Some(v1::OptionKeys { keys }), ..app("a") };
    let apps = |count: usize| (0..count).map(|number| app(&format!("app-{number}"))).collect::<Vec<_>>();
    let rows: Vec<(&str, Vec<v1::CatalogSettings>, &str)> = vec![
        ("an app without an id", vec![app("a"), app("")], "catalogs[1].app_id"),
        ("an app id of 101 characters", vec![app(&"a".repeat(101))], "catalogs[0].app_id"),
        ("the same app twice", vec![app(STORES), app(RESTAURANTS), app(STORES)], "catalogs[2].app_id"),
        ("the same app in another case", vec![app(STORES), app(&STORES.to_uppercase())], "catalogs[1].app_id"),
        ("an unknown tracking", vec![v1::CatalogSettings { tracking: 4, ..app("a") }], "catalogs[0].tracking"),
        ("a negative tracking", vec![v1::CatalogSettings { tracking: -1, ..app("a") }], "catalogs[0].tracking"),
        ("an unknown policy", vec![v1::CatalogSettings { unstocked: 3, ..app("a") }], "catalogs[0].unstocked"),
        (
            "a negative backorder limit",
            vec![v1::CatalogSettings { backorder_limit: Some(-1), ..app("a") }],
            "catalogs[0].backorder_limit",
        ),
        (
            "a large backorder limit",
            vec![v1::CatalogSettings { backorder_limit: Some(1_000_000_000_001), ..app("a") }],
            "catalogs[0].backorder_limit",
        ),
        ("21 option keys", vec![keys(vec!["k".into(); 21])], "catalogs[0].option_keys.keys"),
        ("an empty option key", vec![keys(vec![String::new()])], "catalogs[0].option_keys.keys"),
        ("an option key of 101 characters", vec![keys(vec!["k".repeat(101)])], "catalogs[0].option_keys.keys"),
        ("101 apps", apps(101), "catalogs"),
    ];
    for (name, catalogs, field) in rows {
        let request = v1::UpdateSiteRequest { catalogs, ..Default::default() };
        let refused = world.configure_site(request).await.expect_err(name);
        assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", field), "{name}");
    }
    let unknown = v1::GetSiteRequest { site_id: world.site.clone() };
    let unknown = world.sites().get_site(unknown).await.expect_err("a refused request creates no site");
    assert_eq!(unknown.code(), Code::NotFound);

    // The bound holds for the settings that a site has, not for the apps of one request.
    let limited = |mut catalogs: Vec<v1::CatalogSettings>| {
        catalogs.iter_mut().for_each(|settings| settings.backorder_limit = Some(1));
        v1::UpdateSiteRequest { catalogs, ..Default::default() }
    };
    let site = world.configure_site(limited(apps(100))).await.expect("a site may have settings for 100 apps");
    assert_eq!(site.catalogs.len(), 100);
    let refused = world.configure_site(limited(vec![app("one more")])).await.expect_err("the site has 100 already");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "catalogs"));
    let mut exchanged = limited(vec![app("one more")]);
    exchanged.catalogs.push(app("app-7"));
    let site = world.configure_site(exchanged).await.expect("one app more, and one less");
    assert_eq!(site.catalogs.len(), 100);
}

async fn bad_settings_of_a_unit_are_named_by_their_path(world: World) {
    let from =
        |seconds, nanos| v1::UpdateUnitRequest { sell_from: Some(Timestamp { seconds, nanos }), ..Default::default() };
    let until =
        |seconds, nanos| v1::UpdateUnitRequest { sell_until: Some(Timestamp { seconds, nanos }), ..Default::default() };
    // The first second of the year 10000.
    let year_10000 = 253_402_300_800;
    let none = v1::UpdateUnitRequest::default;
    let rows = vec![
        ("a time before 1970", from(-1, 0), "sell_from"),
        ("the time before 1970", from(-1, 999_999_000), "sell_from"),
        ("the year 10000", from(year_10000, 0), "sell_from"),
        ("a time far out of range", from(i64::MAX, 0), "sell_from"),
        ("negative nanoseconds", from(0, -1), "sell_from"),
        ("a second of nanoseconds", from(0, 1_000_000_000), "sell_from"),
        ("an end before 1970", until(i64::MIN, 0), "sell_until"),
        ("an end in the year 10000", until(year_10000, 0), "sell_until"),
        ("an end of negative nanoseconds", until(5, i32::MIN), "sell_until"),
        ("an unknown tracking", v1::UpdateUnitRequest { tracking: 4, ..none() }, "tracking"),
        ("a path of no setting", reset(&["tracking", "name"]), "reset_mask"),
        ("a path in another case", reset(&["sellFrom"]), "reset_mask"),
        ("an empty path", reset(&[""]), "reset_mask"),
        ("every field", reset(&["*"]), "reset_mask"),
        (
            "tracking set and taken away",
            v1::UpdateUnitRequest { tracking: Status.into(), ..reset(&["tracking"]) },
            "reset_mask",
        ),
        (
            "a limit set and taken away",
            v1::UpdateUnitRequest { backorder_limit: Some(0), ..reset(&["backorder_limit"]) },
            "reset_mask",
        ),
        (
            "subscriptions set and taken away",
            v1::UpdateUnitRequest { counts_subscriptions: Some(true), ..reset(&["counts_subscriptions"]) },
            "reset_mask",
        ),
        (
            "an edge set and taken away",
            v1::UpdateUnitRequest { reset_mask: reset(&["sell_from"]).reset_mask, ..from(7, 0) },
            "reset_mask",
        ),
    ];
    for (name, change, field) in rows {
        let refused = world.configure_unit("A", change.clone()).await.expect_err(name);
        assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", field), "{name}");
        let change = v1::UpdateUnitRequest { unit: reference("B"), ..change };
        let good = v1::UpdateUnitRequest { unit: reference("A"), ..none() };
        let request = v1::BatchUpdateUnitsRequest { site_id: world.site.clone(), requests: vec![good, change] };
        let refused = world.stock().batch_update_units(request).await.expect_err(name);
        let field = format!("requests[1].{field}");
        assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", &field), "{name}, in a batch");
    }
    let get = v1::GetUnitRequest { site_id: world.site.clone(), unit: reference("A") };
    assert_eq!(world.stock().get_unit(get).await.expect_err("nothing was changed").code(), Code::NotFound);
    let last = v1::UpdateUnitRequest { sell_until: until(year_10000 - 1, 999_999_000).sell_until, ..from(0, 0) };
    let unit = world.configure_unit("A", last.clone()).await.expect("both are at their bounds");
    assert_eq!((unit.sell_from, unit.sell_until), (last.sell_from, last.sell_until));
}

async fn a_sales_window_must_end_after_it_begins(world: World) {
    let expected = error(Code::InvalidArgument, "INVALID_FIELD", "sell_until");
    let (early, late) = (YEAR_2100, YEAR_2100 + SECOND);
    for (name, change) in [
        ("it ends before it begins", window(Some(late), Some(early))),
        ("it ends as it begins", window(Some(early), Some(early))),
    ] {
        let refused = world.configure_unit("A", change).await.expect_err(name);
        assert_eq!(error_of(&refused), expected, "{name}");
    }
    world.configure_unit("A", window(Some(early), Some(early + 1))).await.expect("it is open for a microsecond");
    for (name, change) in [
        ("it would begin as it ends", window(Some(early + 1), None)),
        ("it would begin after it ends", window(Some(late), None)),
        ("it would end as it begins", window(None, Some(early))),
        ("it would end before it begins", window(None, Some(1))),
    ] {
        let refused = world.configure_unit("A", change).await.expect_err(name);
        assert_eq!(error_of(&refused), expected, "{name}");
    }
    let unit = world.configure_unit("A", window(Some(late), Some(late + 1))).await.expect("both edges move at once");
    assert_eq!((unit.sell_from, unit.sell_until), (Some(timestamp(late)), Some(timestamp(late + 1))));
    let change = v1::UpdateUnitRequest { sell_until: Some(timestamp(early)), ..reset(&["sell_from"]) };
    let unit = world.configure_unit("A", change).await.expect("one edge is taken away, and the other one moves");
    assert_eq!((unit.sell_from, unit.sell_until), (None, Some(timestamp(early))));

    // All changes of a batch or none, and each is compared with those before it.
    let change = |id: &str, change| v1::UpdateUnitRequest { unit: reference(id), ..change };
    let batch = |requests| v1::BatchUpdateUnitsRequest { site_id: world.site.clone(), requests };
    let requests = vec![change("B", window(Some(late), None)), change("B", window(None, Some(early)))];
    let refused = world.stock().batch_update_units(batch(requests)).await.expect_err("the window of B never opens");
    assert_eq!(error_of(&refused), error(Code::InvalidArgument, "INVALID_FIELD", "requests[1].sell_until"));
    let get = v1::GetUnitRequest { site_id: world.site.clone(), unit: reference("B") };
    assert_eq!(world.stock().get_unit(get).await.expect_err("B was not created").code(), Code::NotFound);
    let unit = world.configure_unit("A", reset(&["sell_until"])).await.expect("the edge can be taken away");
    assert_eq!((unit.sell_from, unit.sell_until), (None, None));
    world.stock().set_stock(set(&world.site, vec![set_item("A", 1)])).await.expect("the level can be set");
}
