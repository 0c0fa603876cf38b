//! Definitions and forward declarations, each where the next definition needs it.

use super::layout::{Fit, Gap, Item, Layouts, Plan};
use super::names::{Names, word};
use super::{Budget, fail};
use crate::btf::layers::{Layers, Member, members, payload};
use crate::btf::{BtfError, Kind, Type};
use std::fmt::{self, Write};

/// A gap that takes more unnamed bitfields than this becomes one array.
const LONGEST_ROW: u64 = 512;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

/// Prints types in a given order, and with each one what it needs.
pub(super) struct Printer<'a> {
    pub layers: Layers<'a>,
    pub out: String,
    pub names: Names<'a>,
    pub budget: Budget,
    layouts: Layouts<'a>,
    states: Vec<State>,
    declared: Vec<bool>,
    charged: usize,
    pads: u32,
}

impl<'a> Printer<'a> {
    pub fn new(layers: Layers<'a>, head: &str) -> Printer<'a> {
        let types = layers.next_id() as usize;
        Printer {
            layers,
            out: head.to_owned(),
            names: Names::new(layers),
            budget: Budget::new(layers),
            layouts: Layouts::new(layers),
            states: vec![State::New; types],
            declared: vec![false; types],
            charged: 0,
            pads: 0,
        }
    }

    pub fn print(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.out.write_fmt(text);
    }

    /// Accounts for a visit of type `id`; what was printed since the last one is work too.
    pub fn spend(&mut self, id: u32, depth: u32) -> Result<(), BtfError> {
        let printed = (self.out.len() - self.charged) as u64;
        self.charged = self.out.len();
        self.budget.spend(id, depth, 1 + printed / 16)
    }

    fn indent(&mut self, level: u32) {
        self.out.extend((0..level).map(|_| '\t'));
    }

    /// Makes sure that type `id` can be used in the definition of `user`, 0 to define it itself.
    pub fn emit(&mut self, id: u32, user: u32, depth: u32) -> Result<(), BtfError> {
        self.spend(id, depth)?;
        let Some(ty) = self.layers.get(id) else { return Ok(()) };
        let (at, kind) = (id as usize, self.layers.kind(id));
        let define = user == 0;
        match self.states[at] {
            State::Done => return Ok(()),
            State::Open => return self.declare_open(id, ty, user),
            State::New => {}
        }
        match kind {
            Kind::Int => {
                self.compiler_alias(ty);
                self.states[at] = State::Done;
            }
            Kind::Enum | Kind::Enum64 => {
                if define {
                    self.define_enum(id, ty, 0);
                    self.out.push_str(";\n\n");
                }
                self.states[at] = State::Done;
            }
            Kind::Ptr | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                self.emit(ty.size_or_type(), user, depth + 1)?;
            }
            Kind::Array => self.emit(payload(ty, 0), user, depth + 1)?,
            Kind::Fwd => {
                self.tag(id, ty);
                self.out.push_str(";\n\n");
                self.states[at] = State::Done;
            }
            Kind::Typedef => {
                self.states[at] = State::Open;
                self.emit(ty.size_or_type(), id, depth + 1)?;
                // A pointer back to it may have printed it already.
                if !self.declared[at] {
                    self.define_typedef(id, ty, depth)?;
                }
                self.states[at] = State::Done;
            }
            Kind::Struct | Kind::Union => {
                self.states[at] = State::Open;
                let anonymous = ty.name() == 0;
                if define || anonymous {
                    for member in members(ty) {
                        let user = if anonymous { user } else { id };
                        self.emit(member.ty, user, depth + 1)?;
                    }
                } else if !self.declared[at] && id != user {
                    self.declare_tag(id, ty);
                }
                self.states[at] = State::New;
                if define {
                    self.define_struct(id, ty, 0, depth)?;
                    self.out.push_str(";\n\n");
                    self.states[at] = State::Done;
                }
            }
            Kind::FuncProto => {
                self.emit(ty.size_or_type(), user, depth + 1)?;
                for param in ty.elements() {
                    self.emit(param[1], user, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A type that is needed while its own definition is still being prepared.
    fn declare_open(&mut self, id: u32, ty: Type<'a>, user: u32) -> Result<(), BtfError> {
        if self.declared[id as usize] {
            return Ok(());
        }
        match ty.kind() {
            Some(Kind::Struct | Kind::Union) if id == user => {}
            Some(Kind::Struct | Kind::Union) if ty.name() == 0 => {
                return fail(id, "is anonymous and contains itself".into());
            }
            Some(Kind::Struct | Kind::Union) => self.declare_tag(id, ty),
            // Good enough for a pointer; its target is declared by now.
            Some(Kind::Typedef) => self.define_typedef(id, ty, 0)?,
            _ => {}
        }
        Ok(())
    }

    fn declare_tag(&mut self, id: u32, ty: Type<'a>) {
        self.tag(id, ty);
        self.out.push_str(";\n\n");
        self.declared[id as usize] = true;
    }

    /// `struct name`, `union name`, `enum name`, without the name for an anonymous one.
    fn tag(&mut self, id: u32, ty: Type<'a>) {
        self.out.push_str(word(ty));
        let name = self.names.tag(id, ty);
        if !name.is_empty() {
            self.print(format_args!(" {name}"));
        }
    }

    /// What stands at the heart of a declaration.
    pub fn base_type(
        &mut self,
        id: u32,
        ty: Type<'a>,
        level: u32,
        depth: u32,
    ) -> Result<(), BtfError> {
        match self.layers.kind(id) {
            Kind::Struct | Kind::Union if ty.name() == 0 => {
                self.define_struct(id, ty, level, depth + 1)?;
            }
            Kind::Enum | Kind::Enum64 if ty.name() == 0 => self.define_enum(id, ty, level),
            kind if kind.is_composite() || kind.is_enum() || kind == Kind::Fwd => self.tag(id, ty),
            Kind::Typedef => {
                let name = self.names.typedef(id, ty);
                self.out.push_str(&name);
            }
            Kind::Int | Kind::Float => {
                let name = self.layers.text(ty.name());
                self.out.push_str(&name);
            }
            kind => return fail(id, format!("is a {} used as a type", kind.name())),
        }
        Ok(())
    }

    /// Types of GCC's own that a header has to spell out.
    fn compiler_alias(&mut self, ty: Type<'a>) {
        let name = self.layers.text(ty.name());
        let stands_for = match &*name {
            "__Poly8_t" => "unsigned char",
            "__Poly16_t" => "unsigned short",
            "__Poly64_t" => "unsigned long long",
            "__Poly128_t" => "unsigned __int128",
            _ => return,
        };
        self.print(format_args!("typedef {stands_for} {name};\n\n"));
    }

    fn define_typedef(&mut self, id: u32, ty: Type<'a>, depth: u32) -> Result<(), BtfError> {
        let name = self.names.typedef(id, ty);
        self.declared[id as usize] = true;
        match (self.layers.string(ty.name()), ty.size_or_type()) {
            // Every compiler has it, and takes no other definition.
            (b"__builtin_va_list", _) => return Ok(()),
            // Old GCC says void.
            (b"__gnuc_va_list", 0) => {
                self.out.push_str("typedef __builtin_va_list __gnuc_va_list");
            }
            (_, target) => {
                self.out.push_str("typedef ");
                self.declare(target, &name, 0, depth + 1)?;
            }
        }
        self.out.push_str(";\n\n");
        Ok(())
    }

    fn define_enum(&mut self, id: u32, ty: Type<'a>, level: u32) {
        self.tag(id, ty);
        let (size, signed) = (ty.size_or_type(), ty.kflag());
        let mut wide = false;
        if ty.vlen() > 0 {
            self.out.push_str(" {");
            for e in ty.elements() {
                let name = self.names.enumerator(e[0]);
                self.out.push('\n');
                self.indent(level + 1);
                let value = u64::from(e.get(2).copied().unwrap_or(0)) << 32 | u64::from(e[1]);
                match (e.len() > 2, signed) {
                    (false, false) => self.print(format_args!("{name} = {},", e[1])),
                    (false, true) => self.print(format_args!("{name} = {},", e[1] as i32)),
                    (true, false) => self.print(format_args!("{name} = {value}ULL,")),
                    (true, true) => self.print(format_args!("{name} = {}LL,", value as i64)),
                }
                wide |= e.len() > 2
                    && match signed {
                        false => u32::try_from(value).is_err(),
                        true => i32::try_from(value as i64).is_err(),
                    };
            }
            self.out.push('\n');
            self.indent(level);
            self.out.push('}');
        }
        // The values decide between 4 and 8 bytes; for anything else the size has to be asked for.
        match size {
            1 => self.out.push_str(" __attribute__((mode(byte)))"),
            2 => self.out.push_str(" __attribute__((mode(HI)))"),
            8 if !wide && self.layouts.pointer() == 8 => {
                self.out.push_str(" __attribute__((mode(word)))");
            }
            _ => {}
        }
    }

    fn define_struct(
        &mut self,
        id: u32,
        ty: Type<'a>,
        level: u32,
        depth: u32,
    ) -> Result<(), BtfError> {
        let plan = self.layouts.plan(id, depth, &mut self.budget)?;
        self.tag(id, ty);
        self.out.push_str(" {");
        let body = self.out.len();
        if plan.fit == Fit::Overlaid {
            self.overlaid_body(ty, level, depth)?;
        } else {
            let items = self.layouts.items(id, ty, depth, &mut self.budget)?;
            for item in items {
                match item {
                    Item::Gap(gap) if ty.kind() == Some(Kind::Union) => {
                        self.pad_array((gap.to - gap.from) / 8, level + 1);
                    }
                    Item::Gap(gap) => self.pad(gap, ty, plan, level + 1),
                    Item::Member(index) => {
                        if let Some(member) = members(ty).nth(index) {
                            self.member(member, level + 1, depth)?;
                        }
                    }
                }
            }
        }
        if self.out.len() > body {
            self.out.push('\n');
            self.indent(level);
        }
        self.out.push('}');
        if plan.fit == Fit::Packed {
            self.out.push_str(" __attribute__((packed))");
        }
        Ok(())
    }

    fn member(&mut self, member: Member, level: u32, depth: u32) -> Result<(), BtfError> {
        self.out.push('\n');
        self.indent(level);
        let name = self.layers.text(member.name);
        self.declare(member.ty, &name, level, depth + 1)?;
        if member.width > 0 {
            self.print(format_args!(": {}", member.width));
        }
        self.out.push(';');
        Ok(())
    }

    /// Each member in a struct of its own, all at the same place.
    fn overlaid_body(&mut self, ty: Type<'a>, level: u32, depth: u32) -> Result<(), BtfError> {
        let (outer, inner) = (level + 1, level + 2);
        self.out.push('\n');
        self.indent(outer);
        self.out.push_str("union {");
        for member in members(ty) {
            self.out.push('\n');
            self.indent(inner);
            self.out.push_str("struct {");
            self.pad_array(u64::from(member.offset) / 8, inner + 1);
            self.fill(0, u64::from(member.offset) % 8, 8, inner + 1);
            self.member(member, inner + 1, depth)?;
            self.out.push('\n');
            self.indent(inner);
            self.out.push_str("} __attribute__((packed));");
        }
        self.pad_array(ty.size_or_type().into(), inner);
        self.out.push('\n');
        self.indent(outer);
        self.out.push_str("};");
        Ok(())
    }

    /// Unnamed bitfields for a gap. Where a bitfield does not fit before the next boundary of its
    /// type, the compiler moves it there, so that the way to the boundary needs no text.
    ///
    /// On some machines (AArch64) the type raises the alignment of the struct. A gap comes from an
    /// alignment that was asked for, and is narrower than that; it is a divisor of the size.
    fn pad(&mut self, gap: Gap, ty: Type<'a>, plan: Plan, level: u32) {
        let Gap { from, to, next_align, inside_bitfields } = gap;
        let packed = plan.fit == Fit::Packed;
        let mut unit = 8 * self.layouts.pointer();
        if !packed {
            unit = unit.min(8 << ty.size_or_type().trailing_zeros().min(3));
        }
        while from.next_multiple_of(unit) > to {
            unit /= 2;
        }
        if to - from > LONGEST_ROW * unit {
            let whole = from.next_multiple_of(8);
            self.fill(from, whole, 8, level);
            self.pad_array((to - whole) / 8, level);
            return self.fill(to - to % 8, to, 8, level);
        }
        let start = from.next_multiple_of(unit);
        if start > from {
            if inside_bitfields {
                self.unnamed(unit, start - from, level);
            } else {
                // Neither what follows nor the first bitfield of the rest would move to it.
                let stays = if start == to {
                    from.next_multiple_of(next_align) != start
                } else {
                    packed || to - start <= start - from
                };
                if stays {
                    self.unnamed(unit, 0, level);
                }
            }
        }
        self.fill(start, to, unit, level);
    }

    /// Unnamed bitfields from one bit to another, none across a boundary of its type.
    fn fill(&mut self, from: u64, to: u64, unit: u64, level: u32) {
        let mut at = from;
        while at < to {
            let bits = (unit - at % unit).min(to - at);
            let smallest = bits.next_power_of_two().max(8);
            self.unnamed(if at.is_multiple_of(unit) { smallest } else { unit }, bits, level);
            at += bits;
        }
    }

    fn unnamed(&mut self, unit: u64, bits: u64, level: u32) {
        let word = match unit {
            64.. => "long",
            32.. => "int",
            16.. => "short",
            _ => "char",
        };
        self.out.push('\n');
        self.indent(level);
        self.print(format_args!("{word}: {bits};"));
    }

    fn pad_array(&mut self, bytes: u64, level: u32) {
        if bytes > 0 {
            self.pads += 1;
            self.out.push('\n');
            self.indent(level);
            let number = self.pads;
            self.print(format_args!("unsigned char __pad{number}[{bytes}];"));
        }
    }
}
