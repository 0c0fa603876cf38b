//! One pass over the DIEs of a group.
//!
//! A DIE becomes a type when it is complete, so children come before their parent and ids follow
//! the order in which pahole numbers them. References are kept as DIE offsets and resolved when
//! the pass is over. The nesting of DIEs is a stack on the heap: input cannot deepen any recursion.

use super::Known;
use super::abbreviations::Plan;
use super::annotations;
use super::attributes::{self, Attributes};
use super::cu::{Cu, Text};
use super::emit::{Emitter, Head, IS_ID, Member, Place};
use super::offsets::OffsetMap;
use super::resolve::{self, Pending};
use super::unit::{Group, Unit};
use super::{DwarfError, Result};
use crate::btf::kind::Kind;
use crate::features::Features;
use crate::target::Target;
use gimli::constants as dw;
use gimli::{DwTag, Error};

/// `DW_TAG_LLVM_annotation`: clang's carrier of BTF tags.
const LLVM_ANNOTATION: DwTag = DwTag(0x6000);
/// The dimensions of an array that count.
const MAX_DIMENSIONS: usize = 64;

/// A DIE whose children are being read. Indexes say where its children begin in the walk's lists.
enum Open {
    Scope { top_level: bool },
    Composite { head: Head, members: usize, count: i32, tags: usize, annotation: u32 },
    Enum { head: Head, values: usize },
    Array { at: Place, ty: u32, dimensions: usize, nelems: u32 },
    Proto { at: Place, ty: u32, params: usize, variadic: bool },
    Function { index: usize, params: u32, annotation: u32 },
    Block,
    Inlined,
    Pointer { at: Place, ty: u32, tags: usize, annotation: u32 },
    Typedef { at: Place, name: Text, ty: u32, tags: usize },
    Tagged(TagOn),
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
    functions: Known<'_>,
    target: Target,
    features: &Features,
) -> Result<Cu<'d>> {
    read_units(group, functions, target, features).map_err(|mut e| {
        if let DwarfError::Die { die, cu, .. } = &mut e
            && let Some(unit) = group.unit_of(*die)
            && !unit.name.is_empty()
        {
            *cu = format!(" (CU {})", String::from_utf8_lossy(unit.name));
        }
        e
    })
}

fn read_units<'d>(
    group: &Group<'d>,
    functions: Known<'_>,
    target: Target,
    features: &Features,
) -> Result<Cu<'d>> {
    if group.len >= IS_ID as usize {
        let what =
            format!("{} bytes of units that refer to each other, expected below 2 GiB", group.len);
        return Err(DwarfError::die(group.start, what));
    }
    let texts = group.units.first().map(Unit::texts).unwrap_or_default();
    let mut walk = Walk {
        group,
        target,
        sorts_members: false,
        out: Emitter {
            features,
            start: group.start,
            offsets: OffsetMap::new(group.len),
            texts,
            cu: Cu { texts, ..Cu::default() },
            pending: Pending::default(),
        },
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
    let Emitter { cu, offsets, pending, .. } = walk.out;
    resolve::finish(cu, offsets, pending, functions, target)
}

/// Either layer may end the walk; which unit it was is known one level up.
pub(super) enum Stop {
    Gimli(Error),
    Dwarf(DwarfError),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        Stop::Gimli(e)
    }
}

impl From<DwarfError> for Stop {
    fn from(e: DwarfError) -> Stop {
        Stop::Dwarf(e)
    }
}

type Walked<T> = std::result::Result<T, Stop>;

struct Walk<'a, 'd> {
    group: &'a Group<'d>,
    target: Target,
    /// Rust lays members out in another order than they are written in; BTF wants them ascending.
    sorts_members: bool,
    out: Emitter<'a, 'd>,
    stack: Vec<Open>,
    // Children of the DIEs on the stack, those of the innermost last.
    members: Vec<Member>,
    values: Vec<(Text, u64)>,
    params: Vec<(Text, u32)>,
    type_tags: Vec<u32>,
    /// Texts of tags on composites and typedefs, with their components.
    composite_tags: Vec<(Text, i32)>,
}

impl<'d> Walk<'_, 'd> {
    fn unit(&mut self, unit: &Unit<'d>) -> Walked<()> {
        let start = self.out.start;
        self.sorts_members = unit.language == Some(dw::DW_LANG_Rust);
        let mut cursor = unit.entries();
        let mut a = Attributes::default();
        self.stack.clear();
        while !cursor.is_empty() {
            let offset = (cursor.position() - start) as u32;
            let code = cursor.uleb()?;
            if code == 0 {
                if let Some(open) = self.stack.pop() {
                    self.close(open)?;
                }
                continue;
            }
            let plan = unit.abbreviations.get(code)?;
            let open = if let Some(open) = self.open_unread(plan) {
                Attributes::skip(unit, plan, &mut cursor)?;
                open
            } else {
                a.read(unit, plan, &mut cursor, start)?;
                self.open(unit, offset, plan.tag, &a)?
            };
            if plan.has_children {
                self.stack.push(open);
            } else {
                self.close(open)?;
                if self.stack.is_empty() {
                    break; // a root DIE without children is the whole unit
                }
            }
        }
        // A unit that ends without its closing entries is complete all the same.
        while let Some(open) = self.stack.pop() {
            self.close(open)?;
        }
        Ok(())
    }

    /// What a DIE is whose attributes do not matter where it stands: more than half of all, most
    /// of them in bodies of functions.
    #[inline]
    fn open_unread(&self, plan: &Plan) -> Option<Open> {
        match self.stack.last() {
            None => Some(Open::Scope { top_level: true }),
            Some(Open::Skip) => Some(Open::Skip),
            Some(Open::Function { .. } | Open::Block | Open::Inlined) => match plan.tag {
                dw::DW_TAG_lexical_block => Some(Open::Block),
                dw::DW_TAG_inlined_subroutine => Some(Open::Inlined),
                dw::DW_TAG_variable if !plan.may_declare => Some(Open::Skip),
                dw::DW_TAG_formal_parameter
                    if !matches!(self.stack.last(), Some(Open::Function { .. })) =>
                {
                    Some(Open::Skip)
                }
                dw::DW_TAG_call_site
                | dw::DW_TAG_call_site_parameter
                | dw::DW_TAG_GNU_call_site
                | dw::DW_TAG_GNU_call_site_parameter
                | dw::DW_TAG_label => Some(Open::Skip),
                _ => None,
            },
            Some(_) => None,
        }
    }

    /// A DIE starts: what is it, seen from its parent?
    fn open(
        &mut self,
        unit: &Unit<'d>,
        offset: u32,
        tag: DwTag,
        a: &Attributes<'d>,
    ) -> Walked<Open> {
        let Some(parent) = self.stack.last_mut() else { return Ok(Open::Skip) };
        Ok(match (parent, tag) {
            (Open::Composite { count, head, .. }, dw::DW_TAG_member | dw::DW_TAG_inheritance) => {
                let component = *count;
                *count += 1;
                if tag == dw::DW_TAG_member {
                    let in_union = head.kind == Kind::Union;
                    self.members.push(self.out.member(offset, a, in_union)?);
                    self.annotations(TagOn::Composite(component), a.annotation())?;
                }
                Open::Tagged(TagOn::Composite(component))
            }
            (Open::Composite { .. } | Open::Typedef { .. }, LLVM_ANNOTATION) => {
                self.annotation(TagOn::Composite(-1), a)
            }
            (Open::Enum { .. }, dw::DW_TAG_enumerator) => {
                self.values.push((a.text(), a.const_value()));
                Open::Skip
            }
            (Open::Array { dimensions, nelems, .. }, dw::DW_TAG_subrange_type) => {
                if *dimensions < MAX_DIMENSIONS {
                    let count = match (a.upper_bound(), a.count()) {
                        (Some(Some(bound)), _) => bound.wrapping_add(1) as u32,
                        (None, Some(count)) => count as u32,
                        _ => 0,
                    };
                    *nelems = nelems.wrapping_mul(count);
                    *dimensions += 1;
                }
                Open::Skip
            }
            (Open::Proto { .. }, dw::DW_TAG_formal_parameter) => {
                self.params.push((a.text(), a.ty()));
                Open::Skip
            }
            (Open::Proto { variadic, .. }, dw::DW_TAG_unspecified_parameters) => {
                *variadic = true;
                Open::Skip
            }
            (Open::Function { index, params, .. }, dw::DW_TAG_formal_parameter) => {
                let (index, position) = (*index, *params);
                *params += 1;
                let unexpected = match (a.location(), self.target.register(position)) {
                    (Some(location), Some(expected)) => {
                        attributes::in_unexpected_register(unit, location, expected)?
                    }
                    _ => false,
                };
                if unit.reads_lists_again() {
                    let what = "a location list that others had, as had all before it";
                    return Ok(self.out.error(offset, what)?);
                }
                self.out.pending.param(index, offset, a, unexpected);
                let on = TagOn::Function(index, position as i32);
                self.annotations(on, a.annotation())?;
                Open::Tagged(on)
            }
            (Open::Function { index, .. }, dw::DW_TAG_unspecified_parameters) => {
                self.out.pending.functions[*index].variadic = true;
                Open::Skip
            }
            (Open::Function { index, .. }, LLVM_ANNOTATION) => {
                let on = TagOn::Function(*index, -1);
                self.annotation(on, a)
            }
            (Open::Pointer { .. }, LLVM_ANNOTATION) => {
                if self.out.features.type_tag && self.out.texts.get(a.text().0) == b"btf_type_tag" {
                    let tag = self.out.type_tag(a.const_text().unwrap_or_default());
                    self.type_tags.push(tag);
                }
                Open::Skip
            }
            (Open::Tagged(on), LLVM_ANNOTATION) => {
                let on = *on;
                self.annotation(on, a)
            }
            (Open::Scope { top_level }, _) => {
                let top_level = *top_level;
                self.declaration(unit, offset, tag, a, top_level)?
            }
            (
                Open::Composite { .. }
                | Open::Proto { .. }
                | Open::Function { .. }
                | Open::Block
                | Open::Inlined,
                _,
            ) => self.declaration(unit, offset, tag, a, false)?,
            _ => Open::Skip,
        })
    }

    /// A DIE that declares something wherever it stands.
    fn declaration(
        &mut self,
        unit: &Unit<'d>,
        offset: u32,
        tag: DwTag,
        a: &Attributes<'d>,
        top_level: bool,
    ) -> Walked<Open> {
        let qualifier = |kind, walk: &mut Self| {
            let at = walk.out.place(offset);
            walk.out.reference(at, kind, a.ty());
            Open::Skip
        };
        Ok(match tag {
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
                let kind = if tag == dw::DW_TAG_union_type { Kind::Union } else { Kind::Struct };
                Open::Composite {
                    head: self.head(offset, kind, a),
                    members: self.members.len(),
                    count: 0,
                    tags: self.composite_tags.len(),
                    annotation: a.annotation(),
                }
            }
            dw::DW_TAG_enumeration_type => {
                let head = self.head(offset, Kind::Enum, a);
                Open::Enum { head, values: self.values.len() }
            }
            dw::DW_TAG_array_type => {
                Open::Array { at: self.out.place(offset), ty: a.ty(), dimensions: 0, nelems: 1 }
            }
            dw::DW_TAG_subroutine_type => {
                let (at, params) = (self.out.place(offset), self.params.len());
                Open::Proto { at, ty: a.ty(), params, variadic: false }
            }
            dw::DW_TAG_pointer_type => {
                let (at, tags) = (self.out.place(offset), self.type_tags.len());
                Open::Pointer { at, ty: a.ty(), tags, annotation: a.annotation() }
            }
            dw::DW_TAG_typedef => Open::Typedef {
                at: self.out.place(offset),
                name: self.type_name(a),
                ty: a.ty(),
                tags: self.composite_tags.len(),
            },
            dw::DW_TAG_base_type => {
                let at = self.out.place(offset);
                self.out.base_type(at, a)?;
                Open::Skip
            }
            dw::DW_TAG_const_type => qualifier(Kind::Const, self),
            dw::DW_TAG_volatile_type => qualifier(Kind::Volatile, self),
            dw::DW_TAG_restrict_type => qualifier(Kind::Restrict, self),
            // No BTF for it: who refers to it refers to void, and no reference is lost.
            dw::DW_TAG_unspecified_type => {
                self.out.place(offset);
                Open::Skip
            }
            dw::DW_TAG_subprogram => {
                let index = self.out.pending.function(offset, a);
                Open::Function { index, params: 0, annotation: a.annotation() }
            }
            dw::DW_TAG_variable => {
                let address = match a.location() {
                    Some(location) if top_level && !a.declaration() && !a.artificial() => {
                        attributes::address(unit, location)?
                    }
                    _ => None,
                };
                let index = self.out.pending.variable(offset, a, address);
                Open::Tagged(index.map_or(TagOn::Nobody, TagOn::Variable))
            }
            dw::DW_TAG_namespace => Open::Scope { top_level: false },
            // No BTF for it: who refers to it refers to what it qualifies.
            dw::DW_TAG_atomic_type => {
                let at = self.out.place(offset);
                self.out.atomic(at, a.ty());
                Open::Skip
            }
            dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type
            | dw::DW_TAG_ptr_to_member_type
            | dw::DW_TAG_string_type
            | dw::DW_TAG_interface_type => {
                return Ok(self.out.error(offset, format!("BTF has no kind for a {tag}"))?);
            }
            dw::DW_TAG_imported_unit => {
                let what = "units that import others (dwz) are not supported";
                return Ok(self.out.error(offset, what)?);
            }
            _ => Open::Skip,
        })
    }

    fn head(&mut self, offset: u32, kind: Kind, a: &Attributes<'d>) -> Head {
        Head {
            at: self.out.place(offset),
            kind,
            name: self.type_name(a),
            size: a.byte_size().unwrap_or(0) as u32,
            ty: a.ty(),
            declaration: a.declaration(),
        }
    }

    /// The name of a type; a nameless definition has that of the declaration it completes.
    fn type_name(&self, a: &Attributes<'d>) -> Text {
        let declared = &self.out.pending.declared;
        a.name().unwrap_or_else(|| {
            a.specification()
                .and_then(|s| declared.binary_search_by_key(&s, |d| d.0).ok())
                .map_or(Text::default(), |i| declared[i].1)
        })
    }

    /// A DIE is complete: it becomes a type, if it is one.
    fn close(&mut self, open: Open) -> Walked<()> {
        match open {
            Open::Composite { head, members, tags, annotation, .. } => {
                self.annotations(TagOn::Composite(-1), annotation)?;
                if self.sorts_members {
                    self.members[members..].sort_by_key(|m| m.bits / 8);
                }
                self.out.composite(&head, &self.members[members..])?;
                self.members.truncate(members);
                self.take_tags(tags);
            }
            Open::Enum { head, values } => {
                self.out.enumeration(&head, &self.values[values..])?;
                self.values.truncate(values);
            }
            Open::Array { at, ty, nelems, .. } => self.out.array(at, ty, nelems),
            Open::Proto { at, ty, params, variadic } => {
                self.out.proto(at, ty, &self.params[params..], variadic);
                self.params.truncate(params);
            }
            Open::Pointer { at, ty, tags, annotation } => {
                if self.type_tags.len() == tags && self.out.features.type_tag {
                    self.type_annotations(annotation)?;
                }
                self.out.pointer(at, ty, &self.type_tags[tags..]);
                self.type_tags.truncate(tags);
            }
            Open::Typedef { at, name, ty, tags } => {
                self.out.typedef(at, name, ty)?;
                self.take_tags(tags);
            }
            Open::Function { index, annotation, .. } => {
                self.annotations(TagOn::Function(index, -1), annotation)?;
                self.out.pending.completed.push(index);
            }
            Open::Scope { .. } | Open::Block | Open::Inlined | Open::Tagged(_) | Open::Skip => {}
        }
        Ok(())
    }

    /// A `btf_decl_tag`.
    fn annotation(&mut self, on: TagOn, a: &Attributes<'d>) -> Open {
        if self.out.features.decl_tag && self.out.texts.get(a.text().0) == b"btf_decl_tag" {
            let text = a.const_text().unwrap_or_default();
            let pending = &mut self.out.pending;
            match on {
                TagOn::Composite(component) => self.composite_tags.push((text, component)),
                TagOn::Function(index, component) => {
                    pending.functions[index].tags.push((text, component));
                }
                TagOn::Variable(index) => pending.variables[index].tags.push(text),
                TagOn::Nobody => {}
            }
        }
        Open::Skip
    }

    /// The `btf_decl_tag`s of a chain, in its order.
    #[inline]
    fn annotations(&mut self, on: TagOn, first: u32) -> Walked<()> {
        if first != 0 {
            for a in annotations::chain(self.group, first)? {
                self.annotation(on, &a);
            }
        }
        Ok(())
    }

    /// The `btf_type_tag`s of a pointer's chain, which begins with the one nearest to the star.
    fn type_annotations(&mut self, first: u32) -> Walked<()> {
        if first == 0 {
            return Ok(());
        }
        let begin = self.type_tags.len();
        for a in annotations::chain(self.group, first)? {
            if self.out.texts.get(a.text().0) != b"btf_type_tag" {
                break;
            }
            let tag = self.out.type_tag(a.const_text().unwrap_or_default());
            self.type_tags.push(tag);
        }
        self.type_tags[begin..].reverse();
        Ok(())
    }

    /// The type emitted last has the tags collected since there were `first` of them.
    fn take_tags(&mut self, first: usize) {
        let id = self.out.last_id();
        for (text, component) in self.composite_tags.drain(first..) {
            self.out.pending.type_tags.push((id, text, component));
        }
    }
}
