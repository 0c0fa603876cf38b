//! Units that an earlier link had, remembered, against the same units read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod random;

use btfd_core::btf::Endian;
use btfd_core::dedup::Base;
use btfd_core::elf::Image;
use btfd_core::encode::{Encoded, Features, IdsWish, Memory, Units, encode, encode_relinked};
use common::Scratch;
use random::Rng;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One source of a module, as far as it is edited.
#[derive(Clone, Default)]
struct Source {
    fields: usize,
    per_cpu: usize,
    parameters: usize,
    functions: usize,
    /// Has the function that others only see inlined.
    shared: bool,
}

/// What all sources see.
const HEADER: &str = r#"
typedef unsigned long size_type;
enum state { OFF, ON = 7, FAR = -3 };
union word { int number; char letters[4]; struct { short low, high; } halves; };
struct list { struct list *next, *previous; };
struct elsewhere;
struct common {
  struct list list; enum state state; union word word; unsigned bits : 3, more : 5;
  int (*call)(struct common *, const char *name, ...); struct elsewhere *there; long table[4][2];
};
static inline int often(struct common *common, int times) {
  for (int i = 0; i < times; i++) common->bits += common->call(common, "x", i);
  return common->more;
}
"#;

impl Source {
    fn edit(&mut self, rng: &mut Rng) {
        match rng.below(6) {
            0 => self.fields += 1,
            1 => self.per_cpu = rng.below(5),
            2 => self.parameters = rng.below(9),
            3 => self.functions += 1,
            4 => self.fields = self.fields.saturating_sub(1),
            _ => self.shared = !self.shared,
        }
    }

    fn text(&self, number: usize) -> String {
        let mut text = HEADER.to_string();
        writeln!(text, "struct own_{number} {{ struct common common; size_type size;").unwrap();
        for field in 0..self.fields {
            writeln!(text, "  struct list *field_{field}; union word w{field};").unwrap();
        }
        writeln!(text, "}};").unwrap();
        let per_cpu = "__attribute__((section(\".data..percpu\"), used))";
        for variable in 0..self.per_cpu {
            writeln!(text, "{per_cpu} struct own_{number} per_cpu_{number}_{variable} = {{}};")
                .unwrap();
        }
        for function in 0..=self.functions {
            let name = format!("function_{number}_{function}");
            write!(text, "int {name}(struct own_{number} *own").unwrap();
            for parameter in 0..self.parameters {
                let ty = ["int", "long", "struct list", "union word"][parameter % 4];
                write!(text, ", {ty} p{parameter}").unwrap();
            }
            writeln!(text, ") {{ struct inner {{ int n; }} inner = {{ {function} }};").unwrap();
            writeln!(text, "  return often(&own->common, inner.n + own->size) + own->size; }}")
                .unwrap();
        }
        // Whatever way it goes, callers of one source are told of a part that gcc cuts off.
        writeln!(
            text,
            "static __attribute__((noinline)) long part_{number}(long a, long unused) {{"
        )
        .unwrap();
        writeln!(text, "  return a * {number}; }}").unwrap();
        writeln!(text, "long whole_{number}(long a) {{ return part_{number}(a, 1) + a; }}")
            .unwrap();
        if self.shared {
            let kept = "static __attribute__((noinline, used))";
            writeln!(text, "{kept} int often_too(int a) {{ return a; }}").unwrap();
        } else {
            writeln!(text, "static inline __attribute__((always_inline)) int often_too(int a)")
                .unwrap();
            writeln!(text, "{{ return a + {number}; }}").unwrap();
            writeln!(text, "int caller_{number}(int a) {{ return often_too(a); }}").unwrap();
        }
        text
    }
}

/// A module of some sources, linked again and again.
struct Module {
    scratch: Scratch,
    sources: Vec<Source>,
    flags: Vec<&'static str>,
}

impl Module {
    /// `None` where there is no compiler that takes the flags.
    fn new(units: usize, flags: &[&'static str]) -> Option<Module> {
        let source = Source { fields: 2, per_cpu: 1, parameters: 2, ..Source::default() };
        let scratch = Scratch::new();
        let module = Module { scratch, sources: vec![source; units], flags: flags.to_vec() };
        (0..units).all(|number| module.compile(number)).then_some(module)
    }

    fn object(&self, number: usize) -> PathBuf {
        self.scratch.file("keep", b"").with_file_name(format!("{number}.o"))
    }

    fn compile(&self, number: usize) -> bool {
        let text = self.sources[number].text(number);
        let source = self.scratch.file(&format!("{number}.c"), text.as_bytes());
        let mut command = Command::new("gcc");
        command.args(["-O2", "-g", "-w", "-fno-pic", "-ffreestanding"]).args(&self.flags);
        command.arg("-c").arg(source).arg("-o").arg(self.object(number)).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn edit(&mut self, rng: &mut Rng) {
        let number = rng.below(self.sources.len());
        self.sources[number].edit(rng);
        assert!(self.compile(number));
    }

    /// The bytes of a link in the order of the sources.
    fn link(&self) -> Vec<u8> {
        let out = self.scratch.file("module.ko", b"");
        let mut command = Command::new("gcc");
        command.args(["-r", "-nostdlib"]).args(&self.flags).arg("-o").arg(&out);
        command.args((0..self.sources.len()).map(|number| self.object(number)));
        assert!(command.status().unwrap().success());
        std::fs::read(out).unwrap()
    }
}

fn features() -> Features {
    let mut features = Features::default();
    for name in ["var", "float", "decl_tag", "enum64", "consistent_func", "decl_tag_kfuncs"] {
        assert!(features.enable(name));
    }
    features
}

fn open(path: &Path) -> Image {
    Image::open_path(path).unwrap()
}

/// Every third type of a module is in this base.
fn base(bytes: &[u8], scratch: &Scratch) -> Base {
    let path = scratch.file("base.o", bytes);
    let made = encode(&open(&path), None, &features(), 1, &IdsWish::default()).unwrap();
    assert_eq!(made.btf.endian, Endian::Little);
    Base::new(made.btf).unwrap()
}

type Result = std::result::Result<Encoded, String>;

/// Both ways; what is remembered is what would be read, and so is an error.
fn both(path: &Path, base: Option<&Base>, earlier: &Memory, threads: usize, what: &str) -> Result {
    let features = features();
    let wish = IdsWish { resolve: true, earlier: None };
    // A file that is no ELF file any more is so either way.
    let Ok(image) = Image::open_path(path) else { return Err(String::new()) };
    let told = |result: std::result::Result<Encoded, _>| {
        result.map_err(|error: btfd_core::encode::EncodeError| error.to_string())
    };
    let read = told(encode(&image, base, &features, 1, &wish));
    let relinked = told(encode_relinked(&image, base, &features, threads, &wish, earlier));
    match (&read, &relinked) {
        (Ok(read), Ok(relinked)) => {
            assert_eq!(read.to_bytes(), relinked.to_bytes(), "{what}");
            assert_eq!(read.warnings, relinked.warnings, "{what}");
            let skipped = |made: &Encoded| format!("{:?}", made.skipped);
            assert_eq!(skipped(read), skipped(relinked), "{what}");
        }
        (Err(read), Err(relinked)) => assert_eq!(read, relinked, "{what}"),
        _ => panic!("{what}: only one way fails: {:?} {:?}", read.err(), relinked.err()),
    }
    relinked
}

fn rounds(usual: usize) -> usize {
    std::env::var("BTFD_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

#[test]
fn an_edit_is_read_and_the_rest_remembered() {
    const UNITS: usize = 5;
    for flags in [&["-gdwarf-5"][..], &["-gdwarf-4"], &["-gdwarf-5", "-gz"], &["-gdwarf-5", "-m32"]]
    {
        let Some(mut module) = Module::new(UNITS, flags) else { continue };
        let base = base(&std::fs::read(module.object(0)).unwrap(), &module.scratch);
        let mut rng = Rng::new(flags.len() as u64);
        let mut memory = Memory::default();
        for round in 0..rounds(12) {
            let path = module.scratch.file("linked.ko", &module.link());
            let what = format!("{flags:?} round {round}");
            let below = (round % 3 != 2).then_some(&base);
            let made = both(&path, below, &memory, 1 + round % 2, &what).unwrap();
            let Units { all, spared } = made.units;
            // Before DWARF 5, bitfields are told in a way that has to be read each time.
            let known = flags.iter().all(|flag| !matches!(*flag, "-m32" | "-gdwarf-4"));
            assert_eq!(all, UNITS, "{what}");
            match round {
                0 => assert_eq!(spared, 0, "{what}"),
                _ if known => {
                    // A struct that is passed on the stack makes a unit be read whole.
                    let whole =
                        module.sources.iter().filter(|source| source.parameters > 6).count();
                    assert!(spared + whole + 1 >= UNITS, "{what}: {spared} spared");
                }
                _ => assert_eq!(spared, 0, "{what}"),
            }
            memory = made.memory.expect("it was asked for");
            assert_eq!(memory.size() > 0, known, "{what}");
            // In some rounds nothing is edited: the same link again.
            if round % 4 != 3 {
                module.edit(&mut rng);
            }
        }
    }
}

#[test]
fn other_features_remember_nothing() {
    let Some(module) = Module::new(2, &[]) else { return };
    let path = module.scratch.file("linked.ko", &module.link());
    let wish = IdsWish::default();
    let relink = |features: &Features, earlier: &Memory| {
        encode_relinked(&open(&path), None, features, 1, &wish, earlier).unwrap()
    };
    let memory = relink(&features(), &Memory::default()).memory.unwrap();
    assert_eq!(relink(&features(), &memory).units.spared, 2);
    assert_eq!(relink(&Features::default(), &memory).units.spared, 0);
}

#[test]
fn what_is_not_as_it_was_is_not_remembered() {
    let Some(module) = Module::new(3, &["-gdwarf-5"]) else { return };
    let linked = module.link();
    let base = base(&std::fs::read(module.object(0)).unwrap(), &module.scratch);
    let path = module.scratch.file("linked.ko", &linked);
    let image = open(&path);
    let memory = both(&path, Some(&base), &Memory::default(), 1, "whole").unwrap().memory.unwrap();
    // Where damage is seen: DIEs, what tells their names and places, and the symbols.
    let names: [&[u8]; 8] = [
        b".debug_info",
        b".rela.debug_info",
        b".debug_abbrev",
        b".debug_str",
        b".debug_loclists",
        b".rela.debug_loclists",
        b".symtab",
        b".strtab",
    ];
    let ranges: Vec<(u64, u64)> =
        names.iter().filter_map(|name| image.section(name)).map(|s| (s.offset, s.size)).collect();
    let mut rng = Rng::new(7);
    let (mut good, mut spared) = (0, 0);
    for round in 0..rounds(400) {
        let mut bytes = linked.clone();
        for _ in 0..=rng.below(3) {
            let (offset, size) = ranges[rng.below(ranges.len())];
            let at = offset as usize + rng.below(size as usize);
            bytes[at] = match rng.below(3) {
                0 => bytes[at] ^ 1 << rng.below(8),
                1 => bytes[at].wrapping_add(1),
                _ => rng.below(256) as u8,
            };
        }
        let path = module.scratch.file("damaged.ko", &bytes);
        if let Ok(made) = both(&path, Some(&base), &memory, 1, &format!("round {round}")) {
            good += 1;
            spared += made.units.spared;
        }
    }
    // Most of what is damaged is one unit's.
    assert!(good > 0 && spared > good, "{good} good, {spared} spared");
}

#[test]
fn registers_that_location_lists_name_are_read_again() {
    let Some(module) = Module::new(2, &["-gdwarf-5"]) else { return };
    let linked = module.link();
    let path = module.scratch.file("linked.ko", &linked);
    let memory = both(&path, None, &Memory::default(), 1, "whole").unwrap().memory.unwrap();
    let known = both(&path, None, &memory, 1, "again").unwrap();
    let image = open(&path);
    let lists = image.section(b".debug_loclists").unwrap();
    let (from, to) = (lists.offset as usize, (lists.offset + lists.size) as usize);
    let (mut others, mut read) = (0, 0);
    for at in from..to {
        // A parameter that should be in a register (DW_OP_reg5) is in another one, first and last.
        const REGISTER: u8 = 0x55;
        let mut bytes = linked.clone();
        if bytes[at] != REGISTER {
            continue;
        }
        let near = &mut bytes[at..to.min(at + 40)];
        near.iter_mut().filter(|byte| **byte == REGISTER).for_each(|byte| *byte -= 1);
        let path = module.scratch.file("other.ko", &bytes);
        let Ok(made) = both(&path, None, &memory, 1, &format!("byte {at}")) else { continue };
        others += usize::from(made.skipped.len() != known.skipped.len());
        read += made.units.all - made.units.spared;
    }
    // Some decide whether a function can be relied on.
    assert!(others > 0 && read >= others, "{others} of {read}");
}
