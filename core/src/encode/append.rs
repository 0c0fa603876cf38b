//! CUs one after the other: their names become string offsets, their ids file-wide.

use super::functions::Skipped;
use super::notes::Notes;
use super::variables::{Placed, Rules, Sections};
use super::{EncodeError, Features, FunctionTable, functions};
use crate::btf::kind::Kind;
use crate::btf::strings::Interner;
use crate::btf::types::{info, map_ids, map_names};
use crate::btf::{Btf, Endian};
use crate::dedup::Base;
use crate::dwarf::{Cu, Function};

/// Kinds whose types BTF does not take without a name.
fn needs_name(info: u32) -> bool {
    matches!(
        Kind::from_u32(info >> 24 & 0x7f),
        Some(Kind::Int | Kind::Float | Kind::Typedef | Kind::Fwd | Kind::TypeTag)
    )
}

/// The types of a file, growing CU by CU.
pub(super) struct File<'base> {
    btf: Btf,
    strings: Interner<'base>,
    /// The type that indexes all arrays: the first `int` of the file.
    int: Option<u32>,
    functions: Vec<Function>,
    sections: Sections,
    notes: Notes,
}

impl<'base> File<'base> {
    pub fn new(base: Option<&'base Base>, endian: Endian) -> File<'base> {
        File {
            btf: Btf::empty(endian, base.map(Base::btf)),
            strings: base.map_or_else(|| Interner::new(None), Base::interner),
            int: None,
            functions: Vec::new(),
            sections: Sections::new(),
            notes: Notes::default(),
        }
    }

    /// Appends one CU. Names are interned in the order in which pahole meets them.
    pub fn append(&mut self, mut cu: Cu<'_>, vars: &Rules<'_>) -> Result<(), EncodeError> {
        let before = self.btf.next_id() - 1;
        let id = |local: u32| if local == 0 { 0 } else { before + local };
        let (of_types, of_rest) = cu.strings.split_at(cu.type_names);
        let mut offsets = Vec::with_capacity(cu.strings.len() + 1);
        offsets.push(0);
        offsets.extend(of_types.iter().map(|&(text, hash)| self.strings.intern_hashed(text, hash)));
        if self.strings.is_full() {
            return Err(no_room());
        }

        let mut index_type = self.int;
        if index_type.is_none() && cu.int != 0 {
            self.int = Some(id(cu.int));
            index_type = self.int;
        }
        let made_int = index_type.is_none() && cu.has_arrays;
        let made = before + cu.types.len() as u32 + 1;
        let index_type = index_type.unwrap_or(made);
        for i in 0..cu.types.len() {
            let words = cu.types.get_mut(i);
            map_names(words, |name| offsets[name as usize]);
            if words[0] == 0 && needs_name(words[1]) {
                let what = "a base type, typedef, tag or forward declaration has an empty name";
                return Err(EncodeError::Content(format!("{what}, which BTF demands")));
            }
            map_ids(
                words,
                |local| if local == crate::dwarf::FILE_INT { index_type } else { id(local) },
            );
        }
        self.btf.types.append(&cu.types);
        if made_int {
            const SIGNED_32: u32 = 1 << 24 | 32;
            let name = self.strings.intern(b"int");
            self.btf.types.push(&[name, info(Kind::Int, 0, false), 4, SIGNED_32]);
            self.int = Some(made);
        }

        offsets.extend(of_rest.iter().map(|&(text, hash)| self.strings.intern_hashed(text, hash)));
        for tag in &cu.tags {
            self.tag(offsets[tag.value as usize], id(tag.target), tag.component);
        }
        self.functions.extend(cu.functions.drain(..).map(|mut f| {
            f.ret = id(f.ret);
            for param in &mut f.params {
                param.name = offsets[param.name as usize];
                param.ty = id(param.ty);
            }
            for tag in &mut f.tags {
                tag.value = offsets[tag.value as usize];
            }
            f
        }));
        for v in &cu.variables {
            let Some((section, offset, size)) = vars.place(v).map_err(EncodeError::Content)? else {
                continue;
            };
            let name = self.strings.intern(v.name);
            let var = self.btf.next_id();
            self.btf.types.push(&[name, info(Kind::Var, 0, false), id(v.ty), v.external.into()]);
            for text in &v.tags {
                let value = self.strings.intern(text);
                self.tag(value, var, -1);
            }
            self.sections.entry(section).or_default().push(Placed { id: var, offset, size });
        }
        self.notes.add(&cu);
        Ok(())
    }

    fn tag(&mut self, value: u32, target: u32, component: i32) {
        self.btf.types.push(&[value, info(Kind::DeclTag, 0, false), target, component as u32]);
    }

    /// Emits functions and sections; the types are complete then, but not deduplicated.
    pub fn finish(
        mut self,
        known: &FunctionTable<'_>,
        vars: &Rules<'_>,
        features: &Features,
    ) -> Result<(Btf, Vec<String>, Vec<Skipped>), EncodeError> {
        let first_id = self.btf.first_id;
        let types = &mut self.btf.types;
        let strings = &mut self.strings;
        let intern = |s: &[u8]| strings.intern(s);
        let skipped = functions::emit(self.functions, known, features, types, first_id, intern)
            .map_err(EncodeError::Content)?;
        vars.emit(self.sections, types, |s| strings.intern(s));
        if strings.is_full() {
            return Err(no_room());
        }
        self.btf.strings = self.strings.into_bytes();
        Ok((self.btf, self.notes.into_lines(), skipped))
    }
}

fn no_room() -> EncodeError {
    EncodeError::Content("its names take more room than the strings of a BTF have".into())
}
