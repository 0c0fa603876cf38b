//! A symbol table, read whole.

use super::{ElfError, Image, Result, Section};
use crate::btf::strings;
use object::elf;

/// No name is twice as long. A million symbols can share the end of one.
const LONG_NAME: usize = 16 << 10;

/// One symbol, the same for both classes.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    name: u32,
    info: u8,
    /// Section index, extended indexes resolved; reserved ones (`SHN_ABS`, ...) as they are.
    pub section: u32,
    /// Value: an offset in its section in a relocatable file, else an address.
    pub value: u64,
    /// Size in bytes.
    pub size: u64,
}

impl Symbol {
    /// `STT_*`.
    pub fn kind(&self) -> elf::SymbolType {
        elf::SymbolType(self.info & 0xf)
    }
}

/// All symbols of a table and their names.
#[derive(Debug, Default)]
pub struct Symbols {
    list: Vec<Symbol>,
    names: Vec<u8>,
}

impl Symbols {
    pub(super) fn read(image: &Image, table: &Section) -> Result<Symbols> {
        let bytes = image.read(table)?;
        let names = match image.sections.get(table.link as usize) {
            Some(strtab) if strtab.kind == elf::SHT_STRTAB => image.read(strtab)?,
            _ => return Err(ElfError::Malformed("its .symtab has no string table".into())),
        };
        if strings::has_long(&names, LONG_NAME) {
            return Err(ElfError::Malformed("a symbol's name is longer than 16 KiB".into()));
        }
        let extended = image
            .sections
            .iter()
            .find(|s| s.kind == elf::SHT_SYMTAB_SHNDX && s.link as usize == table.index)
            .map(|s| image.read(s))
            .transpose()?;
        let n = |bytes: &[u8]| image.number(bytes);
        let entry = if image.is_64 { 24 } else { 16 };
        let list = bytes
            .chunks_exact(entry)
            .enumerate()
            .map(|(i, s)| {
                let (info, index, value, size) = if image.is_64 {
                    (s[4], &s[6..8], &s[8..16], &s[16..24])
                } else {
                    (s[12], &s[14..16], &s[4..8], &s[8..12])
                };
                let mut section = n(index) as u32;
                if section == u32::from(elf::SHN_XINDEX.0)
                    && let Some(word) = extended.as_ref().and_then(|x| x.get(i * 4..i * 4 + 4))
                {
                    section = n(word) as u32;
                }
                Symbol { name: n(&s[..4]) as u32, info, section, value: n(value), size: n(size) }
            })
            .collect();
        Ok(Symbols { list, names })
    }

    /// The symbols in table order, the null symbol first.
    pub fn iter(&self) -> impl Iterator<Item = &Symbol> {
        self.list.iter()
    }

    /// The symbol at a table index.
    pub fn get(&self, index: u32) -> Option<&Symbol> {
        self.list.get(index as usize)
    }

    /// The name of a symbol.
    pub fn name(&self, symbol: &Symbol) -> &[u8] {
        strings::at(&self.names, symbol.name)
    }
}
