//! The attributes of one DIE, those that matter, by name.

use super::unit::{Slice, Unit};
use gimli::constants as dw;
use gimli::{Abbreviation, AttributeValue, EntriesRaw, Operation, Reader};

type Value<'d> = AttributeValue<Slice<'d>>;

/// What a DIE says, as far as BTF needs it. References are offsets in the group, 0 for none.
#[derive(Default)]
pub(super) struct Attributes<'d> {
    pub name: Option<&'d [u8]>,
    pub const_text: Option<&'d [u8]>,
    pub ty: u32,
    pub origin: u32,
    pub specification: u32,
    pub byte_size: Option<u64>,
    pub bit_size: u64,
    pub bit_offset: u64,
    pub data_bit_offset: Option<u64>,
    pub member_location: Option<u64>,
    pub encoding: u64,
    pub const_value: u64,
    pub upper_bound: Option<Option<u64>>,
    pub count: Option<u64>,
    pub location: Option<Value<'d>>,
    pub declaration: bool,
    pub external: bool,
    pub artificial: bool,
    pub has_specification: bool,
}

impl<'d> Attributes<'d> {
    /// Reads the attributes of the DIE whose abbreviation was just read.
    ///
    /// `base` is the unit's offset in its group, `start` the group's in `.debug_info`.
    pub fn read(
        unit: &Unit<'d>,
        entries: &mut EntriesRaw<'_, Slice<'d>>,
        abbreviation: &Abbreviation,
        base: u32,
        start: usize,
    ) -> gimli::Result<Attributes<'d>> {
        let mut a = Attributes::default();
        for &spec in abbreviation.attributes() {
            let name = spec.name();
            if !matters(name) {
                entries.skip_attributes(&[spec])?;
                continue;
            }
            let attribute = entries.read_attribute(spec)?;
            let raw = attribute.raw_value();
            let reference = || match raw {
                AttributeValue::UnitRef(offset) => u32::try_from(offset.0).unwrap_or(0) + base,
                AttributeValue::DebugInfoRef(offset) => {
                    offset.0.checked_sub(start).and_then(|o| u32::try_from(o).ok()).unwrap_or(0)
                }
                _ => 0,
            };
            match name {
                dw::DW_AT_name => a.name = unit.string(&raw)?,
                dw::DW_AT_type => a.ty = reference(),
                dw::DW_AT_abstract_origin => a.origin = reference(),
                dw::DW_AT_specification => {
                    a.has_specification = true;
                    a.specification = reference();
                }
                dw::DW_AT_byte_size => a.byte_size = Some(number(&raw)),
                dw::DW_AT_bit_size => a.bit_size = number(&raw),
                dw::DW_AT_bit_offset => a.bit_offset = number(&raw),
                dw::DW_AT_data_bit_offset => a.data_bit_offset = Some(offset(unit, &raw)?),
                dw::DW_AT_data_member_location => a.member_location = Some(offset(unit, &raw)?),
                dw::DW_AT_encoding => a.encoding = number(&raw),
                dw::DW_AT_const_value => {
                    a.const_text = unit.string(&raw)?;
                    a.const_value = number(&raw);
                }
                dw::DW_AT_upper_bound => a.upper_bound = Some(unsigned(&raw)),
                dw::DW_AT_count => a.count = unsigned(&raw),
                dw::DW_AT_location => a.location = Some(attribute.value()),
                dw::DW_AT_declaration => a.declaration = true,
                dw::DW_AT_external => a.external = true,
                dw::DW_AT_artificial => a.artificial = true,
                _ => {}
            }
        }
        Ok(a)
    }

    /// The name, empty for none.
    pub fn text(&self) -> &'d [u8] {
        self.name.unwrap_or_default()
    }
}

fn matters(name: gimli::DwAt) -> bool {
    matches!(
        name,
        dw::DW_AT_name
            | dw::DW_AT_type
            | dw::DW_AT_abstract_origin
            | dw::DW_AT_specification
            | dw::DW_AT_byte_size
            | dw::DW_AT_bit_size
            | dw::DW_AT_bit_offset
            | dw::DW_AT_data_bit_offset
            | dw::DW_AT_data_member_location
            | dw::DW_AT_encoding
            | dw::DW_AT_const_value
            | dw::DW_AT_upper_bound
            | dw::DW_AT_count
            | dw::DW_AT_location
            | dw::DW_AT_declaration
            | dw::DW_AT_external
            | dw::DW_AT_artificial
    )
}

/// A constant of any form; 0 where the form is none of a number.
fn number(value: &Value<'_>) -> u64 {
    match *value {
        AttributeValue::Addr(n) => n,
        AttributeValue::Flag(flag) => u64::from(flag),
        ref other => unsigned(other).unwrap_or(0),
    }
}

/// A constant whose form tells no sign is unsigned.
fn unsigned(value: &Value<'_>) -> Option<u64> {
    Some(match *value {
        AttributeValue::Data1(n) => n.into(),
        AttributeValue::Data2(n) => n.into(),
        AttributeValue::Data4(n) => n.into(),
        AttributeValue::Data8(n) | AttributeValue::Udata(n) => n,
        AttributeValue::Sdata(n) => n as u64,
        _ => return None,
    })
}

/// A member's offset: a constant, or an expression that only adds one (DWARF 2).
fn offset(unit: &Unit<'_>, value: &Value<'_>) -> gimli::Result<u64> {
    let mut bytes = match *value {
        AttributeValue::Block(bytes) => bytes,
        AttributeValue::Exprloc(expression) => expression.0,
        ref other => return Ok(unsigned(other).unwrap_or(0)),
    };
    match Operation::parse(&mut bytes, unit.encoding())? {
        Operation::PlusConstant { value } | Operation::UnsignedConstant { value } => Ok(value),
        _ => Err(gimli::Error::InvalidExpression(dw::DwOp(0))),
    }
}

/// The static address of a variable: an expression that begins with one.
pub(super) fn address(unit: &Unit<'_>, location: &Value<'_>) -> gimli::Result<Option<u64>> {
    let AttributeValue::Exprloc(expression) = *location else { return Ok(None) };
    let mut bytes = expression.0;
    if bytes.is_empty() {
        return Ok(None);
    }
    match Operation::parse(&mut bytes, unit.encoding()) {
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
    let first = Operation::parse(&mut bytes, unit.encoding())?;
    if bytes.is_empty() {
        return Ok(Some((opcode, first)));
    }
    let second = Operation::parse(&mut bytes, unit.encoding())?;
    let only = bytes.is_empty() && matches!(second, Operation::StackValue);
    Ok(only.then_some((opcode, first)))
}

/// Whether a parameter is passed in another register than `expected` (a `DW_OP_reg*`).
///
/// A register counts where the first entry of the location names it, or an entry value anywhere
/// does; a match with the expected one ends the search, else the last one found counts.
pub(super) fn in_unexpected_register<'d>(
    unit: &Unit<'d>,
    location: &Value<'d>,
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
    if let AttributeValue::Exprloc(expression) = *location {
        look(0, expression.0)?;
    } else if let Some(mut list) = unit.location_list(location)? {
        let mut index = 0;
        while let Some(entry) = list.next()? {
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
    }
    Ok(found.is_some_and(|op| op != expected))
}
