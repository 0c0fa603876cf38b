//! The attributes of one DIE, those that matter, by name.
//!
//! Nothing is read before it is asked for: where each value stands is known from the abbreviation,
//! or from one look over a DIE that has values of varying size.

use super::abbreviations::{Field, Plan, Spot, Spots, Way};
use super::bytes::Cursor;
use super::cu::Text;
use super::emit::IS_ID;
use super::unit::{Location, Raw, Slice, Unit};
use gimli::constants as dw;
use gimli::{DwTag, Operation};

/// What a DIE says, as far as BTF needs it. References are offsets in the group, 0 for none.
pub(super) struct Attributes<'a, 'd> {
    unit: &'a Unit<'d>,
    plan: &'a Plan,
    spots: &'a Spots,
    /// The unit, from behind the DIE's code on.
    die: Cursor<'d>,
    /// Offset of the group in `.debug_info`.
    start: usize,
}

impl<'a, 'd> Attributes<'a, 'd> {
    /// Those of the DIE whose code was just read; moves `cursor` behind it. `scratch` is for DIEs
    /// whose layout has to be found out.
    #[inline]
    pub fn of(
        unit: &'a Unit<'d>,
        plan: &'a Plan,
        cursor: &mut Cursor<'d>,
        scratch: &'a mut Spots,
        start: usize,
    ) -> gimli::Result<Attributes<'a, 'd>> {
        let die = *cursor;
        let spots = match plan.size {
            Some(size) => {
                cursor.skip(size as usize)?;
                &plan.spots
            }
            None => {
                scratch.given = 0;
                for step in plan.steps.iter() {
                    if step.field != Field::Skip {
                        scratch.note(step, cursor.position() - die.position());
                    }
                    unit.pass(step, cursor)?;
                }
                &*scratch
            }
        };
        Ok(Attributes { unit, plan, spots, die, start })
    }

    /// Passes over the attributes.
    #[inline]
    pub fn skip(unit: &Unit<'d>, plan: &Plan, cursor: &mut Cursor<'d>) -> gimli::Result<()> {
        if let Some(size) = plan.size {
            return cursor.skip(size as usize);
        }
        for step in plan.skips.iter() {
            unit.pass(step, cursor)?;
        }
        Ok(())
    }

    #[inline]
    fn has(&self, field: Field) -> bool {
        self.spots.given >> field as u32 & 1 == 1
    }

    /// Where the value of a field stands, if it is given.
    #[inline]
    fn spot(&self, field: Field) -> Option<Spot> {
        self.has(field).then(|| self.spots.spots[field as usize])
    }

    /// A number of fixed size.
    #[inline]
    fn fixed(&self, spot: Spot) -> u64 {
        self.die.peek(spot.at as usize, spot.size as usize, self.unit.big_endian())
    }

    /// A value of any form, by where it stands. The DIE has been passed over, so that it ends where
    /// it should.
    #[inline(never)]
    fn by_form(&self, field: Field) -> Option<Raw<'d>> {
        let mut cursor = self.die;
        let at = self.spots.spots[field as usize].at;
        if at != Spot::FAR {
            let step = self.plan.steps.iter().rfind(|step| step.field == field)?;
            cursor.skip(at.into()).ok()?;
            return self.unit.read(step, &mut cursor).ok();
        }
        let mut found = None;
        for step in self.plan.steps.iter() {
            if step.field == field {
                found = Some(self.unit.read(step, &mut cursor).ok()?);
            } else {
                self.unit.pass(step, &mut cursor).ok()?;
            }
        }
        found
    }

    /// A reference, as an offset in the group.
    #[inline]
    fn reference(&self, field: Field) -> u32 {
        match self.spot(field) {
            None => 0,
            Some(spot) if spot.way == Way::Reference => {
                within(self.unit, self.fixed(spot), self.start)
            }
            Some(_) => self.by_form(field).map_or(0, |raw| reference(self.unit, &raw, self.start)),
        }
    }

    /// A constant, 0 where it is none; `None` where nothing is given.
    #[inline]
    fn number(&self, field: Field) -> Option<u64> {
        self.spot(field).map(|spot| match spot.way {
            Way::Constant => self.fixed(spot),
            _ => self.by_form(field).map_or(0, |raw| number(&raw)),
        })
    }

    /// A string; `None` where none is given.
    #[inline]
    fn string(&self, field: Field) -> gimli::Result<Option<Text>> {
        match self.spot(field) {
            None => Ok(None),
            Some(spot) if spot.way == Way::Strp => {
                let offset = self.fixed(spot);
                let text = self.unit.texts().in_str(offset);
                text.map(Some).ok_or(gimli::Error::OffsetOutOfBounds(offset))
            }
            Some(spot) if spot.way == Way::String => {
                let offset = (self.die.position() + usize::from(spot.at)) as u64;
                let text = self.unit.texts().in_info(offset);
                text.map(Some).ok_or(gimli::Error::OffsetOutOfBounds(offset))
            }
            Some(_) => match self.by_form(field) {
                Some(raw) => self.unit.string(&raw),
                None => Ok(None),
            },
        }
    }

    /// The offset of a member or of bits in one; `None` where nothing is given.
    #[inline]
    fn place(&self, field: Field) -> gimli::Result<Option<u64>> {
        match self.spot(field) {
            None => Ok(None),
            Some(spot) if spot.way == Way::Constant => Ok(Some(self.fixed(spot))),
            Some(_) => match self.by_form(field) {
                Some(raw) => offset(self.unit, &raw).map(Some),
                None => Ok(Some(0)),
            },
        }
    }

    /// What the DIE is.
    pub fn tag(&self) -> DwTag {
        self.plan.tag
    }

    /// The name; an empty one is one.
    #[inline]
    pub fn name(&self) -> gimli::Result<Option<Text>> {
        self.string(Field::Name)
    }

    /// The name, if there is one.
    #[inline]
    pub fn text(&self) -> gimli::Result<Text> {
        Ok(self.string(Field::Name)?.unwrap_or_default())
    }

    /// The value of an annotation.
    pub fn const_text(&self) -> gimli::Result<Option<Text>> {
        Ok(self.string(Field::ConstValue)?.filter(|text| !text.is_none()))
    }

    #[inline]
    pub fn ty(&self) -> u32 {
        self.reference(Field::Type)
    }

    #[inline]
    pub fn origin(&self) -> u32 {
        self.reference(Field::Origin)
    }

    /// The first of GCC's annotations.
    #[inline]
    pub fn annotation(&self) -> u32 {
        self.reference(Field::Annotation)
    }

    pub fn specification(&self) -> Option<u32> {
        self.has(Field::Specification).then(|| self.reference(Field::Specification))
    }

    #[inline]
    pub fn byte_size(&self) -> Option<u64> {
        self.number(Field::ByteSize)
    }

    #[inline]
    pub fn bit_size(&self) -> u64 {
        self.number(Field::BitSize).unwrap_or(0)
    }

    pub fn bit_offset(&self) -> u64 {
        self.number(Field::BitOffset).unwrap_or(0)
    }

    #[inline]
    pub fn data_bit_offset(&self) -> gimli::Result<Option<u64>> {
        self.place(Field::DataBitOffset)
    }

    #[inline]
    pub fn member_location(&self) -> gimli::Result<Option<u64>> {
        self.place(Field::MemberLocation)
    }

    pub fn encoding(&self) -> u64 {
        self.number(Field::Encoding).unwrap_or(0)
    }

    #[inline]
    pub fn const_value(&self) -> u64 {
        self.number(Field::ConstValue).unwrap_or(0)
    }

    /// Outer `Some`: it is given; inner `None`: not as a constant.
    pub fn upper_bound(&self) -> Option<Option<u64>> {
        self.constant(Field::UpperBound)
    }

    pub fn count(&self) -> Option<u64> {
        self.constant(Field::Count).flatten()
    }

    #[inline]
    fn constant(&self, field: Field) -> Option<Option<u64>> {
        self.spot(field).map(|spot| match spot.way {
            Way::Constant => Some(self.fixed(spot)),
            _ => self.by_form(field).and_then(|raw| constant(&raw)),
        })
    }

    pub fn location(&self) -> Option<Location<'d>> {
        self.spot(Field::Location)?;
        self.by_form(Field::Location).and_then(|raw| self.unit.location(&raw))
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
    offset.and_then(|o| o.checked_sub(start as u64)).map_or(0, within_group)
}

/// An offset from where the group begins, where it is one.
#[inline]
pub(super) fn within_group(offset: u64) -> u32 {
    // Groups are smaller than this, and numbers from here on mean something else.
    if offset < u64::from(IS_ID) { offset as u32 } else { 0 }
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
