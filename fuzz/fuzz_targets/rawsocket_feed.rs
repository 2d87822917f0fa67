//! `fuzz::rawsocket_feed` of the tests, on what libFuzzer makes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_fuzz::run("rawsocket_feed", data));
