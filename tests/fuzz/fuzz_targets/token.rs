#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| inventory_tests::fuzz::token(bytes));
