//! Definitions and forward declarations, each where the next definition needs it.

use super::layout::{Fit, Item, Layouts};
use super::names::Names;
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

    pub fn into_text(self) -> String {
        self.out
    }

    pub fn print(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.out.write_fmt(text);
    }

    fn indent(&mut self, level: u32) {
        self.out.extend((0..level).map(|_| '\t'));
    }

    /// Makes sure that type `id` can be used in the definition of `user`, 0 to define it itself.
    pub fn emit(&mut self, id: u32, user: u32, depth: u32) -> Result<(), BtfError> {
        // What was printed since the last visit counts as work.
        let printed = (self.out.len() - self.charged) as u64;
        self.charged = self.out.len();
        self.budget.spend(id, depth, 1 + printed / 16)?;
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
        let word = match (self.layers.kind(id), ty.kflag()) {
            (Kind::Union, _) | (Kind::Fwd, true) => "union",
            (Kind::Enum | Kind::Enum64, _) => "enum",
            _ => "struct",
        };
        self.out.push_str(word);
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
            let unit = if plan.fit == Fit::Packed { 64 } else { 8 * plan.align };
            for item in items {
                match item {
                    Item::Gap { from, to } if ty.kind() == Some(Kind::Union) => {
                        self.pad_array((to - from) / 8, level + 1);
                    }
                    Item::Gap { from, to } => self.pad(from, to, unit, level + 1),
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
            self.pad(0, member.offset.into(), 64, inner + 1);
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

    /// Unnamed bitfields from one bit to another. None crosses a boundary of its type, and no type
    /// is wider than `widest` bits: on some machines it would raise the struct's alignment.
    fn pad(&mut self, from: u64, to: u64, widest: u64, level: u32) {
        let mut at = from;
        if to - from > LONGEST_ROW * widest.min(8 * self.layouts.pointer()) {
            let whole = from.next_multiple_of(8);
            self.pad(from, whole, widest, level);
            self.pad_array((to - whole) / 8, level);
            at = to - to % 8;
        }
        while at < to {
            let left = to - at;
            let wanted = match left {
                33.. if self.layouts.pointer() == 8 => 64,
                17.. => 32,
                9.. => 16,
                _ => 8,
            };
            let unit = wanted.min(widest);
            let word = match unit {
                64.. => "long",
                32.. => "int",
                16.. => "short",
                _ => "char",
            };
            let bits = (unit - at % unit).min(left);
            self.out.push('\n');
            self.indent(level);
            self.print(format_args!("{word}: {bits};"));
            at += bits;
        }
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
