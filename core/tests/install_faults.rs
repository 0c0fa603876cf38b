//! Kills, full disks and missing rights in the middle of an install.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use btfd_core::elf::install::{
    Edit, InstallError, Installed, Outcome, Stamp, TEMP_PREFIX, Way, Why, install_sections,
    write_detached,
};
use common::{Elf, Scratch, contents, named, read};

const CHILD: &str = "BTFD_TEST_CHILD";
const NOBODY: u32 = 65534;

fn put(path: &Path, btf: &[u8], way: Way) -> Result<Installed, InstallError> {
    let edits = [Edit::Put { name: ".BTF", data: btf }];
    let start = Instant::now();
    loop {
        match install_sections(path, &edits, &Stamp::of_path(path).unwrap(), way) {
            // A child that another test forks has our descriptors until it executes.
            Err(e) if e.is_busy() && start.elapsed() < Duration::from_secs(10) => {
                thread::sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

/// Runs the test `child` of this program in a process of its own.
fn process(job: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--quiet"]).env(CHILD, job).env("BTFD_TEST_PATH", path);
    command
}

/// What a child process does; nothing in the test run itself.
#[test]
fn child() {
    let Ok(job) = std::env::var(CHILD) else { return };
    let path = PathBuf::from(std::env::var_os("BTFD_TEST_PATH").unwrap());
    match job.as_str() {
        "install" | "copy" => {
            let way = if job == "copy" { Way::Copy } else { Way::Auto };
            for n in 0u32.. {
                let btf = vec![n as u8; 20_000 + (n as usize * 977) % 30_000];
                let _ = put(&path, &btf, way);
            }
        }
        "no room" => {
            for way in [Way::Auto, Way::Copy] {
                let before = contents(&path);
                let stamp = Stamp::of_path(&path).unwrap();
                let error = put(&path, &vec![1; 60_000], way).unwrap_err();
                assert!(matches!(error.why, Why::NoSpace { .. }), "{error}");
                assert!(error.hint().is_some());
                assert_eq!(contents(&path), before);
                let now = Stamp::of_path(&path).unwrap();
                assert_eq!(
                    (now.ino, now.size, now.mtime_ns),
                    (stamp.ino, stamp.size, stamp.mtime_ns)
                );
            }
            let detached = path.with_extension("BTF");
            fs::write(&detached, b"old").unwrap();
            assert!(write_detached(&detached, &vec![1; 60_000]).is_err());
            assert_eq!(contents(&detached), b"old");
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn no_room_leaves_the_file_and_its_mtime() {
    let dir = Scratch::new();
    let path = dir.file("a.ko", &Elf::module(true, false).build());
    // The file size limit hits in the middle of a write, as a full disk does, for every user.
    let mut command = process("no room", &path);
    let limit = libc::rlimit { rlim_cur: 40_000, rlim_max: 40_000 };
    // SAFETY: both calls are async-signal-safe and get valid arguments.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    // Its report may be cut off by the limit too, so only the status counts.
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Kills the child at random moments and looks at what it leaves.
fn kill_at_random(job: &str) {
    let rounds = std::env::var("BTFD_KILL_ROUNDS").map_or(100, |n| n.parse().unwrap());
    let dir = Scratch::new();
    let old = Elf::module(true, false).build();
    let before = read(&old).unwrap();
    let path = dir.file("a.ko", &old);
    let mut noise = 12345u64;
    let mut written = 0;
    for _ in 0..rounds {
        let had = contents(&path);
        let mut killed: Child = process(job, &path).stdout(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while contents(&path) == had && start.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_micros(200));
        }
        noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        thread::sleep(Duration::from_nanos(noise >> 44));
        killed.kill().unwrap();
        killed.wait().unwrap();

        let bytes = contents(&path);
        let now = read(&bytes).unwrap();
        for (b, n) in before.iter().zip(&now) {
            assert!(b == n || b.name == ".shstrtab", "{b:?} {n:?}");
        }
        let btf = named(&bytes, ".BTF");
        assert_eq!(btf.len(), 1);
        assert!(btf[0].iter().all(|&b| b == btf[0][0]));
        written += usize::from(bytes != had);
        // Whatever lies dead behind it, the next one works.
        put(&path, b"next", Way::Auto).unwrap();
        assert_eq!(named(&contents(&path), ".BTF"), [b"next"]);
        for name in dir.names().iter().filter(|n| *n != "a.ko") {
            assert!(name.starts_with(TEMP_PREFIX) && name.ends_with(".tmp"), "{name}");
            fs::remove_file(dir.0.join(name)).unwrap();
        }
    }
    assert!(written > rounds / 2);
}

#[test]
fn a_kill_in_place_leaves_the_old_file_or_the_new_one() {
    kill_at_random("install");
}

#[test]
fn a_kill_while_copying_leaves_the_old_file_or_the_new_one() {
    kill_at_random("copy");
}

/// Runs `body` in a thread with other rights; false where there are none to give away.
fn with_rights(change: fn() -> bool, body: impl FnOnce() + Send) -> bool {
    // SAFETY: reads one number.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("not root, not tested");
        return false;
    }
    let run = move || {
        assert!(change());
        body();
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap());
    true
}

fn become_nobody() -> bool {
    // SAFETY: the raw calls change the rights of this thread only.
    unsafe {
        libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY) == 0
            && libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) == 0
    }
}

fn lose_leases() -> bool {
    const CAP_LEASE: u32 = 28;
    let header = [0x2008_0522u32, 0];
    let mut sets = [0u32; 6];
    // SAFETY: header and sets are what capget and capset of that version read and write.
    unsafe {
        if libc::syscall(libc::SYS_capget, &header, &mut sets) != 0 {
            return false;
        }
        sets[0] &= !(1 << CAP_LEASE);
        libc::syscall(libc::SYS_capset, &header, &sets) == 0
    }
}

#[test]
fn without_leases_a_copy_takes_the_place_and_keeps_the_owner() {
    let dir = Scratch::new();
    let path = dir.file("a.ko", &Elf::module(true, false).build());
    let ino = fs::metadata(&path).unwrap().ino();
    with_rights(lose_leases, || {
        chown(&path, Some(NOBODY), Some(1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(put(&path, b"types", Way::Auto).unwrap().outcome, Outcome::Written);
        let meta = fs::metadata(&path).unwrap();
        assert_ne!(meta.ino(), ino);
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (NOBODY, 1, 0o640));
        assert_eq!(named(&contents(&path), ".BTF"), [b"types"]);
        assert_eq!(dir.names(), ["a.ko"]);
    });
}

#[test]
fn missing_rights_are_told_and_nothing_is_left() {
    let dir = Scratch::new();
    let path = dir.file("a.ko", &Elf::module(true, false).build());
    let before = contents(&path);
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let denied = |expected: &str| {
        let error = put(&path, b"types", Way::Auto).unwrap_err();
        assert!(matches!(error.why, Why::Denied { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(contents(&path), before);
        assert_eq!(dir.names().iter().filter(|n| n.starts_with(TEMP_PREFIX)).count(), 0);
    };
    mode(&dir.0, 0o777);
    mode(&path, 0o666);
    // Another user's file, writable: no lease, and the copy's owner would be another one.
    with_rights(become_nobody, || denied("cannot keep owner, mode and attributes"));
    mode(&path, 0o444);
    with_rights(become_nobody, || denied("cannot open the file for writing"));
    mode(&path, 0o666);
    mode(&dir.0, 0o755);
    with_rights(become_nobody, || denied("cannot create a file in the directory"));
}
