//! Which functions are encoded, and as what.
//!
//! The symbol table says which functions exist; DWARF may describe one several times, once per CU
//! that saw it and again for each inlined copy. All descriptions of one name are held against the
//! first: where they disagree, or where the function may be called through more than one address,
//! nobody could rely on the prototype, and it is left out.

use super::Features;
use crate::btf::Type;
use crate::btf::kind::Kind;
use crate::btf::types::{Types, info};
use crate::dwarf::{DeclTag, Function, Param};
use crate::elf::Symbols;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use object::elf::STT_FUNC;
use std::fmt;
use std::hash::BuildHasher;

/// Chains of pointers and qualifiers longer than this are taken as different.
const MAX_CHAIN: usize = 10_000;
/// Flag of a kfunc that may be called without spilling registers.
const KF_FASTCALL: u32 = 1 << 12;
/// Flags of a kfunc whose result, first or second argument points into an arena.
const KF_ARENA: [(u32, Option<usize>); 3] =
    [(1 << 13, None), (1 << 14, Some(0)), (1 << 15, Some(1))];
/// The type tag of what lies in an arena.
const ARENA: &[u8] = b"address_space(1)";

/// The functions of a symbol table by base name: what stands before the first dot.
#[derive(Debug, Default)]
pub struct FunctionTable<'s> {
    entries: Vec<Entry<'s>>,
    index: HashTable<u32>,
}

#[derive(Debug)]
struct Entry<'s> {
    name: &'s [u8],
    /// Several symbols share the name, and not all the same address.
    ambiguous: bool,
    /// The flags of a kfunc.
    kfunc: Option<u32>,
}

fn hash(name: &[u8]) -> u64 {
    FixedState::default().hash_one(name)
}

impl<'s> FunctionTable<'s> {
    /// Collects the functions of `symbols`, and which of them are kfuncs (name and flags) if that
    /// is asked for.
    pub fn new<'a>(
        symbols: &'s Symbols,
        features: &Features,
        kfuncs: impl Iterator<Item = (&'a [u8], u32)>,
    ) -> FunctionTable<'s> {
        let mut list: Vec<(&[u8], u64)> = symbols
            .iter()
            .filter(|s| s.kind() == STT_FUNC)
            .filter_map(|s| {
                let name = symbols.name(s);
                let (base, suffix) = match memchr::memchr(b'.', name) {
                    Some(dot) => name.split_at(dot),
                    None => (name, &b""[..]),
                };
                let part = |what: &[u8]| memchr::memmem::find(suffix, what).is_some();
                (!part(b".cold") && !part(b".part")).then_some((base, s.value))
            })
            .collect();
        list.sort_by_key(|&(name, _)| name);
        let mut entries: Vec<Entry<'_>> = Vec::with_capacity(list.len());
        for same in list.chunk_by(|a, b| a.0 == b.0) {
            entries.push(Entry {
                name: same[0].0,
                ambiguous: is_ambiguous(same.iter().map(|&(_, value)| value)),
                kfunc: None,
            });
        }
        // pahole checks a name when it meets the next one, so never the last.
        if let Some(last) = entries.last_mut() {
            last.ambiguous = false;
        }
        let mut index = HashTable::with_capacity(entries.len());
        for (i, entry) in entries.iter().enumerate() {
            index.insert_unique(hash(entry.name), i as u32, |&i| hash(entries[i as usize].name));
        }
        let mut table = FunctionTable { entries, index };
        if features.decl_tag_kfuncs {
            table.mark_kfuncs(kfuncs);
        }
        table
    }

    /// The index of a function, by base name; indexes ascend with names.
    pub fn find(&self, name: &[u8]) -> Option<u32> {
        self.index.find(hash(name), |&i| self.entries[i as usize].name == name).copied()
    }

    /// Marks the functions of kfunc sets.
    fn mark_kfuncs<'a>(&mut self, kfuncs: impl Iterator<Item = (&'a [u8], u32)>) {
        for (name, flags) in kfuncs {
            if let Some(index) = self.find(name) {
                self.entries[index as usize].kfunc = Some(flags);
            }
        }
    }
}

/// Whether symbols of one name differ in their value, 0 being "not set yet" for pahole.
fn is_ambiguous(values: impl Iterator<Item = u64>) -> bool {
    let mut last = 0;
    for value in values {
        if last != 0 && last != value {
            return true;
        }
        last = value;
    }
    false
}

/// A function that was left out for what cannot be relied on.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// Its name.
    pub name: Vec<u8>,
    /// The first doubt.
    pub doubt: Doubt,
}

/// What about a function cannot be relied on. `Display` is in pahole's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Symbols of its name have different addresses.
    Ambiguous,
    /// A parameter is in another register than the calling convention says.
    Register,
    /// A parameter is where no convention can tell.
    Place,
    /// Its CUs differ in the number of parameters.
    Count(usize, usize),
    /// Its CUs differ in the type of the result.
    Result,
    /// Its CUs differ in the type of a parameter, counted from 0.
    Parameter(usize),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Ambiguous => write!(f, "ambiguous address"),
            Doubt::Register => write!(f, "optimized parameters"),
            Doubt::Place => write!(f, "uncertain parameter location"),
            Doubt::Count(a, b) => write!(f, "param count mismatch; {a} params != {b} params"),
            Doubt::Result => write!(f, "return type mismatch"),
            Doubt::Parameter(at) => write!(f, "param type mismatch for param#{}", at + 1),
        }
    }
}

/// The types of a layer and of what it stands on.
#[derive(Clone, Copy)]
struct Both<'a> {
    base: Option<&'a Types>,
    types: &'a Types,
}

impl<'a> Both<'a> {
    fn get(self, id: u32) -> Type<'a> {
        let below = self.base.map_or(0, Types::len);
        match (self.base, (id as usize).checked_sub(below + 1)) {
            (_, Some(index)) => self.types.get(index),
            (Some(base), None) if id > 0 => base.get(id as usize - 1),
            _ => Type::VOID,
        }
    }
}

/// Chooses among the functions found and emits them in order of their names; gives those that it
/// left out.
///
/// `types` are those of a layer over `base`; `intern` gives string offsets. Errors where a kfunc is
/// not what its flags say.
pub(super) fn emit(
    mut found: Vec<Function>,
    known: &FunctionTable<'_>,
    features: &Features,
    types: &mut Types,
    base: Option<&Types>,
    mut intern: impl FnMut(&[u8]) -> u32,
) -> Result<Vec<Skipped>, String> {
    let mut skipped = Vec::new();
    let first_id = base.map_or(0, Types::len) as u32 + 1;
    found.sort_by_key(|f| f.symbol); // stable: of one name, the first CU's comes first
    let mut rest = &mut found[..];
    while !rest.is_empty() {
        let same = rest.iter().take_while(|f| f.symbol == rest[0].symbol).count();
        let (states, after) = rest.split_at_mut(same);
        rest = after;
        let entry = &known.entries[states[0].symbol as usize];
        let doubt = match entry.ambiguous {
            _ if !features.consistent_func => None,
            true => Some(Doubt::Ambiguous),
            false => doubt(states, Both { base, types }),
        };
        if let Some(doubt) = doubt {
            skipped.push(Skipped { name: entry.name.to_vec(), doubt });
            continue;
        }
        let function = &mut states[0];
        if let Some(flags) = entry.kfunc.filter(|_| features.attributes) {
            tag_arena(function, flags, types, base, &mut intern)
                .map_err(|what| format!("kfunc {}: {what}", String::from_utf8_lossy(entry.name)))?;
        }
        let next = |types: &Types| first_id + types.len() as u32;
        let proto = next(types);
        let count = function.params.len() as u32;
        types.push(&[0, info(Kind::FuncProto, count, false), function.ret]);
        for &Param { name, ty } in &function.params {
            types.word(name);
            types.word(ty);
        }
        let id = next(types);
        types.push(&[intern(entry.name), info(Kind::Func, 0, false), proto]);
        let mut tag = |value, component: i32| {
            types.push(&[value, info(Kind::DeclTag, 0, false), id, component as u32]);
        };
        if let Some(flags) = entry.kfunc.filter(|_| features.decl_tag) {
            tag(intern(b"bpf_kfunc"), -1);
            if flags & KF_FASTCALL != 0 {
                tag(intern(b"bpf_fastcall"), -1);
            }
        }
        for &DeclTag { value, component, .. } in &function.tags {
            tag(value, component);
        }
    }
    Ok(skipped)
}

/// Lets the pointers of a kfunc that are said to be of an arena point to tagged types.
fn tag_arena(
    function: &mut Function,
    flags: u32,
    types: &mut Types,
    base: Option<&Types>,
    mut intern: impl FnMut(&[u8]) -> u32,
) -> Result<(), String> {
    for (_, place) in KF_ARENA.iter().filter(|(flag, _)| flags & flag != 0) {
        let (slot, what) = match *place {
            None => (Some(&mut function.ret), "its result".to_string()),
            Some(at) => {
                (function.params.get_mut(at).map(|p| &mut p.ty), format!("argument {}", at + 1))
            }
        };
        let Some(slot) = slot else {
            return Err(format!("its flags call {what} an arena pointer, but it has none"));
        };
        let pointee = Some(Both { base, types }.get(*slot))
            .filter(|ty| ty.kind() == Some(Kind::Ptr))
            .map(|ty| ty.size_or_type());
        let Some(pointee) = pointee else {
            return Err(format!("its flags call {what} an arena pointer, but it is no pointer"));
        };
        let tagged = (base.map_or(0, Types::len) + types.len()) as u32 + 1;
        types.push(&[intern(ARENA), info(Kind::TypeTag, 0, true), pointee]);
        types.push(&[0, info(Kind::Ptr, 0, false), tagged]);
        *slot = tagged + 1;
    }
    Ok(())
}

/// What the descriptions of one function leave in doubt about how it is called.
fn doubt(states: &[Function], types: Both<'_>) -> Option<Doubt> {
    let (first, others) = states.split_first()?;
    let mut unexpected = first.unexpected_reg;
    let mut uncertain = first.uncertain_location;
    let mut difference = None;
    for other in others {
        unexpected |= other.unexpected_reg;
        uncertain |= other.uncertain_location;
        if !unexpected && difference.is_none() {
            difference = differ(first, other, types);
        }
    }
    let unexpected = unexpected.then_some(Doubt::Register);
    unexpected.or(difference).or(uncertain.then_some(Doubt::Place))
}

/// How two prototypes differ.
fn differ(a: &Function, b: &Function, types: Both<'_>) -> Option<Doubt> {
    if a.params.len() != b.params.len() {
        return Some(Doubt::Count(a.params.len(), b.params.len()));
    }
    if !same_type(a.ret, b.ret, types) {
        return Some(Doubt::Result);
    }
    let mut params = a.params.iter().zip(&b.params);
    params.position(|(a, b)| !same_type(a.ty, b.ty, types)).map(Doubt::Parameter)
}

/// Whether two types would be passed alike, as far as pahole looks: aggregates by name, pointers
/// by what they point to, a `const` on one side only is forgiven (but never against void).
fn same_type(mut a: u32, mut b: u32, types: Both<'_>) -> bool {
    for _ in 0..MAX_CHAIN {
        if a == b {
            return true;
        }
        if a == 0 || b == 0 {
            return false;
        }
        let (x, y) = (types.get(a), types.get(b));
        let kind = |t: crate::btf::Type<'_>| match t.kind() {
            Some(Kind::Fwd) if t.kflag() => Some(Kind::Union),
            Some(Kind::Fwd) => Some(Kind::Struct),
            other => other,
        };
        let (Some(k), Some(l)) = (kind(x), kind(y)) else { return false };
        if k != l {
            if k == Kind::Const {
                a = x.size_or_type();
            } else if l == Kind::Const {
                b = y.size_or_type();
            } else {
                return false;
            }
            continue;
        }
        match k {
            Kind::Int => {
                return x.size_or_type() == y.size_or_type()
                    && x.payload() == y.payload()
                    && x.name() == y.name();
            }
            Kind::Float => return x.size_or_type() == y.size_or_type() && x.name() == y.name(),
            Kind::Typedef | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => {
                return x.name() == y.name();
            }
            Kind::Ptr | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                (a, b) = (x.size_or_type(), y.size_or_type());
            }
            Kind::Array if x.payload()[2] == y.payload()[2] => {
                (a, b) = (x.payload()[0], y.payload()[0]);
            }
            // Of function pointers pahole 1.31 compares only the result.
            Kind::FuncProto if x.vlen() == y.vlen() => {
                (a, b) = (x.size_or_type(), y.size_or_type());
            }
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguity_has_paholes_holes() {
        let ambiguous = |values: &[u64]| is_ambiguous(values.iter().copied());
        assert!(!ambiguous(&[0, 8]));
        assert!(ambiguous(&[8, 0]));
        assert!(ambiguous(&[0, 8, 16]));
        assert!(!ambiguous(&[8, 8]));
    }
}
