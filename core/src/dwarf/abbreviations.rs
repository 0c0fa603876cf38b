//! Abbreviations, compiled: what to read of each kind of DIE, and how many bytes to pass over.
//!
//! A kernel module's DIEs are read millions at a time through a few hundred abbreviations, so which
//! attributes matter, where they stand and how long a DIE is are worked out once per abbreviation.
//! Where the size of some attribute is told by its value, the DIE is gone through in steps:
//! neighbours of fixed size that do not matter are one step. gimli reads the same DIEs attribute by
//! attribute at several times the cost; tests hold the two against each other.

use super::annotations::GNU_ANNOTATION;
use super::bytes::Cursor;
use super::quick::{Quick, Short};
use gimli::constants as dw;
use gimli::{DwAt, DwForm, DwTag, Format};

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
    /// A string that stands in the DIE.
    String,
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
            dw::DW_FORM_string => Way::String,
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
#[derive(Debug)]
pub(super) struct Plan {
    pub tag: DwTag,
    pub what: What,
    pub has_children: bool,
    /// The DIE may be a declaration that another one completes.
    pub may_declare: bool,
    /// Bytes behind the code, where the forms alone tell; then all spots are right as well.
    pub size: Option<u32>,
    pub spots: Spots,
    /// How it is read where it is short.
    pub quick: Option<Quick>,
    pub steps: Box<[Step]>,
    /// The same attributes, all to be passed over; none where the forms alone tell the size.
    pub skips: Box<[Step]>,
    /// Where its references lead.
    pub refers: Refers,
}

/// Where references lead besides to DIEs of the unit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refers {
    /// To DIEs of other units.
    pub across: bool,
    /// To a type by its signature.
    pub by_signature: bool,
    /// To a supplementary file.
    pub outside: bool,
    /// To something by its number in a table of another section.
    pub by_number: bool,
}

impl Refers {
    fn note(&mut self, form: DwForm) {
        match form {
            dw::DW_FORM_ref_addr => self.across = true,
            dw::DW_FORM_ref_sig8 => self.by_signature = true,
            dw::DW_FORM_ref_sup4
            | dw::DW_FORM_ref_sup8
            | dw::DW_FORM_strp_sup
            | dw::DW_FORM_GNU_ref_alt
            | dw::DW_FORM_GNU_strp_alt => self.outside = true,
            dw::DW_FORM_strx
            | dw::DW_FORM_strx1
            | dw::DW_FORM_strx2
            | dw::DW_FORM_strx3
            | dw::DW_FORM_strx4
            | dw::DW_FORM_addrx
            | dw::DW_FORM_addrx1
            | dw::DW_FORM_addrx2
            | dw::DW_FORM_addrx3
            | dw::DW_FORM_addrx4
            | dw::DW_FORM_loclistx
            | dw::DW_FORM_indirect
            | dw::DW_FORM_GNU_addr_index
            | dw::DW_FORM_GNU_str_index => self.by_number = true,
            _ => {}
        }
    }

    /// Adds where others lead.
    pub fn add(&mut self, other: Refers) {
        self.across |= other.across;
        self.by_signature |= other.by_signature;
        self.outside |= other.outside;
        self.by_number |= other.by_number;
    }
}

/// An attribute as an abbreviation declares it: name, form, and the value where it stands there.
type Declared = (DwAt, DwForm, i64);

/// The next attribute of an abbreviation; `None` behind the last one.
#[inline]
pub(super) fn attribute(cursor: &mut Cursor<'_>) -> gimli::Result<Option<Declared>> {
    let name = DwAt(cursor.uleb()? as u16);
    let form = DwForm(cursor.uleb()? as u16);
    if name.0 == 0 && form.0 == 0 {
        return Ok(None);
    }
    let implicit = if form == dw::DW_FORM_implicit_const { cursor.sleb()? } else { 0 };
    Ok(Some((name, form, implicit)))
}

impl Plan {
    /// Compiles what follows the code of an abbreviation: tag, children and attributes. Its steps are
    /// put together in `steps`.
    pub fn compile(
        mut cursor: Cursor<'_>,
        sizes: Sizes,
        steps: &mut Vec<Step>,
    ) -> gimli::Result<Plan> {
        let tag = DwTag(cursor.uleb()? as u16);
        let has_children = cursor.u8()? != 0;
        steps.clear();
        let (mut may_declare, mut refers) = (false, Refers::default());
        let (mut spots, mut len) = (Spots::default(), Some(0u32));
        let mut inline = false;
        while let Some((name, form, implicit)) = attribute(&mut cursor)? {
            refers.note(form);
            let field = Field::of(name);
            may_declare |= field == Field::Declaration;
            let (size, way) = (sizes.of(form), Way::of(form));
            let field = if matters(tag, field) { field } else { Field::Skip };
            let step = Step { field, way, form, size, implicit };
            if let Some(at) = len {
                spots.note(&step, at as usize);
            }
            // Behind a name that comes first, places are told from its end.
            let is_inline = steps.is_empty() && field == Field::Name && form == dw::DW_FORM_string;
            inline |= is_inline;
            let size = if is_inline { Some(0) } else { size };
            len = len.zip(size).and_then(|(len, size)| len.checked_add(size));
            push(steps, 0, step);
        }
        let what = What::of(tag);
        let read = steps.len();
        let mut quick = len.and_then(|len| {
            let die = Short { what, has_children, len, inline, spots: &spots, steps };
            Quick::of(&die)
        });
        let size = if inline { None } else { len };
        let passes = match what {
            What::Variable => !may_declare,
            What::Block | What::Inlined | What::Call => true,
            _ => false,
        };
        if size.is_none() || quick.is_none() && passes {
            for at in 0..read {
                let step = Step { field: Field::Skip, ..steps[at] };
                push(steps, read, step);
            }
            if passes {
                quick = quick.or_else(|| Quick::passed(what, has_children, &steps[read..]));
            }
        }
        let (steps, skips) = steps.split_at(read);
        let (steps, skips) = (steps.into(), skips.into());
        Ok(Plan { tag, what, has_children, may_declare, size, spots, quick, steps, skips, refers })
    }
}

/// What the sizes of forms depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sizes {
    pub version: u16,
    pub format: Format,
    pub address: u8,
}

/// Adds a step to those that begin at `first`, joining bytes to pass over.
#[inline]
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
