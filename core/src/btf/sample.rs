//! BTF for tests, written in code.

use super::types::info;
use super::{Btf, Endian, Kind};

/// BTF written type by type; ids count from 1.
pub struct Maker {
    pub btf: Btf,
}

impl Maker {
    pub fn new() -> Maker {
        Maker { btf: Btf::empty(Endian::Little, None) }
    }

    /// A layer on top of `base`; ids and strings continue.
    pub fn on(base: &Btf) -> Maker {
        Maker { btf: Btf::empty(Endian::Little, Some(base)) }
    }

    pub fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.btf.next_string();
        self.btf.strings.extend_from_slice(name.as_bytes());
        self.btf.strings.push(0);
        at
    }

    pub fn add(&mut self, kind: Kind, name: &str, vlen: u32, third: u32, rest: &[u32]) -> u32 {
        self.add_flagged(kind, name, vlen, false, third, rest)
    }

    pub fn add_flagged(
        &mut self,
        kind: Kind,
        name: &str,
        vlen: u32,
        kflag: bool,
        third: u32,
        rest: &[u32],
    ) -> u32 {
        let mut words = vec![self.name(name), info(kind, vlen, kflag), third];
        words.extend(rest);
        self.btf.first_id + self.btf.types.push(&words) as u32
    }

    pub fn int(&mut self, name: &str, size: u32) -> u32 {
        self.add(Kind::Int, name, 0, size, &[size * 8])
    }

    pub fn refer(&mut self, kind: Kind, name: &str, target: u32) -> u32 {
        self.add(kind, name, 0, target, &[])
    }

    /// Members as (name, type, bit offset, bitfield width).
    pub fn composite(
        &mut self,
        kind: Kind,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let kflag = members.iter().any(|m| m.3 > 0);
        let mut words = Vec::new();
        for &(name, ty, offset, width) in members {
            words.extend([self.name(name), ty, offset | width << 24]);
        }
        self.add_flagged(kind, name, members.len() as u32, kflag, size, &words)
    }
}
