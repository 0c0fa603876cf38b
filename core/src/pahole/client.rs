//! Asks the daemon for the BTF of a module.
//!
//! # Contract
//!
//! The daemon only saves time: every doubt is an answer of its own ([`No`]), upon which the caller
//! encodes by itself. Nobody but this user's own daemon is asked: the directory of the socket and
//! the process behind it must be this user's. An answer for another file than the one in hand is
//! thrown away.
//!
//! # Time
//!
//! A connection is made at once or not at all (a full backlog is a no). All the rest has a limit
//! that a living daemon keeps even where it loads the base first on a busy machine. Who runs into it
//! leaves a mark beside the socket, and for half a minute nobody else tries: a stopped daemon costs a
//! build a few such waits, not thousands.
//! The first to leave a mark says so; the next answer takes it away. Without a daemon the price is
//! one failed `connect`.

use super::arguments::Job;
use crate::elf::install::Stamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Where the socket is, if not in its usual place; `none` for no daemon.
pub const PLACE: &str = "BTFD_SOCKET";
/// The interface that this client speaks.
const INTERFACE: &str = "io.btfd";
/// For how long an answer is waited for, and how much longer for each MiB of the module.
const PATIENCE: Duration = Duration::from_millis(1500);
const EACH_MIB: Duration = Duration::from_millis(50);
/// For how long a mark keeps others away.
const QUIET: Duration = Duration::from_secs(30);
/// Longer answers are no BTF.
const LIMIT: usize = 64 << 20;

/// What the daemon made.
#[derive(Debug)]
pub struct Answer {
    /// The bytes of `.BTF`.
    pub btf: Vec<u8>,
    /// Those of `.BTF.base`, where it was asked for.
    pub base: Option<Vec<u8>>,
    /// What was left out or replaced, one line each.
    pub warnings: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum No {
    /// Nobody is there.
    Absent,
    /// It has better things to do, or does not serve this file.
    Unsuitable(String),
    /// Something is wrong that its user should hear of, once.
    Wrong(String),
}

/// The socket of this user's daemon of this version.
fn socket() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(PLACE).filter(|path| !path.is_empty()) {
        return (path != "none").then(|| path.into());
    }
    let name = concat!("io.btfd-", env!("CARGO_PKG_VERSION"));
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    Some(match runtime {
        Some(runtime) => Path::new(&runtime).join("btfd").join(name),
        None => PathBuf::from(format!("/tmp/btfd-{}", user())).join(name),
    })
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Asks for the BTF of the module, which has the stamp `stamp`, over the base of `job`.
pub fn ask(job: &Job, stamp: &Stamp) -> Result<Answer, No> {
    let (Some(socket), Some(base)) = (socket(), &job.base) else { return Err(No::Absent) };
    let mark = Mark::of(&socket);
    if mark.is_fresh() {
        return Err(No::Unsuitable("it did not answer a moment ago".into()));
    }
    let mut stream = connect(&socket)?;
    let request = request(job, stamp, base)?;
    let patience = PATIENCE + EACH_MIB * u32::try_from(stamp.size >> 20).unwrap_or(1024);
    let until = Instant::now() + patience;
    let mut talk = || -> io::Result<Vec<u8>> {
        stream.set_write_timeout(Some(patience))?;
        stream.write_all(&request)?;
        receive(&mut stream, until)
    };
    match talk() {
        Ok(reply) => {
            mark.remove();
            read(&reply, stamp)
        }
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            let what = format!("the daemon did not answer within {} ms", patience.as_millis());
            Err(if mark.leave() { No::Wrong(what) } else { No::Unsuitable(what) })
        }
        Err(e) => Err(No::Unsuitable(format!("the daemon hung up: {e}"))),
    }
}

/// The file that says that the daemon did not answer in time.
struct Mark {
    path: PathBuf,
    age: Option<Duration>,
}

impl Mark {
    fn of(socket: &Path) -> Mark {
        let mut path = socket.as_os_str().to_owned();
        path.push(".stalled");
        let made = fs::metadata(&path).and_then(|m| m.modified()).ok();
        // One from the future is as good as none.
        Mark { path: path.into(), age: made.map(|then| then.elapsed().unwrap_or(QUIET)) }
    }

    fn is_fresh(&self) -> bool {
        self.age.is_some_and(|age| age < QUIET)
    }

    /// Whether this is the first since the daemon last answered.
    fn leave(&self) -> bool {
        let made = fs::File::create_new(&self.path).is_ok();
        if !made && let Ok(old) = fs::File::options().append(true).open(&self.path) {
            let _ = old.set_modified(SystemTime::now());
        }
        made
    }

    fn remove(&self) {
        if self.age.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A connection to a daemon of this user's.
fn connect(socket: &Path) -> Result<UnixStream, No> {
    let Some(Ok(folder)) = socket.parent().map(fs::metadata) else { return Err(No::Absent) };
    if folder.uid() != user() || folder.mode() & 0o022 != 0 {
        let path = socket.display();
        return Err(No::Wrong(format!("{path}: others could have put it there, it is not used")));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let open = || -> rustix::io::Result<UnixStream> {
        let address = SocketAddrUnix::new(socket)?;
        let fd = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        net::connect(&fd, &address)?;
        Ok(fd.into())
    };
    let stream = match open() {
        Ok(stream) => stream,
        Err(rustix::io::Errno::AGAIN) => return Err(No::Unsuitable("too many wait for it".into())),
        Err(_) => return Err(No::Absent),
    };
    let peer = net::sockopt::socket_peercred(&stream);
    if !peer.is_ok_and(|peer| peer.uid.as_raw() == user()) {
        return Err(No::Wrong("another user answers for the daemon, it is not asked".into()));
    }
    stream.set_nonblocking(false).map_err(|e| No::Unsuitable(e.to_string()))?;
    Ok(stream)
}

fn request(job: &Job, stamp: &Stamp, base: &Path) -> Result<Vec<u8>, No> {
    // The daemon is elsewhere, and its language wants text.
    let name = |path: &Path| -> Result<String, No> {
        let path = fs::canonicalize(path).map_err(|e| No::Unsuitable(e.to_string()))?;
        let text = path.into_os_string().into_string();
        text.map_err(|_| No::Unsuitable("the path is not UTF-8".into()))
    };
    let of_base = Stamp::of_path(base).map_err(|e| No::Unsuitable(e.to_string()))?;
    let distilled = job.features().distilled_base;
    let features = job.features.iter().filter(|&&name| name != "distilled_base" || distilled);
    let request = json!({
        "method": format!("{INTERFACE}.Encode"),
        "parameters": {
            "module": name(&job.file)?,
            "stamp": numbers(stamp),
            "base": name(base)?,
            "base_stamp": numbers(&of_base),
            "features": features.collect::<Vec<_>>(),
            "lang_exclude": job.lang_exclude,
        },
    });
    let mut bytes = request.to_string().into_bytes();
    bytes.push(0);
    Ok(bytes)
}

/// A stamp as the interface has it.
fn numbers(s: &Stamp) -> Value {
    json!([s.dev, s.ino, s.size, s.mtime_ns, s.ctime_ns])
}

/// One message, without its NUL.
fn receive(stream: &mut UnixStream, until: Instant) -> io::Result<Vec<u8>> {
    let mut reply = Vec::with_capacity(64 << 10);
    let mut chunk = [0; 64 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let got = match stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => &chunk[..got],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        match memchr::memchr(0, got) {
            Some(end) => {
                reply.extend_from_slice(&got[..end]);
                return Ok(reply);
            }
            None if reply.len() > LIMIT => return Err(io::ErrorKind::InvalidData.into()),
            None => reply.extend_from_slice(got),
        }
    }
}

/// What a reply says.
fn read(reply: &[u8], stamp: &Stamp) -> Result<Answer, No> {
    let strange = || No::Wrong("the daemon's answer makes no sense, it is not used".into());
    let reply: Value = serde_json::from_slice(reply).map_err(|_| strange())?;
    let said = &reply["parameters"];
    if let Some(error) = reply["error"].as_str() {
        // What it refuses is looked at here once more: one way to say why, one way on.
        let reason = said["reason"].as_str().unwrap_or(error);
        return Err(No::Unsuitable(reason.to_owned()));
    }
    if said["stamp"] != numbers(stamp) {
        return Err(No::Unsuitable("it read another file".into()));
    }
    let bytes = |text: &Value| STANDARD.decode(text.as_str()?).ok();
    let base = match &said["btf_base"] {
        Value::Null => None,
        text => Some(bytes(text).ok_or_else(strange)?),
    };
    let lines = said["warnings"].as_array().into_iter().flatten();
    Ok(Answer {
        btf: bytes(&said["btf"]).ok_or_else(strange)?,
        base,
        warnings: lines.filter_map(|line| Some(line.as_str()?.to_owned())).collect(),
    })
}
