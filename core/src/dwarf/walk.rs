//! One pass over the DIEs of a group.
//!
//! A DIE becomes a type when it is complete, so children come before their parent and ids follow
//! the order in which pahole numbers them. References are kept as DIE offsets and resolved when
//! the pass is over ([`super::resolve`]). The nesting of DIEs is a stack on the heap: input cannot
//! deepen any recursion.

use super::attributes::{self, Attributes};
use super::cu::{Cu, FILE_INT};
use super::offsets::OffsetMap;
use super::resolve::{self, Pending};
use super::unit::{Group, Unit};
use super::{DwarfError, Result};
use crate::btf::kind::Kind;
use crate::btf::types::{MAX_VLEN, info};
use crate::encode::{Features, FunctionTable, Target};
use gimli::constants as dw;
use gimli::{DwLang, DwTag};

/// `DW_TAG_LLVM_annotation`: clang's carrier of BTF tags.
const LLVM_ANNOTATION: DwTag = DwTag(0x6000);
/// In a word that will become a type id: it is one already, not a DIE offset.
pub(super) const IS_ID: u32 = 1 << 31;
/// Offsets must stay below [`IS_ID`].
const MAX_GROUP: usize = 1 << 31;
/// The dimensions of an array that count.
const MAX_DIMENSIONS: usize = 64;

/// A member of the struct or union that is being read.
#[derive(Clone, Copy)]
struct Member<'d> {
    name: &'d [u8],
    ty: u32,
    bits: u64,
    bit_size: u64,
    /// Bit offset of an old-style bitfield, whose storage unit decides where it lies.
    old_style: Option<(u64, u64)>,
}

/// Where a type stands: its DIE's offset in the group and its slot in the offset map.
#[derive(Clone, Copy)]
struct Place {
    offset: u32,
    slot: u32,
}

/// A DIE whose children are being read.
enum Open<'d> {
    /// CU, namespace, or a DIE whose types belong to whoever is around it.
    Scope {
        top_level: bool,
    },
    Composite {
        at: Place,
        a: Attributes<'d>,
        kind: Kind,
        members: usize,
        count: u32,
        tags: usize,
    },
    Enum {
        at: Place,
        a: Attributes<'d>,
        values: usize,
    },
    Array {
        at: Place,
        ty: u32,
        dimensions: usize,
        nelems: u32,
    },
    Proto {
        at: Place,
        ty: u32,
        params: usize,
        variadic: bool,
    },
    Function {
        index: usize,
        params: u32,
    },
    Block,
    Inlined,
    Pointer {
        at: Place,
        ty: u32,
        tags: usize,
    },
    Typedef {
        at: Place,
        a: Attributes<'d>,
        tags: usize,
    },
    /// A member, parameter or variable: only annotations count.
    Tagged(TagOn),
    /// Nothing below counts.
    Skip,
}

/// Whom an annotation belongs to.
#[derive(Clone, Copy)]
enum TagOn {
    Composite(i32),
    Function(usize, i32),
    Variable(usize),
    Nobody,
}

/// Reads one group.
///
/// `functions` are those that the symbol table has; `target` tells the calling convention.
pub fn read<'d>(
    group: &Group<'d>,
    functions: &FunctionTable,
    target: Target,
    features: &Features,
) -> Result<Cu<'d>> {
    if group.len >= MAX_GROUP {
        return Err(DwarfError::Die {
            die: group.start,
            what: format!(
                "{} bytes of DWARF that refer to each other, expected below 2 GiB",
                group.len
            ),
        });
    }
    let mut walk = Walk {
        features,
        target,
        start: group.start,
        offsets: OffsetMap::new(group.len),
        cu: Cu::default(),
        pending: Pending::default(),
        stack: Vec::new(),
        members: Vec::new(),
        values: Vec::new(),
        params: Vec::new(),
        type_tags: Vec::new(),
        composite_tags: Vec::new(),
    };
    for unit in &group.units {
        walk.unit(unit).map_err(|e| match e {
            Stop::Gimli(source) => DwarfError::Malformed { unit: unit.offset, source },
            Stop::Dwarf(e) => e,
        })?;
    }
    resolve::finish(walk.cu, walk.offsets, walk.pending, functions, target, group.start)
}

enum Stop {
    Gimli(gimli::Error),
    Dwarf(DwarfError),
}

impl From<gimli::Error> for Stop {
    fn from(e: gimli::Error) -> Stop {
        Stop::Gimli(e)
    }
}

impl From<DwarfError> for Stop {
    fn from(e: DwarfError) -> Stop {
        Stop::Dwarf(e)
    }
}

struct Walk<'a, 'd> {
    features: &'a Features,
    target: Target,
    /// Offset of the group in `.debug_info`.
    start: usize,
    offsets: OffsetMap,
    cu: Cu<'d>,
    pending: Pending<'d>,
    stack: Vec<Open<'d>>,
    // Children of the DIEs on the stack, innermost last.
    members: Vec<Member<'d>>,
    values: Vec<(&'d [u8], u64)>,
    params: Vec<(&'d [u8], u32)>,
    type_tags: Vec<u32>,
    /// Texts of tags on the composite or typedef being read, with their components.
    composite_tags: Vec<(&'d [u8], i32)>,
}

impl<'d> Walk<'_, 'd> {
    fn unit(&mut self, unit: &Unit<'d>) -> std::result::Result<(), Stop> {
        let base = (unit.offset - self.start) as u32;
        let mut entries = unit.header.entries_raw(&unit.abbreviations, None)?;
        self.stack.clear();
        while !entries.is_empty() {
            let offset = base + entries.next_offset().0 as u32;
            let Some(abbreviation) = entries.read_abbreviation()? else {
                if let Some(open) = self.stack.pop() {
                    self.close(unit, open)?;
                }
                continue;
            };
            if let Some(Open::Skip) = self.stack.last() {
                entries.skip_attributes(abbreviation.attributes())?;
                if abbreviation.has_children() {
                    self.stack.push(Open::Skip);
                }
                continue;
            }
            let a = Attributes::read(unit, &mut entries, abbreviation, base, self.start)?;
            let open = if self.stack.is_empty() {
                Open::Scope { top_level: true }
            } else {
                self.open(unit, offset, abbreviation.tag(), a)?
            };
            if abbreviation.has_children() {
                self.stack.push(open);
            } else {
                self.close(unit, open)?;
                if self.stack.is_empty() {
                    break; // a root DIE without children is the whole unit
                }
            }
        }
        // A unit that ends without its closing entries is complete all the same.
        while let Some(open) = self.stack.pop() {
            self.close(unit, open)?;
        }
        Ok(())
    }

    fn error<T>(&self, offset: u32, what: impl Into<String>) -> std::result::Result<T, Stop> {
        Err(DwarfError::Die { die: self.start + offset as usize, what: what.into() }.into())
    }

    /// A DIE starts: what is it, seen from its parent?
    fn open(
        &mut self,
        unit: &Unit<'d>,
        offset: u32,
        tag: DwTag,
        a: Attributes<'d>,
    ) -> std::result::Result<Open<'d>, Stop> {
        let Some(parent) = self.stack.last_mut() else { return Ok(Open::Skip) };
        match (parent, tag) {
            (Open::Composite { count, kind, .. }, dw::DW_TAG_member | dw::DW_TAG_inheritance) => {
                let index = *count as i32;
                *count += 1;
                let union = *kind == Kind::Union;
                if tag == dw::DW_TAG_member {
                    self.member(offset, &a, union)?;
                }
                Ok(Open::Tagged(TagOn::Composite(index)))
            }
            (Open::Composite { .. }, LLVM_ANNOTATION) => {
                self.annotation(TagOn::Composite(-1), &a);
                Ok(Open::Skip)
            }
            (Open::Enum { .. }, dw::DW_TAG_enumerator) => {
                self.values.push((a.text(), a.const_value));
                Ok(Open::Skip)
            }
            (Open::Array { dimensions, nelems, .. }, dw::DW_TAG_subrange_type) => {
                if *dimensions < MAX_DIMENSIONS {
                    let n = match (a.upper_bound, a.count) {
                        (Some(Some(bound)), _) => bound.wrapping_add(1) as u32,
                        (None, Some(count)) => count as u32,
                        _ => 0,
                    };
                    *nelems = nelems.wrapping_mul(n);
                    *dimensions += 1;
                }
                Ok(Open::Skip)
            }
            (Open::Proto { .. }, dw::DW_TAG_formal_parameter) => {
                self.params.push((a.text(), a.ty));
                Ok(Open::Skip)
            }
            (Open::Proto { variadic, .. }, dw::DW_TAG_unspecified_parameters) => {
                *variadic = true;
                Ok(Open::Skip)
            }
            (Open::Function { index, params }, dw::DW_TAG_formal_parameter) => {
                let (index, position) = (*index, *params);
                *params += 1;
                let unexpected = match (&a.location, self.target.register(position)) {
                    (Some(location), Some(expected)) => {
                        attributes::in_unexpected_register(unit, location, expected)?
                    }
                    _ => false,
                };
                self.pending.param(index, offset, &a, unexpected);
                Ok(Open::Tagged(TagOn::Function(index, position as i32)))
            }
            (Open::Function { index, .. }, dw::DW_TAG_unspecified_parameters) => {
                self.pending.functions[*index].variadic = true;
                Ok(Open::Skip)
            }
            (Open::Function { index, .. }, LLVM_ANNOTATION) => {
                let index = *index;
                self.annotation(TagOn::Function(index, -1), &a);
                Ok(Open::Skip)
            }
            (Open::Function { .. } | Open::Block | Open::Inlined, dw::DW_TAG_lexical_block) => {
                Ok(Open::Block)
            }
            (
                Open::Function { .. } | Open::Block | Open::Inlined,
                dw::DW_TAG_inlined_subroutine,
            ) => Ok(Open::Inlined),
            (Open::Pointer { .. }, LLVM_ANNOTATION) => {
                self.type_tag(&a);
                Ok(Open::Skip)
            }
            (Open::Typedef { .. }, LLVM_ANNOTATION) => {
                self.annotation(TagOn::Composite(-1), &a);
                Ok(Open::Skip)
            }
            (Open::Tagged(on), LLVM_ANNOTATION) => {
                let on = *on;
                self.annotation(on, &a);
                Ok(Open::Skip)
            }
            (
                Open::Skip
                | Open::Enum { .. }
                | Open::Array { .. }
                | Open::Pointer { .. }
                | Open::Typedef { .. }
                | Open::Tagged(_),
                _,
            ) => Ok(Open::Skip),
            (parent, _) => {
                let top_level = matches!(parent, Open::Scope { top_level: true });
                self.declaration(unit, offset, tag, a, top_level)
            }
        }
    }

    /// A DIE that declares something wherever it stands.
    fn declaration(
        &mut self,
        unit: &Unit<'d>,
        offset: u32,
        tag: DwTag,
        a: Attributes<'d>,
        top_level: bool,
    ) -> std::result::Result<Open<'d>, Stop> {
        let mut place = || Place { offset, slot: self.offsets.add(offset) };
        Ok(match tag {
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
                let kind = if tag == dw::DW_TAG_union_type { Kind::Union } else { Kind::Struct };
                let (at, members) = (place(), self.members.len());
                Open::Composite { at, a, kind, members, count: 0, tags: self.composite_tags.len() }
            }
            dw::DW_TAG_enumeration_type => Open::Enum { at: place(), a, values: self.values.len() },
            dw::DW_TAG_array_type => {
                Open::Array { at: place(), ty: a.ty, dimensions: 0, nelems: 1 }
            }
            dw::DW_TAG_subroutine_type => {
                Open::Proto { at: place(), ty: a.ty, params: self.params.len(), variadic: false }
            }
            dw::DW_TAG_pointer_type => {
                Open::Pointer { at: place(), ty: a.ty, tags: self.type_tags.len() }
            }
            dw::DW_TAG_typedef => Open::Typedef { at: place(), a, tags: self.composite_tags.len() },
            dw::DW_TAG_base_type => {
                let at = place();
                self.base_type(at, &a)?;
                Open::Skip
            }
            dw::DW_TAG_const_type => self.qualifier(offset, Kind::Const, a.ty),
            dw::DW_TAG_volatile_type => self.qualifier(offset, Kind::Volatile, a.ty),
            dw::DW_TAG_restrict_type => self.qualifier(offset, Kind::Restrict, a.ty),
            // No BTF for it: whoever refers to it refers to void.
            dw::DW_TAG_unspecified_type => {
                place();
                Open::Skip
            }
            dw::DW_TAG_subprogram => {
                let index = self.pending.function(offset, &a);
                Open::Function { index, params: 0 }
            }
            dw::DW_TAG_variable => {
                let address = match &a.location {
                    Some(location) if top_level && !a.declaration && !a.artificial => {
                        attributes::address(unit, location)?
                    }
                    _ => None,
                };
                Open::Tagged(match self.pending.variable(offset, &a, address) {
                    Some(index) => TagOn::Variable(index),
                    None => TagOn::Nobody,
                })
            }
            dw::DW_TAG_namespace => Open::Scope { top_level: false },
            dw::DW_TAG_atomic_type
            | dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type
            | dw::DW_TAG_ptr_to_member_type
            | dw::DW_TAG_string_type
            | dw::DW_TAG_interface_type => {
                return self.error(offset, format!("BTF has no kind for a {tag}"));
            }
            dw::DW_TAG_imported_unit => {
                return self.error(offset, "units that import others (dwz) are not supported");
            }
            _ => Open::Skip,
        })
    }

    /// A DIE is complete: it becomes a type, if it is one.
    fn close(&mut self, unit: &Unit<'d>, open: Open<'d>) -> std::result::Result<(), Stop> {
        match open {
            Open::Composite { at, a, kind, members, tags, .. } => {
                self.composite(unit, at, &a, kind, members)?;
                self.take_tags(tags);
            }
            Open::Enum { at, a, values } => self.enumeration(at, &a, values)?,
            Open::Array { at, ty, nelems, .. } => {
                self.cu.has_arrays = true;
                self.emit(at, 0, info(Kind::Array, 0, false), 0, &[ty, FILE_INT, nelems]);
            }
            Open::Proto { at, ty, params, variadic } => {
                let count = (self.params.len() - params) as u32 + u32::from(variadic);
                self.begin(at, b"", info(Kind::FuncProto, count, false), ty);
                for (name, ty) in self.params.drain(params..) {
                    let name = self.cu.names.intern(name);
                    self.cu.types.word(name);
                    self.cu.types.word(ty);
                }
                if variadic {
                    self.cu.types.word(0);
                    self.cu.types.word(0);
                }
            }
            Open::Pointer { at, ty, tags } => {
                // The tag nearest to the star, the last one, comes first in the chain.
                let mut next = ty;
                for tag in self.type_tags.drain(tags..) {
                    self.cu.types.get_mut(tag as usize - 1)[2] = next;
                    next = tag | IS_ID;
                }
                self.emit(at, 0, info(Kind::Ptr, 0, false), next, &[]);
            }
            Open::Typedef { at, a, tags } => {
                let name = self.type_name(&a);
                self.named(at, name, "typedef")?;
                self.begin(at, name, info(Kind::Typedef, 0, false), a.ty);
                self.take_tags(tags);
            }
            Open::Function { index, .. } => self.pending.completed.push(index),
            Open::Scope { .. } | Open::Block | Open::Inlined | Open::Tagged(_) | Open::Skip => {}
        }
        Ok(())
    }

    /// Starts the next type; its words follow.
    fn begin(&mut self, at: Place, name: &'d [u8], info: u32, size_or_type: u32) {
        let name = self.cu.names.intern(name);
        self.emit(at, name, info, size_or_type, &[]);
    }

    fn emit(&mut self, at: Place, name: u32, info: u32, size_or_type: u32, rest: &[u32]) {
        self.cu.types.push(&[name, info, size_or_type]);
        for &word in rest {
            self.cu.types.word(word);
        }
        self.offsets.set(at.slot, self.cu.types.len() as u32);
    }

    fn qualifier(&mut self, offset: u32, kind: Kind, ty: u32) -> Open<'d> {
        let at = Place { offset, slot: self.offsets.add(offset) };
        self.emit(at, 0, info(kind, 0, false), ty, &[]);
        Open::Skip
    }

    /// The name of a type; a nameless definition has that of the declaration it completes.
    fn type_name(&self, a: &Attributes<'d>) -> &'d [u8] {
        match a.name {
            Some(name) => name,
            None if a.specification != 0 => self
                .pending
                .declared
                .binary_search_by_key(&a.specification, |&(offset, _)| offset)
                .map_or(b"", |i| self.pending.declared[i].1),
            None => b"",
        }
    }

    /// BTF demands a name where C does.
    fn named(&self, at: Place, name: &[u8], what: &str) -> std::result::Result<(), Stop> {
        if name.is_empty() {
            return self.error(at.offset, format!("a {what} without a name, which BTF demands"));
        }
        Ok(())
    }

    fn base_type(&mut self, at: Place, a: &Attributes<'d>) -> std::result::Result<(), Stop> {
        const SIGNED: u32 = 1 << 24;
        const BOOL: u32 = 4 << 24;
        let encoding = gimli::DwAte(a.encoding as u8);
        let bytes = a.byte_size.unwrap_or(0);
        let mut name = a.text();
        let mut word = 0;
        match encoding {
            dw::DW_ATE_signed | dw::DW_ATE_signed_char => word = SIGNED,
            dw::DW_ATE_boolean => word = BOOL,
            dw::DW_ATE_float if self.features.float => {
                self.named(at, name, "float")?;
                if !matches!(bytes, 2 | 4 | 8 | 12 | 16) {
                    return self.error(at.offset, format!("a float of {bytes} bytes"));
                }
                self.begin(at, name, info(Kind::Float, 0, false), bytes as u32);
                return Ok(());
            }
            dw::DW_ATE_complex_float | dw::DW_ATE_imaginary_float if self.features.float => {
                return self.error(at.offset, "BTF has no kind for complex numbers");
            }
            _ => {}
        }
        let size = if matches!(bytes, 1 | 2 | 4 | 8 | 16) {
            bytes as u32
        } else {
            // DWARF expressions convert to types like `DW_ATE_unsigned_24`.
            name = b"__SANITIZED_FAKE_INT__";
            4
        };
        self.named(at, name, "base type")?;
        self.begin(at, name, info(Kind::Int, 0, false), size);
        self.cu.types.word(word | (size * 8));
        // The unsanitized name decides which type indexes arrays.
        if self.cu.int == 0 && a.text() == b"int" {
            self.cu.int = self.cu.types.len() as u32;
        }
        Ok(())
    }

    fn member(
        &mut self,
        offset: u32,
        a: &Attributes<'d>,
        union: bool,
    ) -> std::result::Result<(), Stop> {
        let bits =
            a.data_bit_offset.unwrap_or_else(|| a.member_location.unwrap_or(0).wrapping_mul(8));
        let old_style = (a.bit_size != 0 && a.data_bit_offset.is_none())
            .then(|| (a.byte_size.unwrap_or(0), a.bit_offset));
        if a.bit_size > 255 {
            return self.error(offset, format!("a bitfield of {} bits", a.bit_size));
        }
        if union && bits as u32 != 0 && old_style.is_none() {
            return self.error(offset, "a union member that is not at offset 0");
        }
        self.members.push(Member {
            name: a.text(),
            ty: a.ty,
            bits,
            bit_size: a.bit_size,
            old_style,
        });
        Ok(())
    }

    fn composite(
        &mut self,
        unit: &Unit<'d>,
        at: Place,
        a: &Attributes<'d>,
        kind: Kind,
        first: usize,
    ) -> std::result::Result<(), Stop> {
        let name = self.type_name(a);
        if a.declaration {
            self.pending.declared.push((at.offset, name));
            self.members.truncate(first);
            self.named(at, name, "forward declaration")?;
            self.begin(at, name, info(Kind::Fwd, 0, kind == Kind::Union), 0);
            return Ok(());
        }
        let members = &mut self.members[first..];
        if unit.language == Some(DwLang(dw::DW_LANG_Rust.0)) {
            members.sort_by_key(|m| m.bits / 8); // rustc reorders; BTF offsets ascend
        }
        let count = members.len();
        if count > MAX_VLEN as usize {
            return self.error(at.offset, format!("{count} members"));
        }
        let bitfields = members.iter().any(|m| m.bit_size != 0 || !m.bits.is_multiple_of(8));
        let size = a.byte_size.unwrap_or(0) as u32;
        self.begin(at, name, info(kind, count as u32, bitfields), size);
        let id = self.cu.types.len() as u32;
        for index in 0..count {
            let m = self.members[first + index];
            if bitfields && (m.bit_size != 0 || !m.bits.is_multiple_of(8)) {
                if m.bit_size == 0 || m.bits > 0xff_ffff {
                    let what = format!(
                        "member {} at bit {} with {} bits does not fit BTF",
                        String::from_utf8_lossy(m.name),
                        m.bits,
                        m.bit_size
                    );
                    return self.error(at.offset, what);
                }
                if let Some((storage, bit_offset)) = m.old_style {
                    self.pending.bitfields.push(resolve::Bitfield {
                        id,
                        index,
                        storage,
                        bit_offset,
                        bits: m.bits,
                        bit_size: m.bit_size,
                    });
                }
            }
            let name = self.cu.names.intern(m.name);
            self.cu.types.word(name);
            self.cu.types.word(m.ty);
            self.cu.types.word(m.bits as u32 | (m.bit_size as u32) << 24);
        }
        self.members.truncate(first);
        Ok(())
    }

    fn enumeration(
        &mut self,
        at: Place,
        a: &Attributes<'d>,
        first: usize,
    ) -> std::result::Result<(), Stop> {
        let size = match a.byte_size {
            None | Some(0) => 4,
            Some(size) => size as u32,
        };
        if !matches!(size, 1 | 2 | 4 | 8) {
            return self.error(at.offset, format!("an enum of {size} bytes"));
        }
        let name = self.type_name(a);
        let wide = size > 4 && self.features.enum64;
        let values = &self.values[first..];
        let count = values.len() as u32;
        let narrow = size > 4 && !wide; // cut to u32, so never negative
        let signed = !narrow && values.iter().any(|&(_, v)| (v as i64) < 0);
        if !wide && !narrow {
            let bad = |v: i64| v < i64::from(i32::MIN) || v > i64::from(u32::MAX);
            if let Some(&(_, v)) = values.iter().find(|&&(_, v)| bad(v as i64)) {
                let what = format!("enumerator value {} in an enum of {size} bytes", v as i64);
                return self.error(at.offset, what);
            }
        }
        let kind = if wide { Kind::Enum64 } else { Kind::Enum };
        self.begin(at, name, info(kind, count, signed && !wide), size);
        if wide && a.ty != 0 {
            // Its sign is that of the type it names, not that of its values.
            self.pending.wide_enums.push((self.cu.types.len() as u32, a.ty));
        }
        for index in first..self.values.len() {
            let (name, value) = self.values[index];
            let name = self.cu.names.intern(name);
            self.cu.types.word(name);
            self.cu.types.word(value as u32);
            if wide {
                self.cu.types.word((value >> 32) as u32);
            }
        }
        self.values.truncate(first);
        Ok(())
    }

    /// A `btf_type_tag` below a pointer: a type of its own, before the pointer's.
    fn type_tag(&mut self, a: &Attributes<'d>) {
        if !self.features.type_tag || a.text() != b"btf_type_tag" {
            return;
        }
        let name = self.cu.names.intern(a.const_text.unwrap_or_default());
        self.cu.types.push(&[name, info(Kind::TypeTag, 0, false), 0]);
        self.type_tags.push(self.cu.types.len() as u32);
    }

    /// A `btf_decl_tag`.
    fn annotation(&mut self, on: TagOn, a: &Attributes<'d>) {
        if !self.features.decl_tag || a.text() != b"btf_decl_tag" {
            return;
        }
        let text = a.const_text.unwrap_or_default();
        match on {
            TagOn::Composite(component) => self.composite_tags.push((text, component)),
            TagOn::Function(index, component) => {
                self.pending.functions[index].tags.push((text, component));
            }
            TagOn::Variable(index) => self.pending.variables[index].tags.push(text),
            TagOn::Nobody => {}
        }
    }

    /// The type emitted last has the tags collected since there were `first` of them.
    fn take_tags(&mut self, first: usize) {
        let id = self.cu.types.len() as u32;
        for (text, component) in self.composite_tags.drain(first..) {
            self.pending.type_tags.push((id, text, component));
        }
    }
}
