//! Survivors move together and get their final ids; every reference follows.

use super::Stats;
use super::graph::Run;
use crate::btf::Types;
use crate::btf::types::map_ids;

impl Run<'_> {
    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The id that stands for each type of the split layer once it is compact.
    pub fn places(&self) -> Vec<u32> {
        let mut next = self.first;
        let mut places = vec![0; self.split.len()];
        for (index, id) in self.own_ids().enumerate() {
            if self.mapped(id) == id {
                places[index] = next;
                next += 1;
            }
        }
        for (index, id) in self.own_ids().enumerate() {
            if places[index] == 0 {
                let canonical = self.resolve(id);
                places[index] = match canonical.checked_sub(self.first) {
                    Some(own) => places[own as usize],
                    None => canonical,
                };
            }
        }
        places
    }

    /// The types that stand for themselves, in their order. Cost: one pass over them.
    pub fn compact(self) -> Types {
        let mut final_ids = vec![0u32; self.split.len()];
        let (mut count, mut words) = (0u32, 0);
        for (index, id) in self.own_ids().enumerate() {
            if self.mapped(id) == id {
                final_ids[index] = self.first + count;
                count += 1;
                words += self.split.get(index).0.len();
            }
        }
        let mut types = Types::new();
        types.reserve(count as usize, words);
        for (index, id) in self.own_ids().enumerate() {
            if self.mapped(id) != id {
                continue;
            }
            let at = types.push(self.split.get(index).0);
            map_ids(types.get_mut(at), |id| {
                let canonical = self.resolve(id);
                match canonical.checked_sub(self.first) {
                    Some(index) => final_ids[index as usize],
                    None => canonical,
                }
            });
        }
        types
    }
}
