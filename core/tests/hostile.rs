//! Input that nobody's tools write: random, damaged, and made to be expensive.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod compiled;
mod promises;
mod random;
mod scripts;

use random::Rng;
use scripts::dwarf;

/// Random bytes.
fn script(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next() as u8).collect()
}

#[test]
fn random_modules_are_encoded_or_refused() {
    for seed in 0..2_000 {
        promises::encoded(&dwarf::module(&script(seed, 20 + seed as usize % 700)));
    }
}

#[test]
fn random_files_take_what_is_installed_or_stay() {
    for seed in 0..500 {
        promises::elf(&dwarf::module(&script(seed, 20 + seed as usize % 300)));
    }
}

#[test]
fn random_layers_survive_everything() {
    for seed in 0..2_000 {
        promises::graph(&script(seed, seed as usize % 500));
    }
}

/// What fuzzing starts from, put into the directory that `BTFD_SEEDS` names: one below it for each
/// target of `core/fuzz`.
#[test]
#[ignore = "writes files"]
fn seeds() {
    let root = std::path::PathBuf::from(std::env::var_os("BTFD_SEEDS").expect("a directory"));
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let dir = root.join(target);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(name), bytes).unwrap();
    };
    for seed in 0..200 {
        let script = script(seed, 20 + 5 * seed as usize);
        let (file, name) = (dwarf::module(&script), format!("random-{seed}"));
        put("dwarf", &name, &script);
        put("graph", &name, &script);
        put("encode", &name, &file);
        put("elf", &name, &file);
        // A length, a layer, and one on top.
        let layers = random::layers(seed, 3);
        let bytes: Vec<Vec<u8>> = layers.iter().map(|l| l.to_bytes()).collect();
        let mut both = (bytes[0].len() as u16).to_le_bytes().to_vec();
        bytes.iter().take(2).for_each(|b| both.extend(b));
        put("btf", &name, &both);
    }
    for (name, file) in compiled::files() {
        put("encode", &name, &file);
        put("elf", &name, &file);
        if let Some(btf) = promises::alone(&file) {
            put("btf", &name, &[&(btf.len() as u16).to_le_bytes()[..], &btf].concat());
        }
    }
}
