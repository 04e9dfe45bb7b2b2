//! `distributary_fuzz::token` under libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| distributary_fuzz::token(data));
