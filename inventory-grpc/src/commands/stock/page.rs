//! Levels as a table, and the outcome of a change as a sentence.

use inventory_proto::v1;

use crate::commands::json::{self, JsonError};
use crate::commands::page::{BOLD, DIM, RED, at_location, plain, sales_window, styled};
use crate::config::unit_name::{of_reference, of_sku};

/// The heads of the columns.
const HEADS: [&str; 4] = ["AVAILABLE", "UNIT", "LOCATION", "ABOUT"];

/// The widths of the columns of the pages so far. A later page can make them wider.
#[derive(Default)]
pub(super) struct Columns {
    unit: usize,
    location: usize,
}

impl Columns {
    /// The rows of a page. The heads stand before the first ones.
    pub(super) fn rows(&mut self, page: &[v1::Stock]) -> String {
        if page.is_empty() {
            return String::new();
        }
        let [available, unit, location, about] = HEADS;
        let is_first = self.unit == 0;
        let width = |least: &str, wide: usize, cell: fn(&v1::Stock) -> String| {
            page.iter().map(|row| cell(row).chars().count()).fold(wide.max(least.len()), usize::max)
        };
        self.unit = width(unit, self.unit, unit_of);
        self.location = width(location, self.location, location_of);
        let mut text = String::new();
        if is_first {
            text = styled(DIM, &self.row(available, unit, location, about));
            text.push('\n');
        }
        for stock in page {
            let level = format!("{:>width$}", stock.available, width = available.len());
            let level = styled(if stock.available < 0 { RED } else { BOLD }, &level);
            text.push_str(&self.row(&level, &unit_of(stock), &location_of(stock), &about_of(stock)));
            text.push('\n');
        }
        text
    }

    /// A row whose first cell has its width already.
    fn row(&self, available: &str, unit: &str, location: &str, about: &str) -> String {
        let Self { unit: unit_width, location: location_width } = self;
        let row = format!("{available}  {unit:<unit_width$}  {location:<location_width$}  {about}");
        row.trim_end().to_owned()
    }
}

/// The SKU, or else the catalog's names.
fn unit_of(stock: &v1::Stock) -> String {
    let name = match stock.sku.as_str() {
        "" => stock.catalog_reference.as_ref().map(of_reference).unwrap_or_default(),
        sku => of_sku(sku),
    };
    plain(&name)
}

fn location_of(stock: &v1::Stock) -> String {
    if stock.location_id.is_empty() { "default".to_owned() } else { plain(&stock.location_id) }
}

/// The name, and how the unit differs from one that is counted and always on sale.
fn about_of(stock: &v1::Stock) -> String {
    let tracked = match stock.tracking() {
        v1::Tracking::Unspecified | v1::Tracking::Quantity if stock.backorder_limit > 0 => {
            format!("orders may take it down to -{}", stock.backorder_limit)
        }
        v1::Tracking::Unspecified | v1::Tracking::Quantity => String::new(),
        v1::Tracking::Status if stock.available > 0 => "in stock".to_owned(),
        v1::Tracking::Status => "out of stock".to_owned(),
        v1::Tracking::Untracked => "untracked, never short".to_owned(),
    };
    let mut parts = vec![plain(&stock.name), tracked, sales_window(stock.sell_from, stock.sell_until)];
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

/// What a change did. `level` is the level that changed; `None` if none did.
pub(super) fn changed(unit: &str, level: Option<&v1::Level>, sequence: i64, replayed: bool) -> String {
    let unit = plain(unit);
    match (level, replayed) {
        (Some(level), false) => {
            let available = styled(BOLD, &level.available.to_string());
            format!("{unit} is {available} now, {}, by entry {sequence}\n", at_location(&level.location_id))
        }
        (None, false) => format!("{unit} is so already; nothing was changed\n"),
        (Some(level), true) => format!(
            "a replay: this change was made before, and made {unit} {} {} by entry {sequence}; nothing was changed \
             now\n",
            level.available,
            at_location(&level.location_id)
        ),
        (None, true) => format!("a replay: {unit} was so already when this change was first asked for\n"),
    }
}

/// The JSON object `{"stock": […]}`, page by page, one level a line. What it returns does not close the object.
#[derive(Default)]
pub(super) struct JsonList {
    is_open: bool,
    has_rows: bool,
}

impl JsonList {
    /// The part of the object with the rows of the next page. A filter may leave a page without rows.
    pub(super) fn rows(&mut self, page: &[v1::Stock]) -> Result<String, JsonError> {
        let mut text = String::new();
        if !std::mem::replace(&mut self.is_open, true) {
            text.push_str("{\"stock\":[");
        }
        for stock in page {
            text.push_str(if std::mem::replace(&mut self.has_rows, true) { ",\n" } else { "\n" });
            text.push_str(&json::of(stock)?.to_string());
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use prost_types::Timestamp;

    use super::*;

    fn stock(item: &str, sku: &str, available: i64) -> v1::Stock {
        let (app_id, catalog_item_id) = ("app".to_owned(), item.to_owned());
        v1::Stock {
            catalog_reference: Some(v1::CatalogReference { app_id, catalog_item_id, ..Default::default() }),
            sku: sku.to_owned(),
            available,
            tracking: v1::Tracking::Quantity.into(),
            ..Default::default()
        }
    }

    #[test]
    fn levels_stand_in_columns() {
        let first = [
            stock("mug", "MUG-W", 38),
            v1::Stock { name: "Last\u{1b}one".into(), backorder_limit: 5, ..stock("last-one", "", -2) },
            v1::Stock { tracking: v1::Tracking::Status.into(), location_id: "here".into(), ..stock("dl", "A/B", 1) },
        ];
        let second = [
            v1::Stock { tracking: v1::Tracking::Untracked.into(), ..stock("a-longer-item", "", 0) },
            v1::Stock { sell_until: Some(Timestamp::default()), ..stock("b", "", 7) },
        ];
        let mut columns = Columns::default();
        let text = [columns.rows(&first), columns.rows(&[]), columns.rows(&second)].concat();
        let expected = [
            "AVAILABLE  UNIT          LOCATION  ABOUT",
            "       38  MUG-W         default",
            "       -2  app/last-one  default   Last\u{fffd}one; orders may take it down to -5",
            "        1  sku:A/B       here      in stock",
            "        0  app/a-longer-item  default   untracked, never short",
            "        7  app/b              default   on sale until 1970-01-01 00:00:00 UTC",
        ];
        assert_eq!(strip_str(&text).to_string(), expected.join("\n") + "\n");
    }

    #[test]
    fn the_outcome_of_a_change_is_a_sentence() {
        let level = |location: &str| v1::Level { location_id: location.into(), available: 40, ..Default::default() };
        let rows = [
            (Some(level("")), false, "mug is 40 now, at the default location, by entry 7\n"),
            (Some(level("here")), false, "mug is 40 now, at here, by entry 7\n"),
            (None, false, "mug is so already; nothing was changed\n"),
            (
                Some(level("")),
                true,
                "a replay: this change was made before, and made mug 40 at the default location by entry 7; nothing \
                 was changed now\n",
            ),
            (None, true, "a replay: mug was so already when this change was first asked for\n"),
        ];
        for (level, replayed, expected) in rows {
            assert_eq!(strip_str(&changed("mug", level.as_ref(), 7, replayed)).to_string(), expected);
        }
    }

    #[test]
    fn pages_of_json_make_one_object() {
        let whole = |pages: &[&[v1::Stock]]| {
            let mut list = JsonList::default();
            let parts = pages.iter().map(|page| list.rows(page).expect("the contract describes it"));
            let text = parts.collect::<String>() + "]}";
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        assert_eq!(whole(&[&[]]), serde_json::json!({"stock": []}));
        assert_eq!(whole(&[&[], &[]]), serde_json::json!({"stock": []}));
        let (first, second) = ([stock("a", "", 1), stock("b", "", 2)], [stock("c", "", 3)]);
        let rows: [&[&[v1::Stock]]; 2] = [&[&first, &second], &[&[], &[], &first, &[], &second, &[]]];
        for pages in rows {
            let told = whole(pages);
            let items: Vec<_> = told["stock"].as_array().expect("a list").iter().map(|row| &row["available"]).collect();
            assert_eq!(items, [1, 2, 3]);
        }
    }
}
