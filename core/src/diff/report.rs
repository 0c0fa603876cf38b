//! What a comparison finds, as values.

use super::index::Class;

/// What happened to a named thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Fate {
    Changed,
    Added,
    Removed,
}

impl Fate {
    /// `changed`, `added`, `removed`.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Changed => "changed",
            Fate::Added => "added",
            Fate::Removed => "removed",
        }
    }
}

/// A named thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is.
    pub class: Class,
    /// Its name; of a nameless type its first elements, as `{ A, B, … }`.
    pub name: String,
    /// What happened.
    pub fate: Fate,
    /// It stands (where removed: stood) in the layer below, not in the one that was compared.
    pub in_base: bool,
    /// The layer below has something else under this name.
    pub shadows: bool,
    /// Its size in bytes before and after; none for what has no size or is not there.
    pub size: [Option<u64>; 2],
    /// As C declares it, before and after: functions, variables and typedefs.
    pub text: [Option<String>; 2],
    /// What exactly changed; never empty for [`Fate::Changed`].
    pub details: Vec<Detail>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// The sort of difference.
    pub what: What,
    /// Of what: member (as a path through nameless structs), value, parameter; else empty.
    pub name: String,
    /// Before.
    pub old: Option<Value>,
    /// After.
    pub new: Option<Value>,
}

/// One side of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Bytes, bits, a value or an index, as the sort of difference says.
    Number(i128),
    /// A name or a type.
    Text(String),
    /// A member.
    Member {
        /// Its type.
        ty: String,
        /// Bits from the start.
        offset: u64,
        /// Bits that it takes.
        bits: u64,
    },
    /// A variable's place.
    Place {
        /// Name of the section.
        section: String,
        /// Bytes from its start.
        offset: u32,
        /// Bytes.
        size: u32,
    },
}

macro_rules! sorts {
    ($($(#[$doc:meta])* $name:ident $word:literal,)*) => {
        /// The sort of a difference.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum What { $($(#[$doc])* $name,)* }

        impl What {
            /// The sort as a word of the schema.
            pub fn word(self) -> &'static str {
                match self { $(What::$name => $word,)* }
            }
        }
    };
}

sorts! {
    /// Bytes of a struct, union, enum, int or float.
    Size "size",
    /// A member that was not there.
    MemberAdded "member-added",
    /// A member that is gone.
    MemberRemoved "member-removed",
    /// Another name at the same place.
    MemberRenamed "member-renamed",
    /// Another type.
    MemberRetyped "member-retyped",
    /// The same type, of another size.
    MemberResized "member-resized",
    /// Another offset.
    MemberMoved "member-moved",
    /// The same members in another order or grouping.
    Arranged "arranged",
    /// A gap behind this member (bits).
    HoleAdded "hole-added",
    /// No gap behind this member any more (bits).
    HoleRemoved "hole-removed",
    /// A gap of another size behind this member (bits).
    HoleResized "hole-resized",
    /// Bits at the end.
    Padding "padding",
    /// It lies on two cache lines now (number of the first).
    CrossingAdded "crossing-added",
    /// It lies on one cache line now (number of the first before).
    CrossingRemoved "crossing-removed",
    /// An enumerator that was not there.
    ValueAdded "value-added",
    /// An enumerator that is gone.
    ValueRemoved "value-removed",
    /// Another name for the same value.
    ValueRenamed "value-renamed",
    /// Another value.
    ValueChanged "value-changed",
    /// Signed (1) or not (0).
    Sign "sign",
    /// The type that a function returns.
    Returns "returns",
    /// A parameter that was not there.
    ParamAdded "param-added",
    /// A parameter that is gone.
    ParamRemoved "param-removed",
    /// Another name.
    ParamRenamed "param-renamed",
    /// Another type.
    ParamRetyped "param-retyped",
    /// Another position.
    ParamMoved "param-moved",
    /// 0 static, 1 global, 2 extern.
    Linkage "linkage",
    /// What a typedef or variable is.
    Type "type",
    /// Where a variable lies.
    Place "place",
    /// A declaration tag that was not there.
    TagAdded "tag-added",
    /// A declaration tag that is gone.
    TagRemoved "tag-removed",
    /// Encoding and width of an int, as BTF packs them.
    Encoding "encoding",
}
