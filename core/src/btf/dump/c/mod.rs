//! The C form: every type of both layers as a header that compiles.
//!
//! Two walks over the graph. The first ([`order`]) puts named types in an order in which each one
//! follows what it holds by value; the second ([`print`]) prints them in that order and declares
//! ahead what is only pointed at. Anonymous structs are printed where they are used. Order, names
//! and text are those of bpftool as far as a compiler then arrives at the sizes and offsets that
//! the BTF states; where it would not, the layout wins (see [`layout`]).
//!
//! Both walks recurse, so both carry a depth, and every visit counts against a limit in proportion
//! to the input: hostile types end in an error. BTF that a compiler made stays far below.

mod declare;
mod layout;
mod names;
mod order;
mod print;
#[cfg(test)]
mod tests;

use crate::btf::BtfError;
use crate::btf::layers::Layers;
use print::Printer;

const HEAD: &str = "\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

";
const TAIL: &str = "\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
";

pub(super) fn dump(layers: Layers<'_>) -> Result<String, BtfError> {
    let mut out = definitions(layers)?.out;
    out.push_str(TAIL);
    Ok(out)
}

/// Prints everything but the tail.
fn definitions(layers: Layers<'_>) -> Result<Printer<'_>, BtfError> {
    let mut printer = Printer::new(layers, HEAD);
    for id in order::order(layers)? {
        printer.emit(id, 0, 0)?;
    }
    Ok(printer)
}

/// Deepest nesting that is followed; the kernel's types reach about 40.
const MAX_DEPTH: u32 = 200;

/// How much work is left, so that no input unfolds without end.
struct Budget {
    steps: u64,
}

impl Budget {
    /// The types of vmlinux take 7 steps each.
    fn new(layers: Layers<'_>) -> Budget {
        Budget { steps: 1_000_000 + 50 * u64::from(layers.next_id()) }
    }

    /// Accounts for `cost` units of work on type `id`, met at `depth`.
    fn spend(&mut self, id: u32, depth: u32, cost: u64) -> Result<(), BtfError> {
        if depth > MAX_DEPTH {
            return fail(id, format!("nests deeper than {MAX_DEPTH} levels"));
        }
        match self.steps.checked_sub(cost) {
            Some(left) => self.steps = left,
            None => return fail(id, "unfolds into more C than any real program has".into()),
        }
        Ok(())
    }
}

fn fail<T>(id: u32, what: String) -> Result<T, BtfError> {
    Err(BtfError::Type { id, what })
}
