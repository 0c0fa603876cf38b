//! The attributes of one DIE, those that matter, by name.

use super::abbreviations::{Field, Plan, Step, Way};
use super::bytes::Cursor;
use super::cu::Text;
use super::emit::IS_ID;
use super::unit::{Location, Raw, Slice, Unit};
use gimli::Operation;
use gimli::constants as dw;

/// What a DIE says, as far as BTF needs it. References are offsets in the group, 0 for none.
///
/// One of them is filled again and again: what counts is what `given` says.
#[derive(Default)]
pub(super) struct Attributes<'d> {
    /// One bit a field.
    given: u32,
    name: u32,
    const_text: u32,
    ty: u32,
    origin: u32,
    specification: u32,
    annotation: u32,
    byte_size: u64,
    bit_size: u64,
    bit_offset: u64,
    data_bit_offset: u64,
    member_location: u64,
    encoding: u64,
    const_value: u64,
    upper_bound: Option<u64>,
    count: Option<u64>,
    location: Option<Location<'d>>,
}

impl<'d> Attributes<'d> {
    /// Reads the attributes of the DIE whose abbreviation was just read; `start` is the offset of
    /// the group in `.debug_info`.
    #[inline]
    pub fn read(
        &mut self,
        unit: &Unit<'d>,
        plan: &Plan,
        cursor: &mut Cursor<'d>,
        start: usize,
    ) -> gimli::Result<()> {
        self.given = 0;
        for step in unit.abbreviations.steps(plan) {
            if step.field == Field::Skip {
                unit.pass(step, cursor)?;
                continue;
            }
            let Some(size) = step.size.filter(|_| step.way != Way::Form) else {
                self.by_form(unit, step, cursor, start)?;
                continue;
            };
            let number = match size {
                0 => step.implicit as u64,
                size => cursor.fixed(size as usize, unit.big_endian())?,
            };
            self.given |= 1 << step.field as u32;
            match (step.field, step.way) {
                (Field::Name, Way::Strp) => {
                    let text = unit.texts().in_str(number);
                    self.name = text.ok_or(gimli::Error::OffsetOutOfBounds(number))?.0;
                }
                (Field::Type, Way::Reference) => self.ty = within(unit, number, start),
                (Field::Origin, Way::Reference) => self.origin = within(unit, number, start),
                (Field::ByteSize, Way::Constant) => self.byte_size = number,
                (Field::MemberLocation, Way::Constant) => self.member_location = number,
                (Field::BitSize, Way::Constant) => self.bit_size = number,
                (Field::BitOffset, Way::Constant) => self.bit_offset = number,
                (Field::DataBitOffset, Way::Constant) => self.data_bit_offset = number,
                (Field::Encoding, Way::Constant) => self.encoding = number,
                (Field::ConstValue, Way::Constant) => {
                    (self.const_value, self.const_text) = (number, 0);
                }
                _ => {
                    let raw = Raw { form: step.form, number, bytes: &[] };
                    self.take(unit, step.field, raw, start)?;
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn by_form(
        &mut self,
        unit: &Unit<'d>,
        step: &Step,
        cursor: &mut Cursor<'d>,
        start: usize,
    ) -> gimli::Result<()> {
        let raw = unit.read(step, cursor)?;
        self.given |= 1 << step.field as u32;
        self.take(unit, step.field, raw, start)
    }

    /// Takes over a value of any form.
    fn take(
        &mut self,
        unit: &Unit<'d>,
        field: Field,
        raw: Raw<'d>,
        start: usize,
    ) -> gimli::Result<()> {
        match field {
            Field::Name => match unit.string(&raw)? {
                Some(text) => self.name = text.0,
                None => self.given &= !(1 << Field::Name as u32),
            },
            Field::Type => self.ty = reference(unit, &raw, start),
            Field::Origin => self.origin = reference(unit, &raw, start),
            Field::Specification => self.specification = reference(unit, &raw, start),
            Field::Annotation => self.annotation = reference(unit, &raw, start),
            Field::ByteSize => self.byte_size = number(&raw),
            Field::BitSize => self.bit_size = number(&raw),
            Field::BitOffset => self.bit_offset = number(&raw),
            Field::DataBitOffset => self.data_bit_offset = offset(unit, &raw)?,
            Field::MemberLocation => self.member_location = offset(unit, &raw)?,
            Field::Encoding => self.encoding = number(&raw),
            Field::ConstValue => {
                self.const_text = unit.string(&raw)?.unwrap_or_default().0;
                self.const_value = number(&raw);
            }
            Field::UpperBound => self.upper_bound = constant(&raw),
            Field::Count => self.count = constant(&raw),
            Field::Location => self.location = unit.location(&raw),
            Field::Declaration
            | Field::External
            | Field::Artificial
            | Field::Skip
            | Field::Language
            | Field::StrOffsetsBase
            | Field::AddrBase
            | Field::LoclistsBase
            | Field::DwoName => {}
        }
        Ok(())
    }

    #[inline]
    fn has(&self, field: Field) -> bool {
        self.given >> field as u32 & 1 == 1
    }

    #[inline]
    fn if_given<T: Default>(&self, field: Field, value: T) -> T {
        if self.has(field) { value } else { T::default() }
    }

    /// The name; an empty one is one.
    #[inline]
    pub fn name(&self) -> Option<Text> {
        self.has(Field::Name).then_some(Text(self.name))
    }

    /// The name, if there is one.
    #[inline]
    pub fn text(&self) -> Text {
        Text(self.if_given(Field::Name, self.name))
    }

    /// The value of an annotation.
    pub fn const_text(&self) -> Option<Text> {
        let text = Text(self.if_given(Field::ConstValue, self.const_text));
        (!text.is_none()).then_some(text)
    }

    #[inline]
    pub fn ty(&self) -> u32 {
        self.if_given(Field::Type, self.ty)
    }

    pub fn origin(&self) -> u32 {
        self.if_given(Field::Origin, self.origin)
    }

    /// The first of GCC's annotations.
    pub fn annotation(&self) -> u32 {
        self.if_given(Field::Annotation, self.annotation)
    }

    pub fn specification(&self) -> Option<u32> {
        self.has(Field::Specification).then_some(self.specification)
    }

    #[inline]
    pub fn byte_size(&self) -> Option<u64> {
        self.has(Field::ByteSize).then_some(self.byte_size)
    }

    #[inline]
    pub fn bit_size(&self) -> u64 {
        self.if_given(Field::BitSize, self.bit_size)
    }

    pub fn bit_offset(&self) -> u64 {
        self.if_given(Field::BitOffset, self.bit_offset)
    }

    #[inline]
    pub fn data_bit_offset(&self) -> Option<u64> {
        self.has(Field::DataBitOffset).then_some(self.data_bit_offset)
    }

    #[inline]
    pub fn member_location(&self) -> Option<u64> {
        self.has(Field::MemberLocation).then_some(self.member_location)
    }

    pub fn encoding(&self) -> u64 {
        self.if_given(Field::Encoding, self.encoding)
    }

    #[inline]
    pub fn const_value(&self) -> u64 {
        self.if_given(Field::ConstValue, self.const_value)
    }

    /// Outer `Some`: it is given; inner `None`: not as a constant.
    pub fn upper_bound(&self) -> Option<Option<u64>> {
        self.has(Field::UpperBound).then_some(self.upper_bound)
    }

    pub fn count(&self) -> Option<u64> {
        self.if_given(Field::Count, self.count)
    }

    pub fn location(&self) -> Option<Location<'d>> {
        self.if_given(Field::Location, self.location)
    }

    #[inline]
    pub fn declaration(&self) -> bool {
        self.has(Field::Declaration)
    }

    pub fn external(&self) -> bool {
        self.has(Field::External)
    }

    pub fn artificial(&self) -> bool {
        self.has(Field::Artificial)
    }

    /// Passes over the attributes.
    #[inline]
    pub fn skip(unit: &Unit<'d>, plan: &Plan, cursor: &mut Cursor<'d>) -> gimli::Result<()> {
        for step in unit.abbreviations.skips(plan) {
            unit.pass(step, cursor)?;
        }
        Ok(())
    }
}

/// Where a reference leads, as an offset in the group; 0 where it leaves the group.
#[inline]
fn reference(unit: &Unit<'_>, raw: &Raw<'_>, start: usize) -> u32 {
    match raw.form {
        dw::DW_FORM_ref1
        | dw::DW_FORM_ref2
        | dw::DW_FORM_ref4
        | dw::DW_FORM_ref8
        | dw::DW_FORM_ref_udata => within(unit, raw.number, start),
        dw::DW_FORM_ref_addr => in_group(Some(raw.number), start),
        _ => 0,
    }
}

/// The same, of a reference within the unit.
#[inline]
fn within(unit: &Unit<'_>, number: u64, start: usize) -> u32 {
    in_group((unit.offset as u64).checked_add(number), start)
}

/// An offset in `.debug_info` as one in the group that begins at `start`.
#[inline]
fn in_group(offset: Option<u64>, start: usize) -> u32 {
    let offset = offset.and_then(|o| o.checked_sub(start as u64));
    // Groups are smaller than this, and numbers from here on mean something else.
    let inside = |o: u64| u32::try_from(o).ok().filter(|&o| o < IS_ID);
    offset.and_then(inside).unwrap_or(0)
}

/// A constant; 0 where the form is none of a number.
fn number(raw: &Raw<'_>) -> u64 {
    match raw.form {
        dw::DW_FORM_addr | dw::DW_FORM_flag | dw::DW_FORM_flag_present => raw.number,
        _ => constant(raw).unwrap_or(0),
    }
}

/// A constant whose form tells no sign is unsigned.
fn constant(raw: &Raw<'_>) -> Option<u64> {
    matches!(
        raw.form,
        dw::DW_FORM_data1
            | dw::DW_FORM_data2
            | dw::DW_FORM_data4
            | dw::DW_FORM_data8
            | dw::DW_FORM_sdata
            | dw::DW_FORM_udata
            | dw::DW_FORM_implicit_const
    )
    .then_some(raw.number)
}

/// A member's offset: a constant, or an expression that only adds one (DWARF 2).
fn offset(unit: &Unit<'_>, raw: &Raw<'_>) -> gimli::Result<u64> {
    if let Some(number) = constant(raw) {
        return Ok(number);
    }
    let Some(Location::Expression(bytes)) = unit.location(raw) else { return Ok(0) };
    match Operation::parse(&mut unit.expression(bytes), unit.encoding)? {
        Operation::PlusConstant { value } | Operation::UnsignedConstant { value } => Ok(value),
        _ => Err(gimli::Error::InvalidExpression(dw::DwOp(bytes[0]))),
    }
}

/// The static address of a variable: an expression that begins with one.
pub(super) fn address<'d>(unit: &Unit<'d>, location: Location<'d>) -> gimli::Result<Option<u64>> {
    let Location::Expression(bytes) = location else { return Ok(None) };
    if bytes.is_empty() {
        return Ok(None);
    }
    match Operation::parse(&mut unit.expression(bytes), unit.encoding) {
        Ok(Operation::Address { address }) => Ok(Some(address)),
        Ok(Operation::AddressIndex { index }) => unit.address(index).map(Some),
        _ => Ok(None),
    }
}

/// The first operation of an expression that has just one, a trailing stack_value left aside.
fn only_operation<'d>(
    unit: &Unit<'d>,
    mut bytes: Slice<'d>,
) -> gimli::Result<Option<(u8, Operation<Slice<'d>>)>> {
    let Some(&opcode) = bytes.slice().first() else { return Ok(None) };
    let first = Operation::parse(&mut bytes, unit.encoding)?;
    if bytes.slice().is_empty() {
        return Ok(Some((opcode, first)));
    }
    let second = Operation::parse(&mut bytes, unit.encoding)?;
    let only = bytes.slice().is_empty() && matches!(second, Operation::StackValue);
    Ok(only.then_some((opcode, first)))
}

/// Whether a parameter is passed in another register than `expected` (a `DW_OP_reg*`).
///
/// A register counts where the first entry of the location names it, or an entry value anywhere
/// does; a match with the expected one ends the search, else the last one found counts.
pub(super) fn in_unexpected_register<'d>(
    unit: &Unit<'d>,
    location: Location<'d>,
    expected: u8,
) -> gimli::Result<bool> {
    let mut found = None;
    let mut look = |index: usize, bytes: Slice<'d>| -> gimli::Result<bool> {
        match only_operation(unit, bytes)? {
            Some((op, _)) if (dw::DW_OP_reg0.0..=dw::DW_OP_reg31.0).contains(&op) => {
                // Elsewhere it says where the parameter went, not where it came from.
                found = if index == 0 { Some(op) } else { found };
            }
            Some((_, Operation::EntryValue { expression })) => {
                let Some(&op) = expression.slice().first() else { return Ok(false) };
                if only_operation(unit, expression)?.is_some() {
                    found = Some(op);
                }
            }
            _ => {}
        }
        Ok(found == Some(expected))
    };
    if let Location::Expression(bytes) = location {
        look(0, unit.expression(bytes))?;
    } else if let Some(mut list) = unit.location_list(location)? {
        let (mut index, mut read) = (0, 1);
        while let Some(entry) = list.next()? {
            read += 1;
            use gimli::RawLocListEntry::*;
            let data = match entry {
                BaseAddress { .. } | BaseAddressx { .. } => continue,
                AddressOrOffsetPair { data, .. }
                | StartxEndx { data, .. }
                | StartxLength { data, .. }
                | OffsetPair { data, .. }
                | DefaultLocation { data }
                | StartEnd { data, .. }
                | StartLength { data, .. } => data,
            };
            if look(index, data.0)? {
                break;
            }
            index += 1;
        }
        unit.count_entries(read);
    }
    Ok(found.is_some_and(|op| op != expected))
}
