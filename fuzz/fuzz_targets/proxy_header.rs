//! `fuzz::proxy` of the tests, on what libFuzzer makes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_fuzz::run("proxy_header", data));
