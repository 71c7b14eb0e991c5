//! The journal of settings: who changed what, in the same transaction as the change.

use inventory_core::model::access::Scope;
use inventory_proto::v1;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use inventory_proto::{ACTOR_METADATA, ON_BEHALF_OF_METADATA};
use inventory_tests::books;
use inventory_tests::on_both;
use inventory_tests::requests::{all_pages, catalog, clip, guid, reference, tracked};
use inventory_tests::test_clock::micros;
use inventory_tests::tokens::{New, bearer, until_known};
use inventory_tests::wix_caller::CATALOG;
use inventory_tests::world::{Backend, World};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

on_both!(
    every_real_change_is_recorded_and_nothing_else,
    a_refused_change_is_not_recorded,
    pages_lead_through_the_journal_in_both_directions,
    the_author_of_a_change_is_recorded,
    nobody_changes_or_removes_rows,
);

/// All changes of the world's site.
async fn changes(world: &World, newest_first: bool, page_size: i32) -> Vec<v1::SettingChange> {
    let page = async |page_token| {
        let site_id = world.site.clone();
        let request = v1::ListSettingChangesRequest { site_id, page_size, page_token, newest_first };
        let page = world.sites().list_setting_changes(request).await.expect("listed").into_inner();
        (page.changes, page.next_page_token)
    };
    all_pages(page).await
}

/// Subject, before and after of each change, oldest first.
async fn rows(world: &World) -> Vec<(String, String, String)> {
    let row = |change: v1::SettingChange| (change.subject, change.before, change.after);
    changes(world, false, 0).await.into_iter().map(row).collect()
}

fn row(subject: &str, before: &str, after: &str) -> (String, String, String) {
    (subject.into(), before.into(), after.into())
}

async fn every_real_change_is_recorded_and_nothing_else(world: World) {
    world.clock.set(1_000_000);
    world.configure_site(v1::UpdateSiteRequest::default()).await.expect("the site is created");
    assert_eq!(rows(&world).await, []);
    let home = guid();
    let settings = v1::CatalogSettings { app_id: "app".into(), backorder_limit: Some(3), ..Default::default() };
    let change = v1::UpdateSiteRequest { default_location_id: home.clone(), ..catalog(settings) };
    for _ in 0..2 {
        world.configure_site(change.clone()).await.expect("changed, or the same already");
    }
    world.configure_site(clip()).await.expect("changed");
    for _ in 0..2 {
        world.configure_unit("A", tracked(v1::Tracking::Status)).await.expect("changed, or the same already");
    }
    world.configure_unit("B", v1::UpdateUnitRequest::default()).await.expect("nothing is changed");
    let named = |id: &str, sku: &str| v1::UpdateUnitRequest {
        unit: reference(id),
        new_sku: Some(sku.into()),
        ..Default::default()
    };
    let requests = vec![named("C", "c"), v1::UpdateUnitRequest { unit: reference("A"), ..Default::default() }];
    let batch = v1::BatchUpdateUnitsRequest { site_id: world.site.clone(), requests };
    world.stock().batch_update_units(batch).await.expect("changed");
    let expected = [
        row("site", r#"{"default_location_id":null}"#, &format!(r#"{{"default_location_id":"{home}"}}"#)),
        row("catalog app", r#"{"backorder_limit":null}"#, r#"{"backorder_limit":3}"#),
        row("site", r#"{"over_returns":"report"}"#, r#"{"over_returns":"clip"}"#),
        row(&format!("unit {CATALOG}/A"), r#"{"tracking":null}"#, r#"{"tracking":"status"}"#),
        row(&format!("unit {CATALOG}/C"), r#"{"sku":null}"#, r#"{"sku":"c"}"#),
    ];
    assert_eq!(rows(&world).await, expected);
    // Stock is the ledger's affair.
    world.set(&[("A", 1)]).await;
    let all = changes(&world, false, 0).await;
    assert_eq!(all.len(), expected.len());
    assert!(all.iter().all(|change| change.record_time.as_ref().map(micros) == Some(1_000_000)));
    let other = v1::ListSettingChangesRequest { site_id: guid(), ..Default::default() };
    let other = world.sites().list_setting_changes(other).await.expect("listed").into_inner();
    assert_eq!(other, v1::ListSettingChangesResponse::default());
}

async fn a_refused_change_is_not_recorded(world: World) {
    let settings = |sku: &str| v1::UpdateUnitRequest { new_sku: Some(sku.into()), ..Default::default() };
    world.configure_unit("A", settings("a")).await.expect("changed");
    let before = rows(&world).await;
    world.configure_unit("B", settings("a")).await.expect_err("the SKU is taken");
    let requests = vec![
        v1::UpdateUnitRequest { unit: reference("C"), name: Some("c".into()), ..Default::default() },
        v1::UpdateUnitRequest { unit: reference("B"), ..settings("a") },
    ];
    let batch = v1::BatchUpdateUnitsRequest { site_id: world.site.clone(), requests };
    world.stock().batch_update_units(batch).await.expect_err("all or none");
    assert_eq!(rows(&world).await, before);
}

async fn pages_lead_through_the_journal_in_both_directions(world: World) {
    for number in 0..7 {
        let name = v1::UpdateUnitRequest { name: Some(format!("n{number}")), ..Default::default() };
        world.configure_unit("A", name).await.expect("changed");
    }
    let all = changes(&world, false, 0).await;
    assert_eq!(all.len(), 7);
    assert!(all.windows(2).all(|pair| pair[0].change_id < pair[1].change_id));
    assert_eq!(changes(&world, false, 2).await, all);
    let mut backwards = changes(&world, true, 3).await;
    backwards.reverse();
    assert_eq!(backwards, all);
    let first = v1::ListSettingChangesRequest { site_id: world.site.clone(), page_size: 1, ..Default::default() };
    let page_token = world.sites().list_setting_changes(first.clone()).await.expect("listed").into_inner();
    let page_token = page_token.next_page_token;
    let other = v1::ListSettingChangesRequest { page_token, newest_first: true, ..first };
    let refused = world.sites().list_setting_changes(other).await.expect_err("another query");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn the_author_of_a_change_is_recorded(world: World) {
    let mut request = Request::new(v1::UpdateSiteRequest { site_id: world.site.clone(), ..clip() });
    request.metadata_mut().insert(ACTOR_METADATA, MetadataValue::from_static("console"));
    world.sites().update_site(request).await.expect("changed");
    let scopes = [Scope::Settings, Scope::OnBehalf];
    let token = New { name: "support", scopes: &scopes, ..New::default() }.create(&world.database.url);
    until_known(world.channel(), &token).await;
    let unit = v1::UpdateUnitRequest { site_id: world.site.clone(), unit: reference("A"), ..Default::default() };
    let mut request = Request::new(v1::UpdateUnitRequest { name: Some("shirt".into()), ..unit });
    request.metadata_mut().insert(ACTOR_METADATA, MetadataValue::from_static("nobody"));
    request.metadata_mut().insert(ON_BEHALF_OF_METADATA, MetadataValue::from_static("ann"));
    let mut stock = StockServiceClient::with_interceptor(world.channel(), bearer(&token));
    stock.update_unit(request).await.expect("changed");
    let mut sites = SiteServiceClient::with_interceptor(world.channel(), bearer(&token));
    let request = v1::ListSettingChangesRequest { site_id: world.site.clone(), ..Default::default() };
    let listed = sites.list_setting_changes(request).await.expect("listed").into_inner().changes;
    let authors: Vec<_> = listed.iter().map(|change| (&*change.actor, &*change.on_behalf_of)).collect();
    assert_eq!(authors, [("console", ""), ("support", "ann")]);
}

async fn nobody_changes_or_removes_rows(world: World) {
    world.configure_site(clip()).await.expect("changed");
    let url = &world.database.url;
    let mut tries = vec!["UPDATE journal SET actor = 'x'", "DELETE FROM journal"];
    if world.database.text.starts_with("postgres") {
        tries.push("TRUNCATE journal");
    }
    for sql in tries {
        let error = books::execute(url, sql).expect_err(sql).to_string();
        assert!(error.contains("never changed or removed"), "{sql}: {error}");
    }
    assert_eq!(books::count(url, "SELECT count(*) AS wrong FROM journal"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_role_writes_the_journal_and_no_token() {
    let world = World::start(Backend::Postgres).await;
    let url = &world.database.url;
    let role = format!("clerk_{}", guid().replace('-', ""));
    books::script(url, &format!("CREATE ROLE {role}"));
    let mut grant = inventory_tests::programs::program("inventory-grpc");
    grant.args(["migrate", "--database-url", &world.database.text, "--grant-to", &role]);
    assert!(grant.status().expect("the program starts").success());
    let may = |sql: &str| {
        // A script is one transaction, so the role ends with it.
        books::execute(url, &format!("DO $$ BEGIN SET LOCAL ROLE {role}; {sql}; END $$"))
            .map_err(|error| error.to_string())
    };
    let row = "INSERT INTO journal (recorded_at, actor, on_behalf_of, subject, before, after) \
               VALUES (0, '', '', '', '', '')";
    may(row).expect("the journal grows");
    may("PERFORM name FROM token").expect("tokens can be read");
    for sql in
        ["INSERT INTO token VALUES ('x')", "UPDATE token SET scopes = ''", "DELETE FROM token", "DELETE FROM journal"]
    {
        let error = may(sql).expect_err(sql);
        assert!(error.contains("permission denied"), "{sql}: {error}");
    }
    books::script(url, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
