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
    for header in ["sku,available", "app_id,catalog_item_id,available", "sku,sell_until", "app_id,catalog_item_id,sku"]
    {
        assert_eq!(reasons(Format::Csv, &format!(" {} \n", header.replace(',', " , "))), [], "{header}");
    }
}

#[test]
fn ndjson_reads_as_csv_does() {
    let csv = "\u{feff}available,app_id,catalog_item_id,options,sku,tracking,counts_subscriptions,sell_until\n\
               5,a,1,\"{\"\"size\"\":\"\"M\"\"}\",S,status,FALSE, 2026-11-24T18:00:00Z \n,,,,T,Tracking_Quantity,,\n";
    let ndjson = "{\"app_id\":\"a\",\"catalog_item_id\":\"1\",\"options\":{\"size\":\"M\"},\"available\":5,\
                  \"sku\":\"S\",\"tracking\":\"STATUS\",\"counts_subscriptions\":false,\"name\":\"\",\
                  \"sell_until\":\"2026-11-24T18:00:00Z\"}\n\n\
                  {\"sku\":\"T\",\"tracking\":\"QUANTITY\",\"available\":null,\"sell_until\":\"\"}\n";
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
    let header = "app_id,catalog_item_id,location_id,available,sku,name,tracking,backorder_limit,counts_subscriptions,\
                  sell_from,sell_until";
    let shop = "11111111-2222-4333-8444-555555555555";
    let all = "S,Shirt,QUANTITY,5,true,2026-11-24T18:00:00Z,2026-11-25T00:00:00Z";
    let same = "S,Shirt,QUANTITY,5,true,2026-11-24T19:00:00+01:00,2026-11-24T23:59:59.9999999Z";
    let agree = format!("{header}\na,1,,1,{all}\na,1,{shop},1,{same}\na,1,,,,,,,,,\n");
    assert_eq!(reasons(Format::Csv, &agree), [(4, "available: is required in a row without settings".to_owned())]);
    for (second, column) in [
        ("T,,,,,,", "sku"),
        (",Mug,,,,,", "name"),
        (",,UNTRACKED,,,,", "tracking"),
        (",,,6,,,", "backorder_limit"),
        (",,,,false,,", "counts_subscriptions"),
        (",,,,,2026-11-24T18:00:00.000001Z,", "sell_from"),
        (",,,,,,2026-11-25T01:00:00Z", "sell_until"),
    ] {
        let csv = format!("{header}\na,1,,1,{all}\na,1,{shop},1,{second}\n");
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
        (4, "tracking: \"none\" is none of QUANTITY, STATUS and UNTRACKED".to_owned()),
    ];
    assert_eq!(reasons(Format::Csv, &csv), expected);
}

#[test]
fn a_sales_window_is_two_times_with_offsets() {
    let read = |from: &str, until: &str| {
        let csv = format!("app_id,catalog_item_id,sell_from,sell_until\na,1,{from},{until}\n");
        super::read(Format::Csv, csv.as_bytes()).map(|rows| {
            let v1::UpdateUnitRequest { sell_from, sell_until, .. } = &rows.units[0].message;
            [sell_from, sell_until].map(|time| time.map(|time| time.to_string()).unwrap_or_default())
        })
    };
    for (from, until, expected) in [
        ("2026-11-24T18:00:00Z", "", ["2026-11-24T18:00:00Z", ""]),
        ("", "2026-11-24T18:00:00+01:30", ["", "2026-11-24T16:30:00Z"]),
        (
            "2026-11-24t18:00:00.5z",
            "2026-11-24 18:00:00.500001Z",
            ["2026-11-24T18:00:00.500Z", "2026-11-24T18:00:00.500001Z"],
        ),
        (
            "1970-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            ["1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
        ),
        ("2026-11-24T17:59:59.9999991Z", "", ["2026-11-24T18:00:00Z", ""]),
    ] {
        assert_eq!(read(from, until), Ok(expected.map(str::to_owned)), "{from} {until}");
    }
    let form = "is not a time such as 2026-11-24T18:00:00Z or 2026-11-24T19:00:00.5+01:00";
    let range = "must be a time in the years 1970 to 9999, of nanos 0 to 999,999,999";
    for (from, until, reason) in [
        ("tomorrow", "", format!("sell_from: \"tomorrow\" {form}")),
        ("", "2026-11-24", format!("sell_until: \"2026-11-24\" {form}")),
        ("2026-11-24T18:00:00", "", format!("sell_from: \"2026-11-24T18:00:00\" {form}")),
        ("2026-02-29T18:00:00Z", "", format!("sell_from: \"2026-02-29T18:00:00Z\" {form}")),
        ("1969-12-31T23:59:59Z", "", format!("sell_from: {range}")),
        ("2026-11-24T18:00:00Z", "2026-11-24T19:00:00+01:00", "sell_until: must be after sell_from".to_owned()),
    ] {
        assert_eq!(read(from, until), Err(vec![BadRow { line: 2, reason }]), "{from} {until}");
    }
}

proptest! {
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
