//! Every DIE as the walk reads it.
//!
//! The walk takes what it needs and passes over the rest, by steps of its own (`abbreviations`).
//! Here the same steps read every DIE of a unit and say what they found, so that another reader of
//! DWARF can be held against them.

use super::abbreviations::Spots;
use super::annotations::GNU_ANNOTATION;
use super::attributes::Attributes;
use super::cu::Text;
use super::unit::{Debug, Group, Location, Unit};
use super::{DwarfError, Result};
use gimli::constants as dw;
use gimli::{DwAt, DwTag, RunTimeEndian, SectionId};

/// One DIE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'d> {
    /// Where it stands in `.debug_info`.
    pub offset: usize,
    /// What it is.
    pub tag: DwTag,
    /// Whether children follow.
    pub has_children: bool,
    /// Those of its attributes that matter of such a DIE, ordered by their numbers. A number that
    /// is 0 is left out where that means the same.
    pub attributes: Vec<(DwAt, Value<'d>)>,
}

/// What an attribute says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'d> {
    /// A constant. What has a sign is extended to 64 bits.
    Number(u64),
    /// Something else where a constant may stand.
    NotConstant,
    /// It is there, and that is all.
    Present,
    /// A name.
    Text(&'d [u8]),
    /// Another DIE, by offset in `.debug_info`.
    Reference(usize),
    /// An expression.
    Expression(&'d [u8]),
    /// A location list, by its offset, or by its index in the unit's table.
    List(u64),
}

impl Debug {
    /// The bytes of a section, relocated and decompressed; empty where DIEs are not read from it.
    pub fn section(&self, id: SectionId) -> &[u8] {
        match id {
            SectionId::DebugInfo => &self.info,
            SectionId::DebugAbbrev => &self.abbrev,
            SectionId::DebugStr => &self.str,
            SectionId::DebugLineStr => &self.line_str,
            SectionId::DebugStrOffsets => &self.str_offsets,
            SectionId::DebugAddr => &self.addr,
            SectionId::DebugLoc => &self.loc,
            SectionId::DebugLocLists => &self.loclists,
            _ => &[],
        }
    }

    /// The byte order.
    pub fn endian(&self) -> RunTimeEndian {
        if self.big_endian { RunTimeEndian::Big } else { RunTimeEndian::Little }
    }
}

impl<'d> Group<'d> {
    /// Shows every DIE of the group, in order. Passing over a DIE has to end where reading it ends.
    pub fn entries(&self, mut visit: impl FnMut(Entry<'d>)) -> Result<()> {
        for unit in &self.units {
            read(unit, self.start, &mut visit)
                .map_err(|source| DwarfError::Malformed { unit: unit.offset, source })?;
        }
        Ok(())
    }
}

fn read<'d>(unit: &Unit<'d>, start: usize, visit: &mut impl FnMut(Entry<'d>)) -> gimli::Result<()> {
    let mut cursor = unit.entries();
    let mut scratch = Spots::default();
    while !cursor.is_empty() {
        let offset = cursor.position();
        let code = cursor.uleb()?;
        if code == 0 {
            continue;
        }
        let plan = unit.abbreviations.get(code)?;
        let mut passing = cursor;
        Attributes::skip(unit, plan, &mut passing)?;
        let a = Attributes::of(unit, plan, &mut cursor, &mut scratch, start)?;
        if passing.position() != cursor.position() {
            return Err(gimli::Error::OffsetOutOfBounds(offset as u64));
        }
        let (tag, has_children) = (plan.tag, plan.has_children);
        visit(Entry { offset, tag, has_children, attributes: list(unit, &a, start)? });
    }
    Ok(())
}

fn list<'d>(
    unit: &Unit<'d>,
    a: &Attributes<'_, 'd>,
    start: usize,
) -> gimli::Result<Vec<(DwAt, Value<'d>)>> {
    let number = |n: u64| (n != 0).then_some(Value::Number(n));
    let reference = |r: u32| (r != 0).then_some(Value::Reference(start + r as usize));
    let text = |t: Text| Value::Text(unit.texts().get(t.0));
    let flag = |is_set: bool| is_set.then_some(Value::Present);
    let location = |l: Location<'d>| match l {
        Location::Expression(bytes) => Value::Expression(bytes),
        Location::List(at) | Location::ListIndex(at) => Value::List(at),
    };
    let all = [
        (dw::DW_AT_location, a.location().map(location)),
        (dw::DW_AT_name, a.name()?.map(text)),
        (dw::DW_AT_byte_size, a.byte_size().map(Value::Number)),
        (dw::DW_AT_bit_offset, number(a.bit_offset())),
        (dw::DW_AT_bit_size, number(a.bit_size())),
        (dw::DW_AT_const_value, a.const_text()?.map(text).or(number(a.const_value()))),
        (
            dw::DW_AT_upper_bound,
            a.upper_bound().map(|n| n.map_or(Value::NotConstant, Value::Number)),
        ),
        (dw::DW_AT_abstract_origin, reference(a.origin())),
        (dw::DW_AT_artificial, flag(a.artificial())),
        (dw::DW_AT_count, a.count().map(Value::Number)),
        (dw::DW_AT_data_member_location, a.member_location()?.map(Value::Number)),
        (dw::DW_AT_declaration, flag(a.declaration())),
        (dw::DW_AT_encoding, number(a.encoding())),
        (dw::DW_AT_external, flag(a.external())),
        (dw::DW_AT_specification, a.specification().and_then(reference)),
        (dw::DW_AT_type, reference(a.ty())),
        (dw::DW_AT_data_bit_offset, a.data_bit_offset()?.map(Value::Number)),
        (GNU_ANNOTATION, reference(a.annotation())),
    ];
    Ok(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}
