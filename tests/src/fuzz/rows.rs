//! Files of rows. The input is a file, and is read as CSV and as NDJSON.
//!
//! - Bad rows are listed by their lines, in the order of the file, each with a reason.
//! - Good rows are the same after they were written, in either format, and read again.
//! - The server can decode the messages of good rows, and takes them.

use inventory_grpc::config::Format;
use inventory_grpc::fuzz::{File, read_file, write_file};
use inventory_proto::v1;
use prost::Message;

const FORMATS: [Format; 2] = [Format::Csv, Format::Ndjson];
const SITE: &str = "215238eb-22a5-4c36-9e7b-e7c08025e04e";
/// Rows of one request.
const PART_ROWS: usize = 1_000;

/// The property.
pub fn rows(bytes: &[u8]) {
    for format in FORMATS {
        match read_file(format, bytes) {
            Ok(file) => {
                same_when_written_again(&file);
                server_takes(&file);
            }
            Err(bad) => {
                let lines = 1 + bytes.iter().filter(|byte| b"\r\n".contains(byte)).count() as u64;
                assert!(!bad.is_empty() && bad.is_sorted_by_key(|(line, _)| *line), "{bad:?}");
                let is_clear = |(line, reason): &(u64, String)| (1..=lines).contains(line) && !reason.is_empty();
                assert!(bad.iter().all(is_clear), "{lines} lines: {bad:?}");
            }
        }
    }
}

fn same_when_written_again(file: &File) {
    for format in FORMATS {
        // A file needs a header, and a header needs no row.
        let written = write_file(format, file).expect("memory can be written");
        let again = read_file(format, &written);
        assert_eq!(again.as_ref(), Ok(file), "{}", String::from_utf8_lossy(&written));
    }
}

fn server_takes(file: &File) {
    let site_id = SITE.to_owned();
    for part in file.levels.chunks(PART_ROWS) {
        let request = v1::SetStockRequest { site_id: site_id.clone(), items: part.to_vec(), ..Default::default() };
        takes("SetStockRequest", &request.encode_to_vec());
    }
    for part in file.units.chunks(PART_ROWS) {
        let request = v1::BatchUpdateUnitsRequest { site_id: site_id.clone(), requests: part.to_vec() };
        takes("BatchUpdateUnitsRequest", &request.encode_to_vec());
    }
}

fn takes(message: &str, bytes: &[u8]) {
    let read = inventory_grpc::fuzz::requests(bytes);
    let own = read.into_iter().find(|request| request.message == message);
    let own = own.unwrap_or_else(|| panic!("the server cannot read this {message}"));
    assert!(own.decoded.is_ok(), "the server refuses this {message}: {:?}", own.decoded);
}
