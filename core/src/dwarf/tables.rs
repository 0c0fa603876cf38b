//! The tables of abbreviations of a file.
//!
//! Each table is read once, and each abbreviation compiled once: a compiler writes a table for every
//! unit, out of the same few hundred abbreviations in another order, and a vmlinux has two thousand
//! of them. Cost: for an abbreviation that is known, its bytes and a look at a table.

use super::abbreviations::{Plan, Refers, Sizes, Step, attribute};
use super::bytes::Cursor;
use super::quick::{Quick, Quicks};
use foldhash::fast::{FixedState, RandomState};
use gimli::constants::DW_FORM_implicit_const;
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The abbreviations of one unit.
#[derive(Debug)]
pub(super) struct Table {
    /// By code, which compilers count from 1.
    plans: Vec<Option<Arc<Plan>>>,
    /// Those with codes far above their number.
    far: HashMap<u64, Arc<Plan>, FixedState>,
    /// Those that are read quickly, by the first byte of their code.
    pub quicks: Box<Quicks>,
    /// Where references of any lead.
    pub refers: Refers,
    /// Where it stands in `.debug_abbrev`.
    pub place: Range<usize>,
}

/// The tables of a file.
///
/// Units of hostile files can name a place each in one long table, which would be read from every
/// one of them.
#[derive(Debug)]
pub(super) struct Tables<'d> {
    section: &'d [u8],
    known: HashMap<(usize, Sizes), Arc<Table>, FixedState>,
    /// By all of their bytes but the code.
    plans: HashMap<(&'d [u8], Sizes), Arc<Plan>, RandomState>,
    /// Where steps are put together.
    steps: Vec<Step>,
    /// How many more bytes are read.
    left: usize,
}

/// Different abbreviations of a small module.
const PLANS: usize = 400;

/// Codes are taken to be dense while no more than these are left out, and one for each that is there.
const GAP: u64 = 16;

impl<'d> Tables<'d> {
    pub fn new(section: &'d [u8]) -> Tables<'d> {
        // Once is what compilers need; once for each size of an address and offset is fair.
        let left = section.len().saturating_mul(4);
        let plans = HashMap::with_capacity_and_hasher(PLANS, RandomState::default());
        Tables { section, known: HashMap::default(), plans, steps: Vec::new(), left }
    }

    /// The table at an offset of `.debug_abbrev`.
    pub fn get(&mut self, offset: usize, sizes: Sizes) -> gimli::Result<Arc<Table>> {
        if let Some(table) = self.known.get(&(offset, sizes)) {
            return Ok(Arc::clone(table));
        }
        let bad = || gimli::Error::OffsetOutOfBounds(offset as u64);
        let rest = self.section.get(offset..).ok_or_else(bad)?;
        let (mut table, len) = self.read(&rest[..rest.len().min(self.left)], sizes)?;
        self.left -= len;
        table.place = offset..offset + len;
        let table = Arc::new(table);
        self.known.insert((offset, sizes), Arc::clone(&table));
        Ok(table)
    }

    /// Reads the table that `section` begins with, and tells its length.
    fn read(&mut self, section: &'d [u8], sizes: Sizes) -> gimli::Result<(Table, usize)> {
        let mut table = Table {
            plans: Vec::new(),
            far: HashMap::default(),
            quicks: Box::new([Quick::NOT; 256]),
            refers: Refers::default(),
            place: 0..0,
        };
        let mut cursor = Cursor::new(section);
        for count in 1.. {
            let code = cursor.uleb()?;
            if code == 0 {
                break;
            }
            let start = cursor;
            cursor.uleb()?;
            cursor.skip(1)?;
            pass_attributes(&mut cursor)?;
            let bytes = &section[start.position()..cursor.position()];
            let plan = match self.plans.get(&(bytes, sizes)) {
                Some(plan) => Arc::clone(plan),
                None => {
                    let plan = Arc::new(Plan::compile(start, sizes, &mut self.steps)?);
                    self.plans.insert((bytes, sizes), Arc::clone(&plan));
                    plan
                }
            };
            table.add(code, count, plan);
        }
        Ok((table, cursor.position()))
    }
}

/// Passes over the attributes of an abbreviation, and what ends them.
#[inline]
fn pass_attributes(cursor: &mut Cursor<'_>) -> gimli::Result<()> {
    const IMPLICIT: u8 = DW_FORM_implicit_const.0 as u8;
    loop {
        // Nearly all names and forms are of one byte.
        match cursor.window::<2>() {
            Some([0, 0]) => {
                cursor.advance(2);
                return Ok(());
            }
            Some(&[name, form]) if (name | form) < 0x80 && form != IMPLICIT => cursor.advance(2),
            _ if attribute(cursor)?.is_none() => return Ok(()),
            _ => {}
        }
    }
}

impl Table {
    /// Adds the abbreviation number `count`; the first one of a code counts, as in gimli and libdw.
    fn add(&mut self, code: u64, count: u64, plan: Arc<Plan>) {
        self.refers.add(plan.refers);
        if code > 2 * count + GAP || self.far.contains_key(&code) {
            self.far.entry(code).or_insert(plan);
            return;
        }
        let code = code as usize;
        if self.plans.len() <= code {
            self.plans.resize(code + 1, None);
        }
        if self.plans[code].is_some() {
            return;
        }
        let quick = match code {
            0..128 => plan.quick,
            // The first of two bytes, of which the second is 1.
            128..256 => plan.quick.and_then(Quick::behind_two_bytes),
            _ => None,
        };
        if let Some(quick) = quick {
            self.quicks[code] = quick;
        }
        self.plans[code] = Some(plan);
    }

    /// The plan of a code.
    #[inline]
    pub fn get(&self, code: u64) -> gimli::Result<&Plan> {
        match self.plans.get(code as usize) {
            Some(Some(plan)) => Ok(plan),
            _ => self.far(code),
        }
    }

    #[cold]
    fn far(&self, code: u64) -> gimli::Result<&Plan> {
        let plan = self.far.get(&code).map(Arc::as_ref);
        plan.ok_or(gimli::Error::InvalidAbbreviationCode(code))
    }
}
