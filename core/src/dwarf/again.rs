//! Types that are read again, one by one, from where their DIEs stand.
//!
//! Where types are told apart by identity, a twentieth of them is ever written down. Cost: that of
//! reading the DIE and its children.

use super::Result;
use super::unit::Group;
use super::walk;
use crate::btf::types::map_ids;
use crate::features::Features;
use crate::identity::Links;

/// The types of a group that has been sketched.
#[derive(Debug)]
pub struct Again<'d> {
    pub(super) group: &'d Group<'d>,
    pub(super) features: &'d Features,
    /// Where the DIEs stand in the group, by position of their types.
    pub(super) places: Vec<u32>,
}

impl Again<'_> {
    /// Number of types.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no type.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Writes the type at `index` into `words`, which are empty; `links` are those of the sketch.
    pub fn write(&self, index: usize, links: &Links, words: &mut Vec<u32>) -> Result<()> {
        walk::one(self.group, self.features, self.places[index], words)?;
        let mut links = links.of(index).iter();
        map_ids(words, |_| links.next().copied().unwrap_or(0));
        Ok(())
    }
}
