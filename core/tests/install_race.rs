//! Installs against everything else that touches a module: a linker (unlink and create), `strip`
//! and `objcopy` (truncate and write in place), `cp`, and readers.
//!
//! Every file says in its bytes which link it came from, and BTF says for which link it was made,
//! so a mixture, a lost link and a half file all show. `BTFD_RACE_ROUNDS` sets the length.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use btfd_core::elf::install::{Edit, Stamp, Way, Why, install_sections};
use common::{Elf, Scratch, named, read};

const CHILD: &str = "BTFD_TEST_CHILD";

/// What the n-th link makes.
fn link(n: u64, stripped: bool, btf: Option<&[u8]>) -> Vec<u8> {
    let mut elf = Elf::module(true, false);
    elf.add("link", &n.to_le_bytes());
    // A size of its own: a clock of 4 ms does not tell apart what a test makes in 1.
    elf.add("body", &vec![n as u8; 4_000 + (n % 1000) as usize * 24]);
    if stripped {
        elf.add("stripped", b"");
    }
    if let Some(btf) = btf {
        elf.add(".BTF", btf);
    }
    elf.build()
}

fn btf_for(link: u64, variant: u64) -> Vec<u8> {
    let mut btf = link.to_le_bytes().to_vec();
    btf.resize(100 + (variant % 50) as usize * 300, link as u8);
    btf
}

/// The link that a file came from; an error says what is wrong with it.
fn judge(bytes: &[u8]) -> Result<u64, String> {
    let all = read(bytes)?;
    let one = |name: &str| all.iter().find(|s| s.name == name).map(|s| &s.data);
    let n = one("link").ok_or("no link")?;
    let n = u64::from_le_bytes(n.as_slice().try_into().map_err(|_| "bad link")?);
    let body = one("body").ok_or("no body")?;
    if body.len() != 4_000 + (n % 1000) as usize * 24 || body.iter().any(|&b| b != n as u8) {
        return Err(format!("the body is not that of link {n}"));
    }
    match named(bytes, ".BTF").as_slice() {
        [] => Ok(n),
        [btf] if btf[..8] == n.to_le_bytes() && btf[8..].iter().all(|&b| b == n as u8) => Ok(n),
        [btf] => Err(format!("link {n} has BTF that starts with {:?}", &btf[..8])),
        more => Err(format!("{} sections .BTF", more.len())),
    }
}

/// Reads a file, makes BTF for it, installs: what the daemon does. Says how it ended.
fn encode(path: &Path, variant: u64, way: Way) -> &'static str {
    let read_it = || -> io::Result<(Stamp, Vec<u8>)> {
        let mut file = File::open(path)?;
        let stamp = Stamp::of(&file)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes)?;
        Ok((stamp, bytes))
    };
    let Ok((stamp, bytes)) = read_it() else { return "unreadable" };
    let Ok(n) = judge(&bytes) else { return "half-written" };
    let btf = btf_for(n, variant);
    match install_sections(path, &[Edit::Put { name: ".BTF", data: &btf }], &stamp, way) {
        Ok(_) => "done",
        Err(e) if e.is_busy() => "busy",
        Err(e) if e.is_superseded() => "superseded",
        Err(e) => match e.why {
            Why::Elf { .. } => panic!("{e}"),
            _ => panic!("{e}: {:?}", e.hint()),
        },
    }
}

/// The installing process of the race; nothing in the test run itself.
#[test]
fn child() {
    let Ok(way) = std::env::var(CHILD) else { return };
    let path = PathBuf::from(std::env::var_os("BTFD_TEST_PATH").unwrap());
    for variant in 0.. {
        encode(&path, variant, if way == "Copy" { Way::Copy } else { Way::Auto });
    }
}

struct Race {
    path: PathBuf,
    /// Odd while the linker or strip is in the middle of it.
    writing: AtomicU64,
    /// Reads that met an older link under the name, before it was given back.
    glimpses: AtomicU64,
    over: AtomicBool,
    failure: AtomicBool,
}

impl Race {
    fn write(&self, bytes: &[u8], open: impl FnOnce() -> File) {
        self.writing.fetch_add(1, SeqCst);
        let mut file = open();
        for part in bytes.chunks(bytes.len() / 3 + 1) {
            file.write_all(part).unwrap();
            thread::yield_now();
        }
        drop(file);
        self.writing.fetch_add(1, SeqCst);
    }

    /// Reads and judges; what a linker was writing meanwhile does not count.
    fn watch(&self) -> u64 {
        let mut seen = 0;
        while !self.over.load(SeqCst) {
            let before = self.writing.load(SeqCst);
            let bytes = fs::read(&self.path);
            if before.is_multiple_of(2) && self.writing.load(SeqCst) == before {
                let verdict = bytes.map_err(|e| e.to_string()).and_then(|b| judge(&b));
                if let Err(e) = verdict {
                    self.failure.store(true, SeqCst);
                    panic!("a reader saw: {e}");
                }
                seen += 1;
            }
            // Who always has the file open lets nobody in.
            thread::sleep(Duration::from_micros(60));
        }
        seen
    }

    fn build(&self, rounds: u64, leases: bool) {
        let copy = self.path.with_extension("copy");
        let mut noise = 88172645463325252u64;
        let mut pause = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            thread::sleep(Duration::from_micros(noise % 400));
        };
        for n in 1..=rounds {
            if self.failure.load(SeqCst) {
                break;
            }
            self.write(&link(n, false, None), || {
                fs::remove_file(&self.path).unwrap();
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(true);
                options.open(&self.path).unwrap()
            });
            pause();
            let strip = n % 3 == 0;
            if strip {
                let btf = named(&self.settled(n, leases), ".BTF");
                pause();
                let stripped = link(n, true, btf.first().map(Vec::as_slice));
                self.write(&stripped, || {
                    OpenOptions::new().write(true).truncate(true).open(&self.path).unwrap()
                });
                pause();
            } else if leases && n % 3 == 1 {
                fs::copy(&self.path, &copy).unwrap();
                assert_eq!(judge(&fs::read(&copy).unwrap()), Ok(n), "the copy");
            }
            let bytes = self.settled(n, leases);
            // Without leases nobody can know that strip had the old inode before the exchange.
            if strip && leases {
                assert_eq!(named(&bytes, "stripped").len(), 1, "a strip was buried");
            }
        }
    }

    /// The file, which must be that of the last link, at once or, where somebody exchanges files
    /// without knowing of the link, as soon as that one has given it back.
    fn settled(&self, n: u64, at_once: bool) -> Vec<u8> {
        let start = Instant::now();
        loop {
            let bytes = fs::read(&self.path).unwrap();
            let seen = judge(&bytes);
            let older = seen.as_ref().is_ok_and(|&seen| seen < n);
            if at_once || !older || start.elapsed() > Duration::from_secs(5) {
                assert_eq!(seen, Ok(n), "a newer link was buried or broken");
                return bytes;
            }
            self.glimpses.fetch_add(1, SeqCst);
            thread::yield_now();
        }
    }
}

/// `way` is that of the installing thread, `other` that of the installing process.
fn race(way: Way, other: Way) {
    let rounds = std::env::var("BTFD_RACE_ROUNDS").map_or(2000, |n| n.parse().unwrap());
    let dir = Scratch::new();
    let race = Race {
        path: dir.file("a.ko", &link(0, false, None)),
        writing: AtomicU64::new(0),
        glimpses: AtomicU64::new(0),
        over: AtomicBool::new(false),
        failure: AtomicBool::new(false),
    };
    let mut process = Process(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(CHILD, format!("{other:?}"))
            .env("BTFD_TEST_PATH", &race.path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| race.watch())).collect();
        let installer = scope.spawn(|| {
            let mut ends = BTreeMap::new();
            for variant in 0.. {
                if race.over.load(SeqCst) {
                    break;
                }
                *ends.entry(encode(&race.path, variant, way)).or_insert(0u64) += 1;
            }
            ends
        });
        let built =
            scope.spawn(|| race.build(rounds, way == Way::Auto && other == Way::Auto)).join();
        race.over.store(true, SeqCst);
        let seen: u64 = readers.into_iter().map(|r| r.join().unwrap()).sum();
        let ends = installer.join().unwrap();
        let glimpses = race.glimpses.load(SeqCst);
        println!("{way:?}, {other:?}: {rounds} links, {seen} reads judged, {glimpses} glimpses");
        println!("installs: {ends:?}");
        assert!(built.is_ok());
        assert!(ends["done"] > rounds / 4 && seen > rounds / 4);
    });
    assert!(process.0.try_wait().unwrap().is_none(), "the installing process failed");
}

/// Killed on drop, so that a failed test leaves nothing running.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn in_place() {
    race(Way::Auto, Way::Auto);
}

#[test]
fn by_copy() {
    race(Way::Copy, Way::Copy);
}

#[test]
fn both_ways() {
    race(Way::Auto, Way::Copy);
}
