//! Abbreviations, compiled: what to read of each kind of DIE, and how many bytes to pass over.
//!
//! A kernel module's DIEs are read millions at a time through a few hundred abbreviations, so which
//! attributes matter, where they stand and how long a DIE is are worked out once per abbreviation.
//! Where the size of some attribute is told by its value, the DIE is gone through in steps:
//! neighbours of fixed size that do not matter are one step. gimli reads the same DIEs attribute by
//! attribute at several times the cost; tests hold the two against each other.

use super::annotations::GNU_ANNOTATION;
use super::bytes::Cursor;
use super::quick::{CODES, Quick};
use foldhash::fast::FixedState;
use gimli::constants as dw;
use gimli::{DwAt, DwForm, DwTag, Format};
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The attributes that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Type,
    Origin,
    Specification,
    ByteSize,
    BitSize,
    BitOffset,
    DataBitOffset,
    MemberLocation,
    Encoding,
    ConstValue,
    UpperBound,
    Count,
    Location,
    Declaration,
    External,
    Artificial,
    Annotation,
    // Of root DIEs only.
    Language,
    StrOffsetsBase,
    AddrBase,
    LoclistsBase,
    DwoName,
    /// None of these.
    Skip,
}

/// How many there are of all DIEs.
const FIELDS: usize = Field::Language as usize;

impl Field {
    fn of(name: DwAt) -> Field {
        match name {
            dw::DW_AT_name => Field::Name,
            dw::DW_AT_type => Field::Type,
            dw::DW_AT_abstract_origin => Field::Origin,
            dw::DW_AT_specification => Field::Specification,
            dw::DW_AT_byte_size => Field::ByteSize,
            dw::DW_AT_bit_size => Field::BitSize,
            dw::DW_AT_bit_offset => Field::BitOffset,
            dw::DW_AT_data_bit_offset => Field::DataBitOffset,
            dw::DW_AT_data_member_location => Field::MemberLocation,
            dw::DW_AT_encoding => Field::Encoding,
            dw::DW_AT_const_value => Field::ConstValue,
            dw::DW_AT_upper_bound => Field::UpperBound,
            dw::DW_AT_count => Field::Count,
            dw::DW_AT_location => Field::Location,
            dw::DW_AT_declaration => Field::Declaration,
            dw::DW_AT_external => Field::External,
            dw::DW_AT_artificial => Field::Artificial,
            GNU_ANNOTATION => Field::Annotation,
            dw::DW_AT_language => Field::Language,
            dw::DW_AT_str_offsets_base => Field::StrOffsetsBase,
            dw::DW_AT_addr_base => Field::AddrBase,
            dw::DW_AT_loclists_base => Field::LoclistsBase,
            dw::DW_AT_dwo_name | dw::DW_AT_GNU_dwo_name => Field::DwoName,
            _ => Field::Skip,
        }
    }
}

/// Whether DIEs of this tag are asked for this attribute.
fn matters(tag: DwTag, field: Field) -> bool {
    use Field::*;
    match tag {
        dw::DW_TAG_member => matches!(
            field,
            Name | Type
                | ByteSize
                | BitSize
                | BitOffset
                | DataBitOffset
                | MemberLocation
                | Annotation
        ),
        dw::DW_TAG_formal_parameter => {
            matches!(field, Name | Type | Origin | Location | Annotation)
        }
        dw::DW_TAG_variable => matches!(
            field,
            Name | Type | Specification | Location | Declaration | External | Artificial
        ),
        dw::DW_TAG_subprogram => {
            matches!(field, Name | Type | Origin | Specification | Declaration | Annotation)
        }
        // Passed over or only gone into.
        dw::DW_TAG_lexical_block
        | dw::DW_TAG_inlined_subroutine
        | dw::DW_TAG_call_site
        | dw::DW_TAG_call_site_parameter
        | dw::DW_TAG_GNU_call_site
        | dw::DW_TAG_GNU_call_site_parameter
        | dw::DW_TAG_label => false,
        // Types and root DIEs are few and say little that does not matter.
        _ => field != Skip,
    }
}

/// How an attribute is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A constant of fixed size that stands in the DIE.
    Constant,
    /// A reference within the unit, of fixed size.
    Reference,
    /// An offset in `.debug_str`.
    Strp,
    /// By its form.
    Form,
}

impl Way {
    fn of(form: DwForm) -> Way {
        match form {
            dw::DW_FORM_data1 | dw::DW_FORM_data2 | dw::DW_FORM_data4 | dw::DW_FORM_data8 => {
                Way::Constant
            }
            dw::DW_FORM_ref1 | dw::DW_FORM_ref2 | dw::DW_FORM_ref4 | dw::DW_FORM_ref8 => {
                Way::Reference
            }
            dw::DW_FORM_strp => Way::Strp,
            _ => Way::Form,
        }
    }
}

/// One attribute to read, or bytes to pass over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub field: Field,
    pub way: Way,
    pub form: DwForm,
    /// Bytes of the value, where the form alone tells.
    pub size: Option<u32>,
    /// The value of a `DW_FORM_implicit_const`.
    pub implicit: i64,
}

/// Where the value of an attribute stands in a DIE.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// Bytes from behind the DIE's code; [`Spot::FAR`] where they do not fit.
    pub at: u16,
    pub size: u8,
    pub way: Way,
}

impl Spot {
    pub const FAR: u16 = u16::MAX;
}

/// Where those that are given stand, by [`Field`].
#[derive(Clone, Debug)]
pub(super) struct Spots {
    /// One bit a field.
    pub given: u32,
    pub spots: [Spot; FIELDS],
}

impl Default for Spots {
    fn default() -> Spots {
        Spots { given: 0, spots: [Spot { at: 0, size: 0, way: Way::Form }; FIELDS] }
    }
}

impl Spots {
    /// Notes where the value of a step stands; the last of several counts.
    #[inline]
    pub fn note(&mut self, step: &Step, at: usize) {
        // Fields that are of root DIEs only, or do not matter, have no spot.
        if let Some(spot) = self.spots.get_mut(step.field as usize) {
            let size = step.size.map_or(0, |size| size as u8);
            *spot = match u16::try_from(at) {
                Ok(at) if at != Spot::FAR => Spot { at, size, way: step.way },
                _ => Spot { at: Spot::FAR, size, way: Way::Form },
            };
            self.given |= 1 << step.field as u32;
        }
    }
}

/// What a DIE is, as far as the walk tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Member,
    Inheritance,
    Enumerator,
    Subrange,
    Parameter,
    UnspecifiedParameters,
    Struct,
    Union,
    Enum,
    Array,
    Subroutine,
    Pointer,
    Typedef,
    BaseType,
    Const,
    Volatile,
    Restrict,
    UnspecifiedType,
    Function,
    Variable,
    Namespace,
    Atomic,
    /// BTF has no kind for it.
    Foreign,
    ImportedUnit,
    Block,
    Inlined,
    /// Only of interest to debuggers.
    Call,
    Annotation,
    Other,
}

/// `DW_TAG_LLVM_annotation`: clang's carrier of BTF tags.
const LLVM_ANNOTATION: DwTag = DwTag(0x6000);

impl What {
    fn of(tag: DwTag) -> What {
        match tag {
            dw::DW_TAG_member => What::Member,
            dw::DW_TAG_inheritance => What::Inheritance,
            dw::DW_TAG_enumerator => What::Enumerator,
            dw::DW_TAG_subrange_type => What::Subrange,
            dw::DW_TAG_formal_parameter => What::Parameter,
            dw::DW_TAG_unspecified_parameters => What::UnspecifiedParameters,
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type => What::Struct,
            dw::DW_TAG_union_type => What::Union,
            dw::DW_TAG_enumeration_type => What::Enum,
            dw::DW_TAG_array_type => What::Array,
            dw::DW_TAG_subroutine_type => What::Subroutine,
            dw::DW_TAG_pointer_type => What::Pointer,
            dw::DW_TAG_typedef => What::Typedef,
            dw::DW_TAG_base_type => What::BaseType,
            dw::DW_TAG_const_type => What::Const,
            dw::DW_TAG_volatile_type => What::Volatile,
            dw::DW_TAG_restrict_type => What::Restrict,
            dw::DW_TAG_unspecified_type => What::UnspecifiedType,
            dw::DW_TAG_subprogram => What::Function,
            dw::DW_TAG_variable => What::Variable,
            dw::DW_TAG_namespace => What::Namespace,
            dw::DW_TAG_atomic_type => What::Atomic,
            dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type
            | dw::DW_TAG_ptr_to_member_type
            | dw::DW_TAG_string_type
            | dw::DW_TAG_interface_type => What::Foreign,
            dw::DW_TAG_imported_unit => What::ImportedUnit,
            dw::DW_TAG_lexical_block => What::Block,
            dw::DW_TAG_inlined_subroutine => What::Inlined,
            dw::DW_TAG_call_site
            | dw::DW_TAG_call_site_parameter
            | dw::DW_TAG_GNU_call_site
            | dw::DW_TAG_GNU_call_site_parameter
            | dw::DW_TAG_label => What::Call,
            LLVM_ANNOTATION => What::Annotation,
            _ => What::Other,
        }
    }
}

/// How DIEs of one abbreviation are read.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub tag: DwTag,
    pub what: What,
    pub has_children: bool,
    /// The DIE may be a declaration that another one completes.
    pub may_declare: bool,
    /// Bytes behind the code, where the forms alone tell; then all spots are known as well.
    pub size: Option<u32>,
    pub spots: Spots,
    steps: Range<usize>,
    /// The same attributes, all to be passed over.
    skips: Range<usize>,
}

/// The abbreviations of one unit.
#[derive(Debug)]
pub(super) struct Table {
    /// By code, which compilers count from 1.
    plans: Vec<Option<Plan>>,
    /// Those with codes far above their number.
    far: HashMap<u64, Plan, FixedState>,
    steps: Vec<Step>,
    skips: Vec<Step>,
    /// Those that are read quickly, by code.
    pub quicks: Box<[Quick; CODES]>,
    /// Some abbreviation refers to DIEs of other units.
    pub refers_across: bool,
    /// Some abbreviation refers to a type by signature.
    pub refers_by_signature: bool,
    /// Some abbreviation refers to a supplementary file.
    pub refers_outside: bool,
}

/// What the sizes of forms depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sizes {
    pub version: u16,
    pub format: Format,
    pub address: u8,
}

/// The tables of a file, each compiled once.
///
/// Units of hostile files can name a place each in one long table, which would be compiled from
/// every one of them.
#[derive(Debug)]
pub(super) struct Tables<'d> {
    section: &'d [u8],
    known: HashMap<(usize, Sizes), Arc<Table>, FixedState>,
    /// How many more bytes are read.
    left: usize,
}

impl<'d> Tables<'d> {
    pub fn new(section: &'d [u8]) -> Tables<'d> {
        // Once is what compilers need; once for each size of an address and offset is fair.
        Tables { section, known: HashMap::default(), left: section.len().saturating_mul(4) }
    }

    /// The table at an offset of `.debug_abbrev`.
    pub fn get(&mut self, offset: usize, sizes: Sizes) -> gimli::Result<Arc<Table>> {
        if let Some(table) = self.known.get(&(offset, sizes)) {
            return Ok(Arc::clone(table));
        }
        let bad = || gimli::Error::OffsetOutOfBounds(offset as u64);
        let rest = self.section.get(offset..).ok_or_else(bad)?;
        let (table, len) = Table::parse(&rest[..rest.len().min(self.left)], sizes)?;
        self.left -= len;
        let table = Arc::new(table);
        self.known.insert((offset, sizes), Arc::clone(&table));
        Ok(table)
    }
}

/// Codes are taken to be dense while no more than these are left out, and one for each that is there.
const GAP: u64 = 16;

impl Table {
    fn new() -> Table {
        Table {
            plans: Vec::new(),
            far: HashMap::default(),
            steps: Vec::new(),
            skips: Vec::new(),
            quicks: Box::new([Quick::NOT; CODES]),
            refers_across: false,
            refers_by_signature: false,
            refers_outside: false,
        }
    }

    /// Compiles the table that `section` begins with, and tells its length.
    fn parse(section: &[u8], sizes: Sizes) -> gimli::Result<(Table, usize)> {
        let mut table = Table::new();
        let mut cursor = Cursor::new(section);
        let mut count = 0;
        loop {
            let code = cursor.uleb()?;
            if code == 0 {
                return Ok((table, cursor.position()));
            }
            count += 1;
            let tag = DwTag(cursor.uleb()? as u16);
            let has_children = cursor.u8()? != 0;
            let (first, first_skip) = (table.steps.len(), table.skips.len());
            let mut may_declare = false;
            let (mut spots, mut len) = (Spots::default(), Some(0u32));
            loop {
                let name = DwAt(cursor.uleb()? as u16);
                let form = DwForm(cursor.uleb()? as u16);
                if name.0 == 0 && form.0 == 0 {
                    break;
                }
                let implicit = if form == dw::DW_FORM_implicit_const { cursor.sleb()? } else { 0 };
                match form {
                    dw::DW_FORM_ref_addr => table.refers_across = true,
                    dw::DW_FORM_ref_sig8 => table.refers_by_signature = true,
                    dw::DW_FORM_ref_sup4
                    | dw::DW_FORM_ref_sup8
                    | dw::DW_FORM_strp_sup
                    | dw::DW_FORM_GNU_ref_alt
                    | dw::DW_FORM_GNU_strp_alt => table.refers_outside = true,
                    _ => {}
                }
                let field = Field::of(name);
                may_declare |= field == Field::Declaration;
                let (size, way) = (sizes.of(form), Way::of(form));
                let skip = Step { field: Field::Skip, way, form, size, implicit };
                push(&mut table.skips, first_skip, skip);
                let field = if matters(tag, field) { field } else { Field::Skip };
                let step = Step { field, ..skip };
                if let Some(at) = len {
                    spots.note(&step, at as usize);
                }
                len = len.zip(size).and_then(|(len, size)| len.checked_add(size));
                push(&mut table.steps, first, step);
            }
            // The first definition of a code counts, as in gimli and libdw.
            let (steps, skips) = (first..table.steps.len(), first_skip..table.skips.len());
            let what = What::of(tag);
            let quick = if has_children { None } else { Quick::of(what, len, &spots) };
            let size = len;
            let plan = Plan { tag, what, has_children, may_declare, size, spots, steps, skips };
            if code > 2 * count + GAP || table.far.contains_key(&code) {
                table.far.entry(code).or_insert(plan);
                continue;
            }
            let code = code as usize;
            if table.plans.len() <= code {
                table.plans.resize(code + 1, None);
            }
            if table.plans[code].is_some() {
                continue;
            }
            table.plans[code] = Some(plan);
            if let (Some(place), Some(quick)) = (table.quicks.get_mut(code), quick) {
                *place = quick;
            }
        }
    }

    /// The plan of a code.
    #[inline]
    pub fn get(&self, code: u64) -> gimli::Result<&Plan> {
        match self.plans.get(code as usize) {
            Some(Some(plan)) => Ok(plan),
            _ => self.far.get(&code).ok_or(gimli::Error::InvalidAbbreviationCode(code)),
        }
    }

    /// The steps of a plan.
    #[inline]
    pub fn steps(&self, plan: &Plan) -> &[Step] {
        &self.steps[plan.steps.clone()]
    }

    /// The steps that pass over all attributes.
    #[inline]
    pub fn skips(&self, plan: &Plan) -> &[Step] {
        &self.skips[plan.skips.clone()]
    }
}

/// Adds a step, joining bytes to pass over; those before `first` belong to others.
fn push(steps: &mut Vec<Step>, first: usize, step: Step) {
    if step.field == Field::Skip
        && let Some(more) = step.size
        && let [.., last] = &mut steps[first..]
        && last.field == Field::Skip
        && let Some(size) = &mut last.size
    {
        *size += more;
        return;
    }
    steps.push(step);
}

impl Sizes {
    /// Bytes of a form's value, where it does not depend on the value.
    pub fn of(self, form: DwForm) -> Option<u32> {
        Some(match form {
            dw::DW_FORM_flag_present | dw::DW_FORM_implicit_const => 0,
            dw::DW_FORM_data1
            | dw::DW_FORM_ref1
            | dw::DW_FORM_flag
            | dw::DW_FORM_strx1
            | dw::DW_FORM_addrx1 => 1,
            dw::DW_FORM_data2 | dw::DW_FORM_ref2 | dw::DW_FORM_strx2 | dw::DW_FORM_addrx2 => 2,
            dw::DW_FORM_strx3 | dw::DW_FORM_addrx3 => 3,
            dw::DW_FORM_data4
            | dw::DW_FORM_ref4
            | dw::DW_FORM_strx4
            | dw::DW_FORM_addrx4
            | dw::DW_FORM_ref_sup4 => 4,
            dw::DW_FORM_data8 | dw::DW_FORM_ref8 | dw::DW_FORM_ref_sig8 | dw::DW_FORM_ref_sup8 => 8,
            dw::DW_FORM_data16 => 16,
            dw::DW_FORM_addr => u32::from(self.address),
            dw::DW_FORM_ref_addr if self.version <= 2 => u32::from(self.address),
            dw::DW_FORM_strp
            | dw::DW_FORM_line_strp
            | dw::DW_FORM_sec_offset
            | dw::DW_FORM_ref_addr
            | dw::DW_FORM_strp_sup
            | dw::DW_FORM_GNU_strp_alt
            | dw::DW_FORM_GNU_ref_alt => u32::from(self.format.word_size()),
            _ => return None,
        })
    }
}
