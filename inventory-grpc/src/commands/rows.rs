//! Rows of stock as they stand in files.

use std::collections::HashMap;

use inventory_proto::{json, v1};
use serde::Deserialize;
use serde_json::{Map, Value};
use tonic_types::StatusExt;

use crate::config::Format;
use crate::decode;

/// The columns of stock, in the order in which they are written.
pub(super) const COLUMNS: [&str; 5] = ["app_id", "catalog_item_id", "options", "location_id", "available"];
/// Those that every file must have.
const REQUIRED: [&str; 3] = ["app_id", "catalog_item_id", "available"];

/// A row that is within all bounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Where it stands, from 1.
    pub(super) line: u64,
    /// What it says.
    pub(super) item: v1::SetStockItem,
}

/// A row that is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadRow {
    /// Where it stands, from 1.
    pub(super) line: u64,
    /// What is wrong, by the field's name.
    pub(super) reason: String,
}

/// A row as it is written in NDJSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    app_id: String,
    catalog_item_id: String,
    #[serde(default)]
    options: Option<Map<String, Value>>,
    #[serde(default)]
    location_id: Option<String>,
    available: i64,
}

/// Reads a whole file: its rows, and those that are bad.
pub(super) fn read(format: Format, content: &[u8]) -> (Vec<Row>, Vec<BadRow>) {
    let read = match format {
        Format::Csv => read_csv(content),
        Format::Ndjson => read_ndjson(content),
    };
    let (mut rows, mut bad) = (Vec::new(), Vec::new());
    let mut seen: HashMap<String, u64> = HashMap::new();
    for (line, written) in read {
        match written.and_then(item) {
            Ok(item) => {
                let key = format!("{:?} {}", item.catalog_reference, item.location_id.to_ascii_lowercase());
                match seen.insert(key, line) {
                    None => rows.push(Row { line, item }),
                    Some(first) => bad.push(BadRow { line, reason: format!("is of the same level as line {first}") }),
                }
            }
            Err(reason) => bad.push(BadRow { line, reason }),
        }
    }
    (rows, bad)
}

type ReadRow = (u64, Result<Written, String>);

fn read_csv(content: &[u8]) -> Vec<ReadRow> {
    // Spreadsheets like to begin with a byte order mark.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(content);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return vec![(1, Err(error.to_string()))],
    };
    if let Some(unknown) = headers.iter().find(|name| !COLUMNS.contains(name)) {
        return vec![(1, Err(format!("the header names {unknown:?}; known are {}", COLUMNS.join(", "))))];
    }
    if let Some(missing) = REQUIRED.iter().find(|name| headers.iter().all(|header| header != **name)) {
        return vec![(1, Err(format!("the header lacks {missing}")))];
    }
    let row = |record: csv::Result<csv::StringRecord>| match record {
        Ok(record) => (record.position().map_or(0, csv::Position::line), written(&headers, &record)),
        Err(error) => (error.position().map_or(0, csv::Position::line), Err(error.to_string())),
    };
    reader.into_records().map(row).collect()
}

fn written(headers: &csv::StringRecord, record: &csv::StringRecord) -> Result<Written, String> {
    let field =
        |name: &str| headers.iter().zip(record).find(|(header, _)| *header == name).map_or("", |(_, text)| text);
    let options = match field("options") {
        "" => None,
        text => Some(serde_json::from_str(text).map_err(|error| format!("options: is not a JSON object: {error}"))?),
    };
    Ok(Written {
        app_id: field("app_id").to_owned(),
        catalog_item_id: field("catalog_item_id").to_owned(),
        options,
        location_id: Some(field("location_id").to_owned()),
        available: field("available").parse().map_err(|_| whole_number(field("available")))?,
    })
}

fn whole_number(text: &str) -> String {
    format!("available: {text:?} is not a whole number of 64 bits")
}

fn read_ndjson(content: &[u8]) -> Vec<ReadRow> {
    let line = |(line, text): (u64, &[u8])| (line, serde_json::from_slice(text).map_err(|error| error.to_string()));
    (1..)
        .zip(content.split(|byte| *byte == b'\n'))
        .filter(|(_, text)| !text.trim_ascii().is_empty())
        .map(line)
        .collect()
}

/// The item that a row means, checked as the server will check it.
fn item(written: Written) -> Result<v1::SetStockItem, String> {
    let Written { app_id, catalog_item_id, options, location_id, available } = written;
    let options = options.map(json::from_json);
    let catalog_reference = Some(v1::CatalogReference { app_id, catalog_item_id, options });
    let location_id = location_id.unwrap_or_default();
    let told = |status: tonic::Status| {
        let violation = status.get_details_bad_request().and_then(|bad| bad.field_violations.into_iter().next());
        violation.map_or_else(
            || status.message().to_owned(),
            |violation| {
                format!("{}: {}", violation.field.trim_start_matches("catalog_reference."), violation.description)
            },
        )
    };
    decode::place(catalog_reference.clone(), &location_id, String::new).map_err(told)?;
    Ok(v1::SetStockItem { catalog_reference, location_id, available, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reasons(format: Format, content: &str) -> Vec<(u64, String)> {
        read(format, content.as_bytes()).1.into_iter().map(|bad| (bad.line, bad.reason)).collect()
    }

    #[test]
    fn every_bad_row_is_told_with_its_line() {
        let csv = "app_id,catalog_item_id,options,location_id,available\n\
                   a,1,,,5\na,2,,,x\n,3,,,1\na,4,{},shelf,1\na,5,[1],,1\na,1,,,6\na,7,,,1,2\na,8,,,9223372036854775808\n\
                   a,9,\"{\"\"b\"\":1}\",,-3\n";
        let told = reasons(Format::Csv, csv);
        let lines: Vec<u64> = told.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9], "{told:?}");
        for (row, part) in told.iter().zip(["available", "app_id", "location_id", "options", "line 2", "", "available"])
        {
            assert!(row.1.contains(part), "{row:?}");
        }
        assert_eq!(read(Format::Csv, csv.as_bytes()).0.len(), 2);
    }

    #[test]
    fn a_header_must_be_known_and_whole() {
        assert!(reasons(Format::Csv, "app_id,catalog_item_id\n")[0].1.contains("lacks available"));
        assert!(reasons(Format::Csv, "app_id,catalog_item_id,stock\n")[0].1.contains("\"stock\""));
        assert!(reasons(Format::Csv, "")[0].1.contains("lacks app_id"));
    }

    #[test]
    fn ndjson_says_the_same_as_csv() {
        let csv = "\u{feff}available,app_id,catalog_item_id,options\n5,a,1,\"{\"\"size\"\":\"\"M\"\"}\"\n";
        let ndjson = "{\"app_id\":\"a\",\"catalog_item_id\":\"1\",\"options\":{\"size\":\"M\"},\"available\":5}\n\n";
        let rows = |format, text: &str| {
            let (rows, bad) = read(format, text.as_bytes());
            assert_eq!(bad, []);
            rows.into_iter().map(|row| row.item).collect::<Vec<_>>()
        };
        assert_eq!(rows(Format::Csv, csv), rows(Format::Ndjson, ndjson));
        assert_eq!(reasons(Format::Ndjson, "{\"app_id\":1}\n{}\nx\n").len(), 3);
    }

    proptest! {
        /// Whatever the bytes, every line is a row, a bad row or nothing; and nothing panics.
        #[test]
        fn any_bytes_can_be_read(content in prop::collection::vec(any::<u8>(), 0..300), csv in any::<bool>()) {
            let format = if csv { Format::Csv } else { Format::Ndjson };
            read(format, &content);
            let with_header = [b"app_id,catalog_item_id,options,location_id,available\n".as_slice(), &content].concat();
            read(format, &with_header);
        }
    }
}
