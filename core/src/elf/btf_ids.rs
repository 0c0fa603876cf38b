//! `.BTF_ids`: the type ids that a module's code reads at run time.
//!
//! The compiler leaves a word of 0 for each id and a symbol that names what belongs there:
//! `__BTF_ID__<kind>__<name>__<n>`. Sets have a symbol of their own whose size is theirs:
//!
//! * `__BTF_ID__set__<name>`: a count, then ids;
//! * `__BTF_ID__set8__<name>`: a count, flags of the set, then pairs of an id and its flags.
//!
//! After BTF is made, the kernel's `resolve_btfids` writes ids and counts and sorts the sets by
//! id. The kernel finds ids in a set by bisection.
//!
//! # Contract
//!
//! Sorting a `set8` takes the flags along, away from the symbols that they were written for. So a
//! section is resolved only from its *pristine* words, those of the linker: [`pristine`](BtfIds::pristine)
//! gives them back where the section was resolved before, and refuses where that would be a guess.
//! [`resolve`](BtfIds::resolve) then writes what `resolve_btfids` of Linux 5.16 to 6.19 writes, and
//! may be applied any number of times.
//!
//! Cost: reading looks at every symbol once; resolving at the name of every function, struct, union
//! and typedef, 5 ms for a kernel's base. Files without the section cost a look at the section table.

mod pristine;
mod resolve;

pub use pristine::{Earlier, Pristine};
pub use resolve::Resolved;

use super::{ElfError, Image, Section, Symbols};
use crate::btf::{Endian, Kind};
use object::elf::SHT_NOBITS;
use thiserror::Error;

/// What all symbols of ids begin with.
const PREFIX: &[u8] = b"__BTF_ID__";
/// The kernel's own limit on names is 512.
const MAX_NAME: usize = 4096;
/// Bit of a set's flags: its functions are meant for registration (6.9 and later).
const SET_OF_KFUNCS: u32 = 1;

/// Why ids cannot be resolved.
#[derive(Debug, Error)]
pub enum IdsError {
    /// The file.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A symbol that no kernel so far would write.
    #[error(".BTF_ids: {0}")]
    Malformed(String),
    /// Nobody can say any more which flags belong to which function.
    #[error(
        ".BTF_ids was resolved before, and the flags of set {set} cannot be told apart: {reason}"
    )]
    Lost {
        /// The first set of which that is true.
        set: String,
        /// Why not.
        reason: &'static str,
    },
}

/// A word that wants an id.
#[derive(Clone, Debug)]
struct Place {
    /// Its offset in the section, a multiple of 4.
    at: usize,
    kind: Kind,
    name: Vec<u8>,
}

/// A set, and where its members are.
#[derive(Clone, Debug)]
struct Set {
    /// Offset of its count in the section, a multiple of 4.
    at: usize,
    /// Members that it has room for.
    count: usize,
    /// A `set8`: members have flags.
    flagged: bool,
    name: Vec<u8>,
}

impl Set {
    /// Bytes before the first member.
    fn head(&self) -> usize {
        if self.flagged { 8 } else { 4 }
    }

    /// Bytes of a member.
    fn stride(&self) -> usize {
        if self.flagged { 8 } else { 4 }
    }

    /// Offset of a member.
    fn member(&self, index: usize) -> usize {
        self.at + self.head() + index * self.stride()
    }

    fn members(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let (first, stride) = (self.member(0), self.stride());
        (0..self.count).map(move |i| first + i * stride)
    }

    /// Offset behind the last member.
    fn end(&self) -> usize {
        self.member(self.count)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// The section of one file, and what its symbols say of it.
#[derive(Clone, Debug)]
pub struct BtfIds {
    bytes: Vec<u8>,
    endian: Endian,
    places: Vec<Place>,
    sets: Vec<Set>,
    /// Symbols that name no id of a known form; resolving refuses them.
    strange: Option<String>,
    build_id: Option<String>,
}

impl BtfIds {
    /// Reads the section, if there is one with bytes in it (a file of debug data only has none).
    pub fn read(image: &Image, symbols: &Symbols) -> Result<Option<BtfIds>, ElfError> {
        let filled = |s: &&Section| s.size > 0 && s.kind != SHT_NOBITS;
        let Some(section) = image.section(b".BTF_ids").filter(filled) else {
            return Ok(None);
        };
        let base = section.symbol_base(image);
        let bytes = image.read(section)?;
        let mut ids = BtfIds::new(bytes, image.endian);
        for symbol in symbols.iter().filter(|s| s.section as usize == section.index) {
            ids.add(symbols.name(symbol), symbol.value.wrapping_sub(base), symbol.size);
        }
        ids.arrange();
        ids.build_id = build_id(image)?;
        Ok(Some(ids))
    }

    fn new(bytes: Vec<u8>, endian: Endian) -> BtfIds {
        let (places, sets) = (Vec::new(), Vec::new());
        BtfIds { bytes, endian, places, sets, strange: None, build_id: None }
    }

    /// Takes a symbol at an offset of the section.
    fn add(&mut self, symbol: &[u8], offset: u64, size: u64) {
        let Some(rest) = symbol.strip_prefix(PREFIX) else { return };
        if rest.len() > MAX_NAME {
            let what = || format!("a symbol of {} bytes", symbol.len());
            self.strange.get_or_insert_with(what);
            return;
        }
        let room = self.bytes.len();
        let inside = |len: usize| {
            usize::try_from(offset)
                .ok()
                .filter(|at| at % 4 == 0 && at.checked_add(len).is_some_and(|end| end <= room))
        };
        let kinds = [
            (&b"struct__"[..], Kind::Struct),
            (b"union__", Kind::Union),
            (b"typedef__", Kind::Typedef),
            (b"func__", Kind::Func),
        ];
        let known =
            kinds.iter().find_map(|&(prefix, kind)| Some((rest.strip_prefix(prefix)?, kind)));
        if let Some((rest, kind)) = known {
            // A number follows the name, for a name may be wanted more than once.
            let name = memchr::memrchr(b'_', rest)
                .filter(|&last| last > 0 && rest[last - 1] == b'_')
                .map(|last| rest[..last - 1].to_vec());
            if let (Some(name), Some(at)) = (name, inside(4)) {
                return self.places.push(Place { at, kind, name });
            }
        }
        for (prefix, flagged) in [(&b"set8__"[..], true), (b"set__", false)] {
            let Some(name) = rest.strip_prefix(prefix) else { continue };
            let unit = if flagged { 8 } else { 4 };
            let len = usize::try_from(size).unwrap_or(usize::MAX);
            if let (Some(at), Some(count)) = (inside(len), (len / unit).checked_sub(1)) {
                return self.sets.push(Set { at, count, flagged, name: name.to_vec() });
            }
        }
        self.strange.get_or_insert_with(|| {
            let name = String::from_utf8_lossy(symbol);
            format!("symbol {name} at offset {offset:#x} of {room} bytes is no id that is known")
        });
    }

    /// Orders the sets; none may reach into the next.
    fn arrange(&mut self) {
        self.sets.sort_by_key(|set| set.at);
        if let Some(two) = self.sets.windows(2).find(|two| two[0].end() > two[1].at) {
            let what = format!("set {} reaches into set {}", two[0].text(), two[1].text());
            self.strange.get_or_insert(what);
            self.sets.clear();
        }
    }

    /// The words as they are in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Names the link that made the file: its build id, in hexadecimal digits.
    pub fn build_id(&self) -> Option<&str> {
        self.build_id.as_deref()
    }

    /// The functions in sets for registration and their flags, read from `words`.
    pub fn kfuncs<'a>(&'a self, words: &'a [u8]) -> impl Iterator<Item = (&'a [u8], u32)> {
        let set_of = |at: usize| {
            let before = self.sets.partition_point(|set| set.at <= at);
            self.sets[..before].last().filter(|set| set.flagged && at < set.end())
        };
        self.places.iter().filter(|place| place.kind == Kind::Func).filter_map(move |place| {
            let set = set_of(place.at)?;
            let registered = self.word(words, set.at + 4) & SET_OF_KFUNCS != 0;
            registered.then(|| (&place.name[..], self.word(words, place.at + 4)))
        })
    }

    /// The word at an offset that lies in the section; `words` may be shorter than that.
    fn word(&self, words: &[u8], at: usize) -> u32 {
        let bytes: [u8; 4] =
            words.get(at..).and_then(|w| w.first_chunk()).copied().unwrap_or_default();
        match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        }
    }

    fn put(&self, words: &mut [u8], at: usize, word: u32) {
        let bytes = match self.endian {
            Endian::Little => word.to_le_bytes(),
            Endian::Big => word.to_be_bytes(),
        };
        if let Some(slot) = words.get_mut(at..at + 4) {
            slot.copy_from_slice(&bytes);
        }
    }
}

/// The build id of a file, in hexadecimal digits.
fn build_id(image: &Image) -> Result<Option<String>, ElfError> {
    let Some(section) = image.section(b".note.gnu.build-id").filter(|s| s.size <= 4096) else {
        return Ok(None);
    };
    let note = image.read(section)?;
    let number = |at: usize| note.get(at..at + 4).map(|b| image.number(b) as usize);
    // Sizes of name and content, a type, the name `GNU` with its NUL, the content.
    let content = (number(0) == Some(4) && note.get(12..16) == Some(&b"GNU\0"[..]))
        .then(|| note.get(16..16 + number(4)?))
        .flatten()
        .filter(|id| !id.is_empty());
    Ok(content.map(|id| id.iter().map(|b| format!("{b:02x}")).collect()))
}
