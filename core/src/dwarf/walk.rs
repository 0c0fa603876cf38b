//! One pass over the DIEs of a group.
//!
//! A DIE becomes a type when it is complete, so children come before their parent and ids follow
//! the order in which pahole numbers them. References are kept as DIE offsets and resolved when
//! the pass is over. The nesting of DIEs is a stack on the heap: input cannot deepen any recursion.

use super::DwarfError;
use super::abbreviations::{Plan, Spots, What};
use super::annotations;
use super::attributes::{self, Attributes};
use super::bytes::Cursor;
use super::cu::{Cu, Listed, Text};
use super::emit::{Emitter, Head, Member, Place, Sink};
use super::offsets::OffsetMap;
use super::resolve::Pending;
use super::unit::{Group, Unit};
use crate::btf::kind::Kind;
use crate::features::Features;
use crate::target::Target;
use gimli::constants as dw;
use gimli::{DwAte, Error};

/// The dimensions of an array that count.
pub(super) const MAX_DIMENSIONS: usize = 64;

/// A DIE whose children are being read. Indexes say where its children begin in the walk's lists.
pub(super) enum Open {
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

impl Open {
    /// Whether nothing is to be done when it is complete.
    #[inline]
    pub(super) fn is_trivial(&self) -> bool {
        use Open::*;
        matches!(self, Scope { .. } | Block | Inlined | Tagged(_) | Skip)
    }
}

/// Whom an annotation belongs to.
#[derive(Clone, Copy)]
pub(super) enum TagOn {
    Composite(i32),
    Function(usize, i32),
    Variable(usize),
    Nobody,
}

/// Either layer may end the walk; which unit it was is known one level up. In a box, since every
/// step of the walk may return one and few do.
pub(super) struct Stop(Box<Why>);

enum Why {
    Gimli(Error),
    Dwarf(DwarfError),
}

impl Stop {
    pub(super) fn of(self, unit: &Unit<'_>) -> DwarfError {
        match *self.0 {
            Why::Gimli(source) => DwarfError::Malformed { unit: unit.offset, source },
            Why::Dwarf(e) => e,
        }
    }
}

impl From<Error> for Stop {
    #[cold]
    fn from(e: Error) -> Stop {
        Stop(Box::new(Why::Gimli(e)))
    }
}

impl From<DwarfError> for Stop {
    #[cold]
    fn from(e: DwarfError) -> Stop {
        Stop(Box::new(Why::Dwarf(e)))
    }
}

pub(super) type Walked<T> = std::result::Result<T, Stop>;

/// The pass over a group, under way.
pub(super) struct Walk<'a, 'd> {
    pub(super) group: &'a Group<'d>,
    target: Target,
    /// Rust lays members out in another order than they are written in; BTF wants them ascending.
    pub(super) sorts_members: bool,
    pub(super) out: Emitter<'a, 'd>,
    pub(super) stack: Vec<Open>,
    // Children of the DIEs on the stack, those of the innermost last.
    pub(super) members: Vec<Member>,
    pub(super) values: Vec<(Text, u64)>,
    pub(super) params: Vec<(Text, u32)>,
    type_tags: Vec<u32>,
    /// Texts of tags on composites and typedefs, with their components.
    composite_tags: Vec<(Text, i32)>,
}

impl<'a, 'd> Walk<'a, 'd> {
    /// Over a group; types go into `sink`, and where their DIEs stand into `offsets`.
    pub(super) fn new(
        group: &'a Group<'d>,
        target: Target,
        features: &'a Features,
        sink: Sink<'a>,
        offsets: OffsetMap,
    ) -> Walk<'a, 'd> {
        let texts = group.units.first().map(Unit::texts).unwrap_or_default();
        Walk {
            group,
            target,
            sorts_members: false,
            out: Emitter {
                features,
                start: group.start,
                offsets,
                texts,
                sink,
                cu: Cu { texts, ..Cu::default() },
                pending: Pending::default(),
                words: Vec::new(),
            },
            stack: Vec::new(),
            members: Vec::new(),
            values: Vec::new(),
            params: Vec::new(),
            type_tags: Vec::new(),
            composite_tags: Vec::new(),
        }
    }

    /// Entries of this unit follow.
    pub(super) fn begin(&mut self, unit: &Unit<'d>) {
        self.sorts_members = unit.language == Some(dw::DW_LANG_Rust);
        self.stack.clear();
    }

    /// Reads entries until `depth` are open that had been open before; tells where that was.
    pub(super) fn entries(
        &mut self,
        unit: &Unit<'d>,
        mut cursor: Cursor<'d>,
        depth: usize,
    ) -> Walked<usize> {
        let start = self.out.start;
        let is_quick = !unit.big_endian() && !self.out.texts.has_long();
        // References within the unit count from its start.
        let within = (unit.offset - start) as u64;
        let mut scratch = Spots::default();
        while !cursor.is_empty() {
            let before = cursor.position();
            if is_quick {
                self.quick(&unit.abbreviations.quicks, within, &mut cursor, depth);
                if self.stack.len() == depth && cursor.position() != before {
                    break;
                }
            }
            let offset = (cursor.position() - start) as u32;
            let code = cursor.uleb()?;
            if code == 0 {
                if let Some(open) = self.stack.pop()
                    && !open.is_trivial()
                {
                    self.close(open)?;
                }
                if self.stack.len() == depth && depth != 0 {
                    break;
                }
                continue;
            }
            let plan = unit.abbreviations.get(code)?;
            let open = if let Some(open) = self.open_unread(plan) {
                Attributes::skip(unit, plan, &mut cursor)?;
                open
            } else {
                let a = Attributes::of(unit, plan, &mut cursor, &mut scratch, start)?;
                self.open(unit, offset, plan.what, &a)?
            };
            if plan.has_children {
                self.stack.push(open);
            } else {
                if !open.is_trivial() {
                    self.close(open)?;
                }
                if self.stack.len() == depth {
                    break; // a root DIE without children is the whole unit
                }
            }
        }
        // A unit that ends without its closing entries is complete all the same.
        while self.stack.len() > depth
            && let Some(open) = self.stack.pop()
        {
            self.close(open)?;
        }
        Ok(cursor.position())
    }

    /// What a DIE is whose attributes do not matter where it stands. Most of them are in bodies of
    /// functions, and passed over in less ([`super::body`]).
    #[inline]
    fn open_unread(&self, plan: &Plan) -> Option<Open> {
        match self.stack.last() {
            None => Some(Open::Scope { top_level: true }),
            Some(Open::Skip) => Some(Open::Skip),
            Some(parent @ (Open::Function { .. } | Open::Block | Open::Inlined)) => {
                match plan.what {
                    What::Block => Some(Open::Block),
                    What::Inlined => Some(Open::Inlined),
                    What::Variable if !plan.may_declare => Some(Open::Skip),
                    What::Parameter if !matches!(parent, Open::Function { .. }) => Some(Open::Skip),
                    What::Call => Some(Open::Skip),
                    _ => None,
                }
            }
            Some(_) => None,
        }
    }

    /// A DIE starts: what is it, seen from its parent?
    // Not within the loop over all DIEs, most of which go another way.
    #[inline(never)]
    fn open(
        &mut self,
        unit: &Unit<'d>,
        offset: u32,
        what: What,
        a: &Attributes<'_, 'd>,
    ) -> Walked<Open> {
        let Some(parent) = self.stack.last_mut() else { return Ok(Open::Skip) };
        Ok(match (parent, what) {
            (Open::Composite { count, head, .. }, What::Member) => {
                let component = *count;
                *count += 1;
                let in_union = head.kind == Kind::Union;
                self.members.push(self.out.member(offset, a, in_union)?);
                self.annotations(TagOn::Composite(component), a.annotation())?;
                Open::Tagged(TagOn::Composite(component))
            }
            (Open::Composite { count, .. }, What::Inheritance) => {
                let component = *count;
                *count += 1;
                Open::Tagged(TagOn::Composite(component))
            }
            (Open::Composite { .. } | Open::Typedef { .. }, What::Annotation) => {
                self.annotation_of(TagOn::Composite(-1), a)?
            }
            (Open::Enum { .. }, What::Enumerator) => {
                self.values.push((a.text()?, a.const_value()));
                Open::Skip
            }
            (Open::Array { dimensions, nelems, .. }, What::Subrange) => {
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
            (Open::Proto { .. }, What::Parameter) => {
                self.params.push((a.text()?, a.ty()));
                Open::Skip
            }
            (Open::Proto { variadic, .. }, What::UnspecifiedParameters) => {
                *variadic = true;
                Open::Skip
            }
            (Open::Function { index, params, .. }, What::Parameter) => {
                let (index, position) = (*index, *params);
                *params += 1;
                let unexpected = match (a.location(), self.target.register(position)) {
                    (Some(location), Some(expected)) => {
                        let found = attributes::in_unexpected_register(unit, location, expected)?;
                        if location.is_list() {
                            self.out.cu.lists.push(Listed {
                                die: offset,
                                expected,
                                unexpected: found,
                            });
                        }
                        found
                    }
                    _ => false,
                };
                if unit.reads_lists_again() {
                    let what = "a location list that others had, as had all before it";
                    return Ok(self.out.error(offset, what)?);
                }
                self.out.pending.param(index, offset, a, unexpected)?;
                let on = TagOn::Function(index, position as i32);
                self.annotations(on, a.annotation())?;
                Open::Tagged(on)
            }
            (Open::Function { index, .. }, What::UnspecifiedParameters) => {
                self.out.pending.functions[*index].variadic = true;
                Open::Skip
            }
            (Open::Function { index, .. }, What::Annotation) => {
                let on = TagOn::Function(*index, -1);
                self.annotation_of(on, a)?
            }
            (Open::Pointer { .. }, What::Annotation) => {
                let name = a.text()?;
                if self.out.features.type_tag && self.out.texts.get(name.0) == b"btf_type_tag" {
                    let tag = self.out.type_tag(a.const_text()?.unwrap_or_default());
                    self.type_tags.push(tag);
                }
                Open::Skip
            }
            (Open::Tagged(on), What::Annotation) => {
                let on = *on;
                self.annotation_of(on, a)?
            }
            (Open::Scope { top_level }, _) => {
                let top_level = *top_level;
                self.declaration(unit, offset, what, a, top_level)?
            }
            (
                Open::Composite { .. }
                | Open::Proto { .. }
                | Open::Function { .. }
                | Open::Block
                | Open::Inlined,
                _,
            ) => self.declaration(unit, offset, what, a, false)?,
            _ => Open::Skip,
        })
    }

    /// A DIE that declares something wherever it stands.
    fn declaration(
        &mut self,
        unit: &Unit<'d>,
        offset: u32,
        what: What,
        a: &Attributes<'_, 'd>,
        top_level: bool,
    ) -> Walked<Open> {
        let qualifier = |kind, walk: &mut Self| {
            walk.out.bare(offset, kind, a.ty());
            Open::Skip
        };
        Ok(match what {
            What::Struct | What::Union => {
                let kind = if what == What::Union { Kind::Union } else { Kind::Struct };
                Open::Composite {
                    head: self.head(offset, kind, a)?,
                    members: self.members.len(),
                    count: 0,
                    tags: self.composite_tags.len(),
                    annotation: a.annotation(),
                }
            }
            What::Enum => {
                let head = self.head(offset, Kind::Enum, a)?;
                Open::Enum { head, values: self.values.len() }
            }
            What::Array => {
                Open::Array { at: self.out.place(offset), ty: a.ty(), dimensions: 0, nelems: 1 }
            }
            What::Subroutine => {
                let (at, params) = (self.out.place(offset), self.params.len());
                Open::Proto { at, ty: a.ty(), params, variadic: false }
            }
            What::Pointer => {
                let (at, tags) = (self.out.place(offset), self.type_tags.len());
                Open::Pointer { at, ty: a.ty(), tags, annotation: a.annotation() }
            }
            What::Typedef => Open::Typedef {
                at: self.out.place(offset),
                name: self.type_name(a)?,
                ty: a.ty(),
                tags: self.composite_tags.len(),
            },
            What::BaseType => {
                let at = self.out.place(offset);
                self.out.base_type(at, a)?;
                Open::Skip
            }
            What::Const => qualifier(Kind::Const, self),
            What::Volatile => qualifier(Kind::Volatile, self),
            What::Restrict => qualifier(Kind::Restrict, self),
            // No BTF for it: who refers to it refers to void, and no reference is lost.
            What::UnspecifiedType => {
                self.out.place(offset);
                Open::Skip
            }
            What::Function => {
                let index = self.out.pending.function(offset, a)?;
                Open::Function { index, params: 0, annotation: a.annotation() }
            }
            What::Variable => {
                let address = match a.location() {
                    Some(location) if top_level && !a.declaration() && !a.artificial() => {
                        attributes::address(unit, location)?
                    }
                    _ => None,
                };
                let index = self.out.pending.variable(offset, a, address)?;
                Open::Tagged(index.map_or(TagOn::Nobody, TagOn::Variable))
            }
            What::Namespace => Open::Scope { top_level: false },
            // No BTF for it: who refers to it refers to what it qualifies.
            What::Atomic => {
                let at = self.out.place(offset);
                self.out.atomic(at, a.ty());
                Open::Skip
            }
            What::Foreign => {
                let what = format!("BTF has no kind for a {}", a.tag());
                return Ok(self.out.error(offset, what)?);
            }
            What::ImportedUnit => {
                let what = "units that import others (dwz) are not supported";
                return Ok(self.out.error(offset, what)?);
            }
            _ => Open::Skip,
        })
    }

    fn head(&mut self, offset: u32, kind: Kind, a: &Attributes<'_, 'd>) -> Walked<Head> {
        Ok(Head {
            at: self.out.place(offset),
            kind,
            name: self.type_name(a)?,
            size: a.byte_size().unwrap_or(0) as u32,
            ty: a.ty(),
            declaration: a.declaration(),
        })
    }

    /// The name of a type; a nameless definition has that of the declaration it completes.
    fn type_name(&mut self, a: &Attributes<'_, 'd>) -> Walked<Text> {
        if let Some(name) = a.name()? {
            return Ok(name);
        }
        let Some(completed) = a.specification() else { return Ok(Text::default()) };
        self.out.odd();
        let declared = &self.out.pending.declared;
        let found = declared.binary_search_by_key(&completed, |d| d.0);
        Ok(found.map_or(Text::default(), |i| declared[i].1))
    }

    /// Whether the type at an offset in the group is a number with a sign.
    fn is_signed(&self, offset: u32) -> bool {
        let place = self.group.start + offset as usize;
        let Some(unit) = self.group.unit_of(place) else { return false };
        let mut cursor = unit.entries_from(place);
        let plan = cursor.uleb().and_then(|code| unit.abbreviations.get(code));
        let Ok(plan) = plan else { return false };
        let mut scratch = Spots::default();
        let a = Attributes::of(unit, plan, &mut cursor, &mut scratch, self.group.start);
        let signed = [dw::DW_ATE_signed, dw::DW_ATE_signed_char];
        plan.what == What::BaseType && a.is_ok_and(|a| signed.contains(&DwAte(a.encoding() as u8)))
    }

    /// A DIE is complete: it becomes a type, if it is one.
    fn close(&mut self, open: Open) -> Walked<()> {
        match open {
            Open::Composite { head, members, tags, annotation, .. } => {
                self.annotations(TagOn::Composite(-1), annotation)?;
                if self.sorts_members {
                    self.members[members..].sort_by_key(Member::byte);
                }
                self.out.composite(&head, &self.members[members..])?;
                self.members.truncate(members);
                self.take_tags(tags);
            }
            Open::Enum { head, values } => self.enumeration(&head, values)?,
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
            trivial => debug_assert!(trivial.is_trivial()),
        }
        Ok(())
    }

    /// An enum is complete, whose values are those from the one at `first` on.
    pub(super) fn enumeration(&mut self, head: &Head, first: usize) -> Result<(), DwarfError> {
        let signed = head.size > 4 && head.ty != 0 && self.is_signed(head.ty);
        self.out.enumeration(head, &self.values[first..], signed)?;
        self.values.truncate(first);
        Ok(())
    }

    /// What clang's annotation says.
    fn annotation_of(&mut self, on: TagOn, a: &Attributes<'_, 'd>) -> Walked<Open> {
        let (name, text) = (a.text()?, a.const_text()?.unwrap_or_default());
        self.annotation(on, name, text);
        Ok(Open::Skip)
    }

    /// A `btf_decl_tag`.
    fn annotation(&mut self, on: TagOn, name: Text, text: Text) {
        if self.out.features.decl_tag && self.out.texts.get(name.0) == b"btf_decl_tag" {
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
    }

    /// The `btf_decl_tag`s of a chain, in its order.
    #[inline]
    fn annotations(&mut self, on: TagOn, first: u32) -> Walked<()> {
        if first != 0 {
            for a in annotations::chain(self.group, first)? {
                self.annotation(on, a.name, a.text);
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
            if self.out.texts.get(a.name.0) != b"btf_type_tag" {
                break;
            }
            let tag = self.out.type_tag(a.text);
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
