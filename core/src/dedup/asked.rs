//! What a run asked of its base.
//!
//! A run is decided by its types and by what it finds in the base. Over another base where it finds the
//! same, it does the same, and its result is the same but for ids and string offsets. [`Asked`] is what
//! has to be the same there:
//!
//! * each type that it looked at or took: there has to be one that says the same; or of a struct or union
//!   of which nothing but its name mattered, the only one of that name;
//! * where the base has several candidates under one key, all of them in their order;
//! * that the table does not double while the run's types enter it: that turns the order around in
//!   which candidates of the run and of the base are tried.
//!
//! Whether the other base has more than that to be found is for the caller to see.
//!
//! Cost: a bit is set for each type of the base that is compared; 12 kB a run over a kernel's base.

use super::Base;
use super::base::Named;
use super::graph::Run;
use super::table::{self, Labels, Overlay};
use crate::bits::Bits;
use crate::btf::{Kind, Type};

/// What has to be the same in another base. Ids ascend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Types that were looked at or taken.
    pub types: Vec<u32>,
    /// Structs and unions that were told by their names.
    pub named: Vec<u32>,
    /// Functions that were taken.
    pub functions: Vec<u32>,
    /// The first ones tried of candidates under one key.
    pub rows: Vec<u32>,
    /// How many types entered the table.
    pub inserted: u32,
}

/// What a run under way has asked.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Void where nobody wants to know.
    looked: Bits,
    /// Types of which it mattered which they are, and not what.
    met: Bits,
    rows: Vec<u32>,
    /// Something else decided as well.
    unsure: bool,
}

impl Asking {
    pub fn of(base: &Base, labels: Labels) -> Asking {
        let none = Bits::below(base.btf().next_id() as usize);
        let (looked, met, unsure) = (none.clone(), none, labels == Labels::Without);
        Asking { looked, met, rows: Vec::new(), unsure }
    }

    /// The run looks at this type; those of the run itself do not matter.
    #[inline]
    pub fn look(&mut self, id: u32) {
        self.looked.insert(id);
    }

    /// The run meets this type, and sees by its id or name which it is.
    #[inline]
    pub fn meet(&mut self, id: u32) {
        self.met.insert(id);
    }

    /// The run tries several candidates of the base, this one first.
    pub fn row(&mut self, first: u32) {
        if !self.looked.is_void() {
            self.rows.push(first);
        }
    }

    /// The run asks which composite has a name.
    pub fn named(&mut self, named: Option<Named>) {
        match named {
            Some(Named::Unique(id)) => self.meet(id),
            Some(Named::Ambiguous) => self.unsure = true,
            None => {}
        }
    }

    /// The run takes the first of whatever there is.
    pub fn any(&mut self) {
        self.unsure = true;
    }
}

impl Run<'_> {
    /// What was asked, once all is decided; `None` where it does not tell how the run went.
    pub fn asked(&mut self) -> Option<Asked> {
        let Asking { looked, mut met, mut rows, unsure } = std::mem::take(&mut self.asking);
        let (growth, before) = (self.table.growth(), self.base?.table.growth());
        if unsure || looked.is_void() || growth.doublings != before.doublings {
            return None;
        }
        rows.sort_unstable();
        rows.dedup();
        let (mut types, mut named, mut functions) = (Vec::new(), Vec::new(), Vec::new());
        met.insert_all(&looked);
        for id in met.iter().filter(|&id| id != 0 && id < self.first) {
            let kind = self.kind(id);
            if kind == Kind::Func {
                functions.push(id);
            } else if !looked.contains(id) && kind.is_composite() && self.ty(id).name() != 0 {
                named.push(id);
            } else {
                types.push(id);
            }
        }
        Some(Asked { types, named, functions, rows, inserted: growth.entries - before.entries })
    }
}

impl Base {
    /// Whether candidates are tried here in the order in which a run over `old` tried them that asked
    /// this; `id` leads from types of the old base to those here that say the same.
    pub fn keeps_order(&self, old: &Base, asked: &Asked, id: impl Fn(u32) -> Option<u32>) -> bool {
        let same_row = |&first: &u32| {
            id(first).is_some_and(|here| old.row(first).map(&id).eq(self.row(here).map(Some)))
        };
        self.labels == Labels::With
            && self.table.growth().has_room(asked.inserted)
            && asked.rows.iter().all(same_row)
    }

    /// The candidates under the key of a type of this base, in the order in which they are tried.
    fn row(&self, id: u32) -> impl Iterator<Item = u32> {
        let types = &self.btf().types;
        let ty = |id: u32| match id.checked_sub(1) {
            Some(index) => types.get(index as usize),
            None => Type::VOID,
        };
        let kind = ty(id).kind().unwrap_or(Kind::Void);
        let table = Overlay::new(Some(&self.table));
        let mut scan = table.scan(table::keys(ty(id), kind, self.labels, ty).main);
        std::iter::from_fn(move || table.next(&mut scan)).map(|candidate| candidate.id)
    }
}
