//! The SKUs of units that a ledger entry or an order names by the catalog's names.

use std::collections::{BTreeMap, HashMap};

use inventory_core::model::limits;
use inventory_proto::v1;

use super::page::plain;
use super::session::Session;
use crate::config::unit_name::{of_reference, of_sku};

/// SKUs, by the catalog's names.
#[derive(Default)]
pub(super) struct Names(HashMap<String, String>);

impl Names {
    /// The SKUs that these units have now.
    pub(super) async fn of<'a>(
        session: &Session,
        references: impl IntoIterator<Item = &'a Option<v1::CatalogReference>>,
    ) -> Self {
        let references: BTreeMap<String, &v1::CatalogReference> =
            references.into_iter().flatten().map(|reference| (of_reference(reference), reference)).collect();
        let references: Vec<(String, &v1::CatalogReference)> = references.into_iter().collect();
        let mut names = Self::default();
        for part in references.chunks(limits::STOCK_ITEMS_MAX) {
            let item = |(_, reference): &(String, &v1::CatalogReference)| v1::BatchGetStockItem {
                unit: Some((*reference).clone().into()),
                location_id: String::new(),
            };
            let (site_id, items) = (session.site_id.clone(), part.iter().map(item).collect());
            let request = v1::BatchGetStockRequest { site_id, items, at_least_sequence: 0 };
            // Without SKUs the page shows the catalog's names, which are right too.
            let Ok(answer) = session.connection.stock().batch_get_stock(session.read(request)).await else { break };
            let named = part.iter().zip(answer.into_inner().stock).filter(|(_, stock)| !stock.sku.is_empty());
            names.0.extend(named.map(|((name, _), stock)| (name.clone(), of_sku(&stock.sku))));
        }
        names
    }

    /// The unit as a page shows it: by its SKU, or else by the catalog's names.
    pub(super) fn name(&self, reference: &Option<v1::CatalogReference>) -> String {
        let name = reference.as_ref().map(of_reference).unwrap_or_default();
        plain(self.0.get(&name).unwrap_or(&name))
    }
}
