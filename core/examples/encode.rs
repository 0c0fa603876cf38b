//! Loads a base and encodes modules over it with one thread: what `make bench-instructions` counts.
//!
//!     encode VMLINUX [MODULE]...
//!
//! Prints the bytes of BTF of each. Nothing is written.

use std::error::Error;
use std::path::Path;

use btfd_core::btf::Btf;
use btfd_core::dedup::Base;
use btfd_core::elf::Image;
use btfd_core::encode::{Features, IdsWish, encode};

/// What kbuild switches on.
const FEATURES: [&str; 9] = [
    "encode_force",
    "var",
    "float",
    "enum64",
    "decl_tag",
    "type_tag",
    "optimized_func",
    "consistent_func",
    "decl_tag_kfuncs",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let vmlinux = words.next().ok_or("usage: encode VMLINUX [MODULE]...")?;
    let image = Image::open_path(Path::new(&vmlinux))?;
    let section = image.section(b".BTF").ok_or("vmlinux has no .BTF")?;
    let base = Base::new(Btf::parse(&image.read(section)?, None)?)?;
    let mut features = Features::default();
    for name in FEATURES {
        assert!(features.enable(name), "{name}");
    }
    for module in words {
        let image = Image::open_path(Path::new(&module))?;
        let made = encode(&image, Some(&base), &features, 1, &IdsWish::default())?;
        println!("{} {}", made.to_bytes().len(), Path::new(&module).display());
    }
    Ok(())
}
