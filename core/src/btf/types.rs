//! Types as flat words in host byte order, exactly as the format lays them out.
//!
//! One `Vec<u32>` holds all types of one layer, a second one where each type starts. Reading a
//! type is two loads; appending is a copy. Nothing here looks at what names or ids mean.

use super::kind::Kind;

/// Bit 31 of the info word.
pub const KFLAG: u32 = 1 << 31;
/// Largest number of elements of a type (24 bits since 2026; 16 before).
pub const MAX_VLEN: u32 = 0x00ff_ffff;

/// Packs an info word.
#[inline]
pub const fn info(kind: Kind, vlen: u32, kflag: bool) -> u32 {
    (kind as u32) << 24 | vlen | if kflag { KFLAG } else { 0 }
}

/// The types of one layer, in id order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    words: Vec<u32>,
    /// Word index of each type, and the end as last entry once there is a type.
    starts: Vec<u32>,
}

impl Types {
    /// No types.
    pub const fn new() -> Types {
        Types { words: Vec::new(), starts: Vec::new() }
    }

    /// Number of types.
    #[inline]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no type.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// All words, type after type.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Appends a type given as its words and returns its index.
    #[inline]
    pub fn push(&mut self, words: &[u32]) -> usize {
        self.begin();
        self.words.extend_from_slice(words);
        self.len() - 1
    }

    /// Starts a type; its words follow through [`Types::word`].
    #[inline]
    pub fn begin(&mut self) {
        self.starts.push(self.words.len() as u32);
    }

    /// Appends one word to the type begun last.
    #[inline]
    pub fn word(&mut self, word: u32) {
        self.words.push(word);
    }

    /// Appends all types of `other`.
    pub fn append(&mut self, other: &Types) {
        let at = self.words.len() as u32;
        self.starts.extend(other.starts.iter().map(|s| s + at));
        self.words.extend_from_slice(&other.words);
    }

    #[inline]
    fn range(&self, index: usize) -> std::ops::Range<usize> {
        let end = self.starts.get(index + 1).map_or(self.words.len(), |&e| e as usize);
        self.starts[index] as usize..end
    }

    /// The type at `index` (not id: the first type of a layer has index 0).
    #[inline]
    pub fn get(&self, index: usize) -> Type<'_> {
        Type(&self.words[self.range(index)])
    }

    /// The words of the type at `index`, to change fields in place.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> &mut [u32] {
        let range = self.range(index);
        &mut self.words[range]
    }

    /// The types in id order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Type<'_>> + '_ {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Cuts the layer back to its first `len` types.
    pub fn truncate(&mut self, len: usize) {
        if let Some(&start) = self.starts.get(len) {
            self.words.truncate(start as usize);
            self.starts.truncate(len);
        }
    }

    /// Reserves room for `types` types of `words` words altogether.
    pub fn reserve(&mut self, types: usize, words: usize) {
        self.starts.reserve(types);
        self.words.reserve(words);
    }
}

/// One type: a view on its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type<'a>(pub &'a [u32]);

impl<'a> Type<'a> {
    /// Type 0, which no layer contains.
    pub const VOID: Type<'static> = Type(&[0; 3]);

    /// String offset of the name, 0 for none.
    #[inline]
    pub fn name(self) -> u32 {
        self.0[0]
    }

    /// Kind, vlen and kind flag, packed.
    #[inline]
    pub fn info(self) -> u32 {
        self.0[1]
    }

    /// Number of the kind; [`Type::kind`] is `None` when the format does not define it.
    #[inline]
    pub fn kind_value(self) -> u32 {
        self.0[1] >> 24 & 0x7f
    }

    /// The kind.
    #[inline]
    pub fn kind(self) -> Option<Kind> {
        Kind::from_u32(self.kind_value())
    }

    /// Number of elements (linkage for FUNC).
    #[inline]
    pub fn vlen(self) -> u32 {
        self.0[1] & MAX_VLEN
    }

    /// The kind flag: bitfields (struct, union), signed (enum), union (FWD), attribute (tags).
    #[inline]
    pub fn kflag(self) -> bool {
        self.0[1] & KFLAG != 0
    }

    /// The third word: a size in bytes or a type id, as the kind says.
    #[inline]
    pub fn size_or_type(self) -> u32 {
        self.0[2]
    }

    /// The words after the three header words.
    #[inline]
    pub fn payload(self) -> &'a [u32] {
        &self.0[3..]
    }

    /// The elements (members, values, parameters, section entries), each a slice of words.
    #[inline]
    pub fn elements(self) -> std::slice::ChunksExact<'a, u32> {
        let shape = self.kind().unwrap_or(Kind::Void).shape();
        self.0[3 + shape.fixed..].chunks_exact(shape.elem.max(1))
    }

    /// Every type id in the type, in the order in which the words stand.
    #[inline]
    pub fn for_each_id(self, mut f: impl FnMut(u32)) {
        let shape = self.kind().unwrap_or(Kind::Void).shape();
        if shape.refers {
            f(self.0[2]);
        }
        for &id in shape.fixed_ids {
            f(self.0[3 + id]);
        }
        let Some(id) = shape.elem_id else { return };
        let elements = &self.0[3 + shape.fixed..];
        // Lengths that are known spare a division.
        match shape.elem {
            3 => elements.as_chunks::<3>().0.iter().for_each(|element| f(element[id])),
            _ => elements.chunks_exact(shape.elem).for_each(|element| f(element[id])),
        }
    }

    /// Every string offset in the type: own name first, then the elements'.
    pub fn for_each_name(self, mut f: impl FnMut(u32)) {
        f(self.name());
        if let Some(name) = self.kind().and_then(|kind| kind.shape().elem_name) {
            self.elements().for_each(|element| f(element[name]));
        }
    }
}

/// Replaces every type id in the words of one type by what `f` makes of it.
#[inline]
pub fn map_ids(words: &mut [u32], mut f: impl FnMut(u32) -> u32) {
    let Some(kind) = Kind::from_u32(words[1] >> 24 & 0x7f) else { return };
    let shape = kind.shape();
    if shape.refers {
        words[2] = f(words[2]);
    }
    for &id in shape.fixed_ids {
        words[3 + id] = f(words[3 + id]);
    }
    if let Some(id) = shape.elem_id {
        let elements = &mut words[3 + shape.fixed..];
        // A length that is known spares a division.
        match shape.elem {
            3 => elements.as_chunks_mut::<3>().0.iter_mut().for_each(|e| e[id] = f(e[id])),
            len => elements.chunks_exact_mut(len).for_each(|e| e[id] = f(e[id])),
        }
    }
}

/// Replaces every string offset in the words of one type by what `f` makes of it.
#[inline]
pub fn map_names(words: &mut [u32], mut f: impl FnMut(u32) -> u32) {
    words[0] = f(words[0]);
    let Some(kind) = Kind::from_u32(words[1] >> 24 & 0x7f) else { return };
    let shape = kind.shape();
    if let Some(name) = shape.elem_name {
        for elem in words[3 + shape.fixed..].chunks_exact_mut(shape.elem) {
            elem[name] = f(elem[name]);
        }
    }
}

/// Positions of all type ids in the words of one type, in order. Does not borrow the words, so that
/// they can be changed on the way.
#[inline]
pub fn id_positions(words: &[u32]) -> impl Iterator<Item = usize> + use<> {
    let shape = Kind::from_u32(words[1] >> 24 & 0x7f).unwrap_or(Kind::Void).shape();
    let elements = shape.elem_id.map_or(0..0, |id| 3 + shape.fixed + id..words.len());
    shape
        .refers
        .then_some(2)
        .into_iter()
        .chain(shape.fixed_ids.iter().map(|id| 3 + id))
        .chain(elements.step_by(shape.elem.max(1)))
}
