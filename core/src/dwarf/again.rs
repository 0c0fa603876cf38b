//! Types that are read again, one by one, from where their DIEs stand.
//!
//! Where types are told apart by identity, a twentieth of them is ever written down. Cost: that of
//! reading the DIE and its children.

use super::Result;
use super::cu::Written;
use super::read::{self, One};
use super::unit::Group;
use crate::btf::types::map_ids;
use crate::features::Features;
use crate::target::Target;
use std::fmt;
use std::sync::Arc;

/// Bytes that are read again, by those of the group: types within types are read with each of them.
const AGAIN: usize = 2;

/// The types of a group that has been sketched.
pub struct Again<'d> {
    group: &'d Group<'d>,
    features: &'d Features,
    /// From the first one on.
    reader: Option<Box<One<'d>>>,
    /// Where the DIEs stand in the group, by position of their types.
    places: Arc<Vec<u32>>,
    /// How many more bytes are read.
    left: usize,
}

impl fmt::Debug for Again<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").field("places", &self.places).finish_non_exhaustive()
    }
}

impl<'d> Again<'d> {
    pub(super) fn new(
        group: &'d Group<'d>,
        features: &'d Features,
        places: Arc<Vec<u32>>,
    ) -> Again<'d> {
        Again { group, features, reader: None, places, left: AGAIN * group.size() }
    }

    /// Where the DIEs stand in the group.
    pub(super) fn places(&self) -> Arc<Vec<u32>> {
        Arc::clone(&self.places)
    }

    /// Number of types.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no type.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Writes the type at `index` into `words`, which are empty; `links` is what it refers to.
    ///
    /// Where it would be too much to read, gives all types, written down.
    pub fn write(
        &mut self,
        index: usize,
        links: &[u32],
        words: &mut Vec<u32>,
    ) -> Result<Option<Written<'d>>> {
        let new = || Box::new(One::of(self.group, self.features));
        let read = self.reader.get_or_insert_with(new).read(self.places[index], words)?;
        let mut links = links.iter();
        map_ids(words, |_| links.next().copied().unwrap_or(0));
        match self.left.checked_sub(read) {
            Some(left) => {
                self.left = left;
                Ok(None)
            }
            None => {
                let all = read::read(self.group, &|_| None, Target::NONE, self.features)?;
                Ok(Some(all.types))
            }
        }
    }
}
