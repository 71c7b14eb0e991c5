//! A little site on which everything happened that a table can hold, and whose calls can be sent again.
//!
//! Another store that has the same rows must answer every one of these calls from the record.

use inventory_core::model::access::Scope;
use inventory_core::store::DatabaseUrl;
use inventory_proto::v1;
use inventory_proto::v1::availability_service_client::AvailabilityServiceClient;
use inventory_proto::v1::site_service_client::SiteServiceClient;
use inventory_proto::v1::stock_service_client::StockServiceClient;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::archives::{JANUARY, archive_old_months};
use crate::books;
use crate::programs::grpc_server;
use crate::requests::{adjust_item, catalog, clip, decrement, guid, increment, reference, set, set_item, window};
use crate::scenario::BOOKINGS;
use crate::test_clock::{TestClock, YEAR_2100};
use crate::tokens::{New, channel_to, revoke};
use crate::world::start_grpc_with_clock;

/// The name of the token that is left.
pub const TOKEN: &str = "erp";

/// Two sites, and the calls that were made on the first one. A third one has nothing but what an archive left.
pub struct Busy {
    /// The ids of the sites. The second one has settings, and no entry.
    pub sites: [String; 2],
    taken: Vec<(v1::DecrementAvailabilityRequest, v1::DecrementAvailabilityResponse)>,
    returned: Vec<(v1::IncrementAvailabilityRequest, v1::IncrementAvailabilityResponse)>,
    refused: Vec<(v1::DecrementAvailabilityRequest, String)>,
}

impl Busy {
    /// Makes a database busy, through a server that has ended afterwards.
    pub async fn fill(text: &str) -> Self {
        let url: DatabaseUrl = text.parse().expect("the URL is valid");
        archive(text, &url).await;
        let server = grpc_server(text);
        let busy = Self::call(channel_to(server.addresses[0])).await;
        // The server marks the time soon after its start.
        while books::count(&url, "SELECT count(*) AS wrong FROM age_mark") == 0 {
            tokio::task::yield_now().await;
        }
        assert!(server.terminate().success(), "the server ends well");
        New { name: TOKEN, scopes: &[Scope::StockRead], sites: &[busy.sites[0].as_str()], expires_at: Some(YEAR_2100) }
            .create(&url);
        New { name: "old", scopes: &[Scope::Orders], ..New::default() }.create(&url);
        revoke(&url, "old");
        busy
    }

    async fn call(channel: Channel) -> Self {
        let mut stock = StockServiceClient::new(channel.clone());
        let mut sites = SiteServiceClient::new(channel.clone());
        let mut availability = AvailabilityServiceClient::new(channel);
        let (site, other, shop) = (guid(), guid(), guid());
        let bookings = v1::CatalogSettings {
            app_id: BOOKINGS.into(),
            tracking: v1::Tracking::Status.into(),
            ..Default::default()
        };
        for (site_id, change) in [(&site, catalog(bookings)), (&site, clip()), (&other, clip())] {
            let change = v1::UpdateSiteRequest { site_id: site_id.clone(), ..change };
            sites.update_site(change).await.expect("the settings can be changed");
        }
        let in_shop = v1::SetStockItem { location_id: shop, ..set_item("A", 7) };
        let levels = set(&site, vec![set_item("A", 500), set_item("B", 1), set_item("späti", 3), in_shop]);
        stock.set_stock(levels).await.expect("levels can be set");
        let settings = v1::UpdateUnitRequest {
            site_id: site.clone(),
            unit: reference("A"),
            new_sku: Some("SKU-A".into()),
            name: Some("Tasse, weiß".into()),
            backorder_limit: Some(2),
            counts_subscriptions: Some(false),
            ..window(Some(0), Some(YEAR_2100))
        };
        stock.update_unit(settings).await.expect("units can be changed");
        // So many entries that the level has waypoints.
        let steps = v1::AdjustStockRequest {
            site_id: site.clone(),
            items: (0..150).map(|_| adjust_item("A", 1)).collect(),
            request_id: guid(),
            reason: v1::Reason::Received.into(),
            note: "delivery note 4711 – „quoted“, 'quoted', \\N and \t".into(),
        };
        stock.adjust_stock(steps).await.expect("levels can be adjusted");

        let mut busy =
            Self { sites: [site.clone(), other], taken: Vec::new(), returned: Vec::new(), refused: Vec::new() };
        for quantity in 1..=20 {
            let call = decrement(&site, &[("A", quantity)]);
            let answer = availability.decrement_availability(call.clone()).await.expect("there is enough").into_inner();
            busy.taken.push((call, answer));
        }
        for (call, _) in &busy.taken[..5] {
            // More than the order holds: clipped.
            let back = increment(&site, &call.order_id, &[("A", 3)]);
            let answer = availability.increment_availability(back.clone()).await.expect("it comes back").into_inner();
            busy.returned.push((back, answer));
        }
        for quantity in 2..=6 {
            let call = decrement(&site, &[("B", quantity)]);
            let refused = availability.decrement_availability(call.clone()).await.expect_err("there is 1 of it");
            busy.refused.push((call, refused.message().to_owned()));
        }
        busy
    }

    /// Sends every call again. Panics unless each is answered as it was, from the record.
    pub async fn replay(&self, channel: Channel) {
        let mut availability = AvailabilityServiceClient::new(channel);
        for (call, first) in &self.taken {
            let again = availability.decrement_availability(call.clone()).await.expect("it was applied").into_inner();
            let expected = v1::DecrementAvailabilityResponse { repeated_request: true, ..first.clone() };
            assert_eq!(again, expected, "a replay of an order");
        }
        for (call, first) in &self.returned {
            let again = availability.increment_availability(call.clone()).await.expect("it was applied").into_inner();
            let expected = v1::IncrementAvailabilityResponse { repeated_request: true, ..first.clone() };
            assert_eq!(again, expected, "a replay of a return");
        }
        for (call, message) in &self.refused {
            let again = availability.decrement_availability(call.clone()).await.expect_err("it was refused");
            assert_eq!(again.message(), message, "a replay of a refusal");
        }
    }
}

/// Sells from a third site in the year 2020, and archives its entries: what they came to stays.
async fn archive(text: &str, url: &DatabaseUrl) {
    let (stop, clock) = (CancellationToken::new(), TestClock::default());
    clock.set(JANUARY);
    let server = start_grpc_with_clock(url.clone(), &clock, stop.clone()).await;
    let (site, channel) = (guid(), channel_to(server));
    let levels = set(&site, vec![set_item("A", 5)]);
    StockServiceClient::new(channel.clone()).set_stock(levels).await.expect("levels can be set");
    let order = decrement(&site, &[("A", 2)]);
    AvailabilityServiceClient::new(channel).decrement_availability(order).await.expect("there is enough");
    stop.cancel();
    let folder = TempDir::new().expect("the temporary folder is writable");
    archive_old_months(url, text, folder.path());
}
