//! Files of rows: what is read, and what is refused with its line.

use inventory_proto::UnitRef;
use proptest::prelude::*;

use super::*;

fn reasons(format: Format, content: &str) -> Vec<(u64, String)> {
    let bad = read(format, content.as_bytes()).err().unwrap_or_default();
    bad.into_iter().map(|bad| (bad.line, bad.reason)).collect()
}

fn rows(format: Format, content: &str) -> Rows {
    read(format, content.as_bytes()).expect("all rows are good")
}

fn unit_of(unit: Option<impl Into<UnitRef>>) -> String {
    match unit.map(Into::into) {
        Some(UnitRef::CatalogReference(reference)) => format!("{}/{}", reference.app_id, reference.catalog_item_id),
        Some(UnitRef::Sku(sku)) => sku,
        None => String::new(),
    }
}

#[test]
fn every_bad_row_is_listed_with_its_line() {
    let csv = "app_id,catalog_item_id,options,location_id,available\n\
               a,1,,,5\na,2,,,x\n,3,,,1\na,4,{},shelf,1\na,5,[1],,1\na,1,,,6\na,7,,,1,2\na,8,,,9223372036854775808\n\
               a,9,\"{\"\"b\"\":1}\",,-3\n";
    let bad = reasons(Format::Csv, csv);
    let lines: Vec<u64> = bad.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9], "{bad:?}");
    for (row, part) in bad.iter().zip(["available", "app_id", "location_id", "options", "line 2", "", "available"]) {
        assert!(row.1.contains(part), "{row:?}");
    }
}

#[test]
fn all_bad_cells_of_a_row_are_listed() {
    let csv = "app_id,catalog_item_id,location_id,available,backorder_limit\n,,shelf,1,-1\na,,shelf,1,-1\n";
    assert_eq!(
        reasons(Format::Csv, csv),
        [
            (2, "names no unit: it lacks app_id and catalog_item_id, or sku".to_owned()),
            (
                3,
                "catalog_item_id: is required; backorder_limit: must be 0 to 1000000000000; location_id: must be a GUID"
                    .to_owned()
            ),
        ]
    );
}

#[test]
fn a_header_names_units_and_something_to_import() {
    for (header, part) in [
        ("app_id,available", "it lacks app_id and catalog_item_id, or sku"),
        ("", "it lacks app_id and catalog_item_id, or sku"),
        ("app_id,catalog_item_id,stock", "\"stock\""),
        ("app_id,catalog_item_id,options,location_id", "it lacks available"),
        ("sku", "it lacks available"),
        ("sku,available,sku", "sku twice"),
    ] {
        let bad = reasons(Format::Csv, &format!("{header}\n"));
        assert!(bad.len() == 1 && bad[0].1.contains(part), "{header}: {bad:?}");
    }
    for header in ["sku,available", "app_id,catalog_item_id,available", "sku,name", "app_id,catalog_item_id,sku"] {
        assert_eq!(reasons(Format::Csv, &format!(" {} \n", header.replace(',', " , "))), [], "{header}");
    }
}

#[test]
fn ndjson_reads_as_csv_does() {
    let csv = "\u{feff}available,app_id,catalog_item_id,options,sku,tracking,counts_subscriptions\n\
               5,a,1,\"{\"\"size\"\":\"\"M\"\"}\",S,status,FALSE\n,,,,T,Tracking_Quantity,\n";
    let ndjson = "{\"app_id\":\"a\",\"catalog_item_id\":\"1\",\"options\":{\"size\":\"M\"},\"available\":5,\
                  \"sku\":\"S\",\"tracking\":\"STATUS\",\"counts_subscriptions\":false,\"name\":\"\"}\n\n\
                  {\"sku\":\"T\",\"tracking\":\"QUANTITY\",\"available\":null}\n";
    let mut read = rows(Format::Ndjson, ndjson);
    for row in read.units.iter_mut().skip(1) {
        row.line -= 1;
    }
    for row in read.units.iter_mut().map(|row| &mut row.line).chain(read.levels.iter_mut().map(|row| &mut row.line)) {
        *row += 1;
    }
    assert_eq!(rows(Format::Csv, csv), read);
    assert_eq!(reasons(Format::Ndjson, "{\"app_id\":1}\n{}\nx\n").len(), 3);
}

#[test]
fn a_row_names_a_unit_by_catalog_or_by_sku() {
    let csv = "app_id,catalog_item_id,sku,available,name\na,1,S,5,Shirt\n,,S-2,6,\n,,S-3,,Mug\n";
    let Rows { count, levels, units } = rows(Format::Csv, csv);
    let levels: Vec<_> = levels.into_iter().map(|row| (unit_of(row.message.unit), row.message.available)).collect();
    assert_eq!((count, levels), (3, vec![("a/1".to_owned(), 5), ("S-2".to_owned(), 6)]));
    let units: Vec<_> =
        units.into_iter().map(|row| (unit_of(row.message.unit), row.message.new_sku, row.message.name)).collect();
    assert_eq!(
        units,
        [("a/1".to_owned(), Some("S".to_owned()), Some("Shirt".to_owned())), ("S-3".into(), None, Some("Mug".into()))]
    );
    let bad = "app_id,catalog_item_id,options,sku,available\n,,{},S,1\n";
    assert_eq!(reasons(Format::Csv, bad), [(2, "options: needs app_id and catalog_item_id".to_owned())]);
}

#[test]
fn a_sku_that_the_file_gives_names_that_unit_in_every_row() {
    let shop = "11111111-2222-4333-8444-555555555555";
    let csv = format!("app_id,catalog_item_id,sku,location_id,available,name\n,,S,{shop},3,Shirt\nA,1,S,,5,\n");
    let Rows { count: _, levels, units } = rows(Format::Csv, &csv);
    assert!(levels.into_iter().all(|row| unit_of(row.message.unit) == "A/1"));
    let [unit] = <[_; 1]>::try_from(units).expect("one unit");
    assert_eq!((unit.message.new_sku.as_deref(), unit.message.name.as_deref()), (Some("S"), Some("Shirt")));
    let csv = "app_id,catalog_item_id,sku,available\na,1,S,5\n,,S,6\n";
    assert_eq!(reasons(Format::Csv, csv), [(3, "names the same level as line 2".to_owned())]);
}

#[test]
fn rows_of_one_unit_agree_on_its_settings() {
    let header = "app_id,catalog_item_id,location_id,available,sku,name,tracking,backorder_limit,counts_subscriptions";
    let shop = "11111111-2222-4333-8444-555555555555";
    let agree = format!("{header}\na,1,,1,S,Shirt,QUANTITY,5,true\na,1,{shop},1,S,Shirt,QUANTITY,5,true\na,1,,,,,,,\n");
    assert_eq!(reasons(Format::Csv, &agree), [(4, "available: is required in a row without settings".to_owned())]);
    for (second, column) in [
        ("T,,,,", "sku"),
        (",Mug,,,", "name"),
        (",,STATUS,,", "tracking"),
        (",,,6,", "backorder_limit"),
        (",,,,false", "counts_subscriptions"),
    ] {
        let csv = format!("{header}\na,1,,1,S,Shirt,QUANTITY,5,true\na,1,{shop},1,{second}\n");
        let expected = (3, format!("{column}: line 2 has another for the same unit"));
        assert_eq!(reasons(Format::Csv, &csv), [expected]);
    }
    let csv = "app_id,catalog_item_id,sku,available\na,1,S,5\na,2,S,6\n";
    assert_eq!(reasons(Format::Csv, csv), [(3, "sku: line 2 gives it to another unit".to_owned())]);
}

#[test]
fn a_row_carries_a_level_or_a_setting() {
    let shop = "11111111-2222-4333-8444-555555555555";
    let csv =
        format!("app_id,catalog_item_id,location_id,available,tracking\na,1,,,\na,2,{shop},,STATUS\na,3,,,none\n");
    let expected = [
        (2, "available: is required in a row without settings".to_owned()),
        (3, "available: is required beside a location_id".to_owned()),
        (4, "tracking: \"none\" is neither QUANTITY nor STATUS".to_owned()),
    ];
    assert_eq!(reasons(Format::Csv, &csv), expected);
}

proptest! {
    /// Whatever the bytes, every line is a row, a bad row or nothing; and nothing panics.
    #[test]
    fn any_bytes_can_be_read(content in prop::collection::vec(any::<u8>(), 0..300), csv in any::<bool>()) {
        let format = if csv { Format::Csv } else { Format::Ndjson };
        let _ = read(format, &content);
        let with_header = [COLUMNS.join(",").as_bytes(), b"\n", &content].concat();
        let _ = read(format, &with_header);
    }

    /// Text is taken as it stands.
    #[test]
    fn text_survives_csv(sku in "[ a\"',;ä\r\n]{1,20}", name in "[ a\"',;ä\r\n]{1,20}") {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["app_id", "catalog_item_id", "sku", "name"]).expect("written");
        writer.write_record(["a", "1", &sku, &name]).expect("written");
        let content = writer.into_inner().expect("in memory");
        let units = read(Format::Csv, &content).expect("a good row").units;
        prop_assert_eq!(units[0].message.new_sku.as_deref(), Some(sku.as_str()));
        prop_assert_eq!(units[0].message.name.as_deref(), Some(name.as_str()));
    }
}
