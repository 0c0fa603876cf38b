//! The attributes of one DIE, those that matter, by name.

use super::abbreviations::{Field, Plan};
use super::bytes::Cursor;
use super::cu::Text;
use super::emit::IS_ID;
use super::unit::{Location, Raw, Slice, Unit};
use gimli::Operation;
use gimli::constants as dw;

/// What a DIE says, as far as BTF needs it. References are offsets in the group, 0 for none.
#[derive(Default)]
pub(super) struct Attributes<'d> {
    pub name: Option<Text<'d>>,
    pub const_text: Option<Text<'d>>,
    pub ty: u32,
    pub origin: u32,
    pub specification: Option<u32>,
    /// The first of GCC's annotations.
    pub annotation: u32,
    pub byte_size: Option<u64>,
    pub bit_size: u64,
    pub bit_offset: u64,
    pub data_bit_offset: Option<u64>,
    pub member_location: Option<u64>,
    pub encoding: u64,
    pub const_value: u64,
    /// Outer `Some`: it is given; inner `None`: not as a constant.
    pub upper_bound: Option<Option<u64>>,
    pub count: Option<u64>,
    pub location: Option<Location<'d>>,
    pub declaration: bool,
    pub external: bool,
    pub artificial: bool,
}

impl<'d> Attributes<'d> {
    /// Reads the attributes of the DIE whose abbreviation was just read; `start` is the offset of
    /// the group in `.debug_info`.
    #[inline]
    pub fn read(
        unit: &Unit<'d>,
        plan: &Plan,
        cursor: &mut Cursor<'d>,
        start: usize,
    ) -> gimli::Result<Attributes<'d>> {
        let mut a = Attributes::default();
        for step in unit.abbreviations.steps(plan) {
            if step.field == Field::Skip {
                unit.pass(step, cursor)?;
                continue;
            }
            let raw = unit.read(step, cursor)?;
            match step.field {
                Field::Name => a.name = unit.string(&raw)?,
                Field::Type => a.ty = reference(unit, &raw, start),
                Field::Origin => a.origin = reference(unit, &raw, start),
                Field::Specification => a.specification = Some(reference(unit, &raw, start)),
                Field::ByteSize => a.byte_size = Some(number(&raw)),
                Field::BitSize => a.bit_size = number(&raw),
                Field::BitOffset => a.bit_offset = number(&raw),
                Field::DataBitOffset => a.data_bit_offset = Some(offset(unit, &raw)?),
                Field::MemberLocation => a.member_location = Some(offset(unit, &raw)?),
                Field::Encoding => a.encoding = number(&raw),
                Field::ConstValue => {
                    a.const_text = unit.string(&raw)?;
                    a.const_value = number(&raw);
                }
                Field::UpperBound => a.upper_bound = Some(constant(&raw)),
                Field::Count => a.count = constant(&raw),
                Field::Location => a.location = unit.location(&raw),
                Field::Declaration => a.declaration = true,
                Field::External => a.external = true,
                Field::Artificial => a.artificial = true,
                Field::Annotation => a.annotation = reference(unit, &raw, start),
                Field::Skip
                | Field::Language
                | Field::StrOffsetsBase
                | Field::AddrBase
                | Field::LoclistsBase
                | Field::DwoName => {}
            }
        }
        Ok(a)
    }

    /// Passes over the attributes.
    #[inline]
    pub fn skip(unit: &Unit<'d>, plan: &Plan, cursor: &mut Cursor<'d>) -> gimli::Result<()> {
        for step in unit.abbreviations.skips(plan) {
            unit.pass(step, cursor)?;
        }
        Ok(())
    }

    /// The name, if there is one.
    pub fn text(&self) -> Text<'d> {
        self.name.unwrap_or_default()
    }
}

/// Where a reference leads, as an offset in the group; 0 where it leaves the group.
#[inline]
fn reference(unit: &Unit<'_>, raw: &Raw<'_>, start: usize) -> u32 {
    let from = match raw.form {
        dw::DW_FORM_ref1
        | dw::DW_FORM_ref2
        | dw::DW_FORM_ref4
        | dw::DW_FORM_ref8
        | dw::DW_FORM_ref_udata => unit.offset as u64,
        dw::DW_FORM_ref_addr => 0,
        _ => return 0,
    };
    let offset = from.checked_add(raw.number).and_then(|o| o.checked_sub(start as u64));
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
