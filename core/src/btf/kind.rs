//! The kinds of BTF types and what follows their three header words.
//!
//! Everything that depends on a kind's layout goes through this table, so that a new kind is a
//! new line here and nowhere else. Source: `Documentation/bpf/btf.rst` of the kernel.

/// Kind of a BTF type, with its number in the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    Void = 0,
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
}

/// Number of kinds, [`Kind::Void`] included.
pub const KINDS: usize = 20;

impl Kind {
    /// The kind with this number, if the format defines it.
    pub const fn from_u32(n: u32) -> Option<Kind> {
        use Kind::*;
        const ALL: [Kind; KINDS] = [
            Void, Int, Ptr, Array, Struct, Union, Enum, Fwd, Typedef, Volatile, Const, Restrict,
            Func, FuncProto, Var, Datasec, Float, DeclTag, TypeTag, Enum64,
        ];
        if (n as usize) < KINDS { Some(ALL[n as usize]) } else { None }
    }

    /// How the words of this kind are laid out.
    #[inline]
    pub const fn shape(self) -> &'static Shape {
        &SHAPES[self as usize]
    }

    /// The name that bpftool prints, in capitals.
    pub const fn name(self) -> &'static str {
        self.shape().name
    }

    /// The kind with this name, in capitals or not.
    pub fn from_name(name: &str) -> Option<Kind> {
        (0..KINDS as u32)
            .filter_map(Kind::from_u32)
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Struct or union.
    #[inline]
    pub const fn is_composite(self) -> bool {
        matches!(self, Kind::Struct | Kind::Union)
    }

    /// Enum or enum64.
    #[inline]
    pub const fn is_enum(self) -> bool {
        matches!(self, Kind::Enum | Kind::Enum64)
    }

    /// Const, volatile, restrict, typedef or type tag: names or qualifies another type.
    #[inline]
    pub const fn is_modifier(self) -> bool {
        matches!(
            self,
            Kind::Const | Kind::Volatile | Kind::Restrict | Kind::Typedef | Kind::TypeTag
        )
    }
}

/// Words of one kind: three header words, `fixed` words, then `vlen` elements of `elem` words.
#[derive(Debug)]
pub struct Shape {
    /// Name in capitals, as bpftool prints it.
    pub name: &'static str,
    /// The third header word is a type id (else a size).
    pub refers: bool,
    /// Words that always follow the header.
    pub fixed: usize,
    /// Words of one element.
    pub elem: usize,
    /// Which of the fixed words are type ids.
    pub fixed_ids: &'static [usize],
    /// Which word of an element is a name, if any.
    pub elem_name: Option<usize>,
    /// Which word of an element is a type id, if any.
    pub elem_id: Option<usize>,
}

const fn shape(name: &'static str, refers: bool, fixed: usize, elem: usize) -> Shape {
    Shape { name, refers, fixed, elem, fixed_ids: &[], elem_name: None, elem_id: None }
}

const fn composite(name: &'static str) -> Shape {
    Shape { elem_name: Some(0), elem_id: Some(1), ..shape(name, false, 0, 3) }
}

static SHAPES: [Shape; KINDS] = [
    shape("VOID", false, 0, 0),
    shape("INT", false, 1, 0),
    shape("PTR", true, 0, 0),
    Shape { fixed_ids: &[0, 1], ..shape("ARRAY", false, 3, 0) },
    composite("STRUCT"),
    composite("UNION"),
    Shape { elem_name: Some(0), ..shape("ENUM", false, 0, 2) },
    // libbpf rewrites the third word of a FWD as an id; it is 0 in every BTF that tools write.
    shape("FWD", true, 0, 0),
    shape("TYPEDEF", true, 0, 0),
    shape("VOLATILE", true, 0, 0),
    shape("CONST", true, 0, 0),
    shape("RESTRICT", true, 0, 0),
    // The vlen of a FUNC is its linkage; no element follows.
    shape("FUNC", true, 0, 0),
    Shape { elem_name: Some(0), elem_id: Some(1), ..shape("FUNC_PROTO", true, 0, 2) },
    shape("VAR", true, 1, 0),
    Shape { elem_id: Some(0), ..shape("DATASEC", false, 0, 3) },
    shape("FLOAT", false, 0, 0),
    shape("DECL_TAG", true, 1, 0),
    shape("TYPE_TAG", true, 0, 0),
    Shape { elem_name: Some(0), ..shape("ENUM64", false, 0, 3) },
];
