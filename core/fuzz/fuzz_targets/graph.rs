//! Deduplication and rewriting of layers that hold together: a script of them.

#![no_main]
#![allow(missing_docs)]

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/promises/mod.rs"]
mod promises;
#[path = "../../tests/random/mod.rs"]
mod random;
#[path = "../../tests/scripts/mod.rs"]
mod scripts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| promises::graph(data));
