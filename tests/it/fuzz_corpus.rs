//! The corpus of the fuzz targets holds: every input that a fuzzer found, or a person wrote, on every test run. Beside
//! it, each run tries some messages and files of its own.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use inventory_proto::{UnitRef, v1};
use inventory_tests::fuzz;
use inventory_tests::fuzz::TARGETS;
use inventory_tests::requests::{items, reference};
use proptest::prelude::*;
use prost::Message;

/// Bytes of the whole corpus. Every run reads all of it.
const CORPUS_BYTES_MAX: u64 = 300_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a target's corpus, in the order of their names.
fn corpus(target: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join("corpus").join(target));
    let entries = entries.unwrap_or_else(|error| panic!("{target} has no corpus: {error}"));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Runs a target on its corpus. Fails with the names of the files that it fails on.
fn replay(target: &str) {
    let (_, property) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    let files = corpus(target);
    assert!(!files.is_empty());
    let fails = |path: &&PathBuf| {
        let content = fs::read(path).expect("the corpus can be read");
        catch_unwind(AssertUnwindSafe(|| property(&content))).is_err()
    };
    let failed: Vec<&PathBuf> = files.iter().filter(fails).collect();
    assert!(failed.is_empty(), "{target} fails on {failed:#?}");
}

/// Runs a target on variations of its corpus, `FUZZ_ROUNDS` times. Fails with the input, which it keeps in a file.
fn vary(target: &str) {
    let (_, property) = TARGETS.into_iter().find(|(name, _)| *name == target).expect("a target");
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let inputs: Vec<Vec<u8>> = corpus(target).iter().map(|path| fs::read(path).expect("a file")).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..number("FUZZ_ROUNDS").unwrap_or(500) {
        let mut input = random.choice(&inputs).cloned().unwrap_or_default();
        for _ in 0..random.usize(1..5) {
            let other = random.choice(&inputs).map(Vec::as_slice).unwrap_or_default();
            input = varied(&mut random, input, other);
        }
        if catch_unwind(AssertUnwindSafe(|| property(&input))).is_err() {
            let path = std::env::temp_dir().join(format!("fuzz-{target}-{seed}"));
            fs::write(&path, &input).expect("the input can be kept");
            panic!("{target} fails on {} (FUZZ_SEED={seed}): {:?}", path.display(), String::from_utf8_lossy(&input));
        }
    }
}

/// The input with one change.
fn varied(random: &mut fastrand::Rng, mut input: Vec<u8>, other: &[u8]) -> Vec<u8> {
    let part = |random: &mut fastrand::Rng, of: &[u8]| {
        let start = random.usize(0..=of.len());
        start..random.usize(start..=of.len().min(start + 40))
    };
    let at = part(random, &input);
    match random.u8(0..5) {
        0 => drop(input.splice(at, [])),
        1 => drop(input.splice(at.start..at.start, [random.u8(..)])),
        2 => drop(input.splice(at.start..at.start, other[part(random, other)].iter().copied())),
        3 => {
            let again = input[at.clone()].to_vec();
            input.splice(at.start..at.start, again);
        }
        _ => {
            if let Some(byte) = input.get_mut(at.start) {
                *byte ^= 1 << random.u8(0..8);
            }
        }
    }
    input
}

#[test]
fn tokens() {
    replay("token");
    vary("token");
}

#[test]
fn envelopes() {
    replay("envelope");
    vary("envelope");
}

#[test]
fn options() {
    replay("options");
    vary("options");
}

#[test]
fn requests() {
    replay("requests");
    vary("requests");
}

#[test]
fn rows() {
    replay("rows");
    vary("rows");
}

#[test]
fn each_target_has_a_program_and_a_small_corpus() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the package can be read");
    let programs = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let mut programs: Vec<&str> = programs.filter_map(|line| line.strip_suffix(".rs\"")).collect();
    programs.sort_unstable();
    let mut targets = TARGETS.map(|(name, _)| name);
    targets.sort_unstable();
    assert_eq!(programs, targets);
    let files = targets.into_iter().flat_map(corpus);
    let bytes: u64 = files.map(|path| path.metadata().expect("a file").len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes; keep what is found small with `cargo fuzz tmin` and `cmin`");
}

const GUID: &str = "215238eb-22a5-4c36-9e7b-e7c08025e04e";

/// An order whose message is good.
fn good() -> Vec<u8> {
    let by_sku = v1::Item { unit: Some(UnitRef::Sku("SKU".into()).into()), quantity: 3, ..Default::default() };
    let request = v1::DecrementAvailabilityRequest {
        site_id: GUID.into(),
        items: [items(&[("A", 3)]), vec![by_sku]].concat(),
        order_id: GUID.into(),
        request_id: "request".into(),
        ..Default::default()
    };
    request.encode_to_vec()
}

#[test]
fn the_message_that_is_varied_is_good_itself() {
    let read = inventory_grpc::fuzz::requests(&good());
    assert!(read[0].message == "DecrementAvailabilityRequest" && read[0].decoded.is_ok(), "{read:?}");
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::requests(&bytes);
        fuzz::rows(&bytes);
        let columns = b"app_id,catalog_item_id,options,sku,name,available,sell_from\n";
        fuzz::rows(&[columns, bytes.as_slice()].concat());
    }

    #[test]
    fn a_good_message_with_some_bytes_changed(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = good();
        for (index, byte) in changes {
            let length = bytes.len();
            bytes[index.index(length)] = byte;
        }
        fuzz::requests(&bytes);
    }

    #[test]
    fn any_text_and_any_number(
        texts in prop::collection::vec(any::<String>(), 6),
        number in any::<i64>(),
        nanos in any::<i32>(),
    ) {
        let [app_id, catalog_item_id, location_id, request_id, note, sku] =
            <[String; 6]>::try_from(texts).expect("six");
        let named = v1::CatalogReference { app_id: app_id.clone(), catalog_item_id, ..Default::default() };
        let items = [UnitRef::CatalogReference(named), UnitRef::Sku(sku.clone())].map(|unit| v1::AdjustStockItem {
            unit: Some(unit.into()),
            location_id: location_id.clone(),
            delta: number,
        });
        let request = v1::AdjustStockRequest {
            site_id: GUID.to_owned(),
            items: items.into(),
            request_id,
            note: note.clone(),
            ..Default::default()
        };
        fuzz::requests(&request.encode_to_vec());
        let request = v1::UpdateUnitRequest {
            site_id: GUID.to_owned(),
            unit: reference("A"),
            new_sku: Some(sku),
            name: Some(note.clone()),
            tracking: nanos,
            backorder_limit: Some(number),
            sell_from: Some(prost_types::Timestamp { seconds: number, nanos }),
            reset_mask: Some(prost_types::FieldMask { paths: vec![note.clone(), "sell_from".to_owned()] }),
            ..Default::default()
        };
        fuzz::requests(&request.encode_to_vec());
        let request = v1::ListEntriesRequest {
            site_id: GUID.to_owned(),
            start_time: Some(prost_types::Timestamp { seconds: number, nanos }),
            after_sequence: number,
            page_token: location_id,
            ..Default::default()
        };
        fuzz::requests(&request.encode_to_vec());
        let request = v1::ListUnitsRequest {
            site_id: GUID.to_owned(),
            app_id: note.clone(),
            catalog_item_id: app_id.clone(),
            ..Default::default()
        };
        fuzz::requests(&request.encode_to_vec());
        let settings = v1::CatalogSettings {
            app_id,
            option_keys: Some(v1::OptionKeys { keys: vec![note] }),
            tracking: nanos,
            backorder_limit: Some(number),
            counts_subscriptions: None,
            unstocked: nanos,
        };
        let catalogs = vec![settings.clone(), settings];
        let request = v1::UpdateSiteRequest { site_id: GUID.to_owned(), catalogs, ..Default::default() };
        fuzz::requests(&request.encode_to_vec());
    }
}
