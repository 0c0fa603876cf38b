//! Turns the DWARF of Linux kernel modules into split BTF.
//!
//! The way of the data, each step one room:
//!
//! * [`elf`] reads sections and symbols of a `.ko` or `vmlinux`, and installs the result;
//! * [`dwarf`] turns each compilation unit (CU) into a list of types and functions;
//! * [`encode`] appends the CUs in DWARF order, chooses functions and variables, drives the rest;
//! * [`identity`] tells types that the base or an earlier CU has by their content;
//! * [`dedup`] folds equal types against each other and against the warm [`dedup::Base`];
//! * [`btf`] is the format itself: kinds, strings, reading, writing, verifying, printing;
//! * [`pahole`] drives all that for kbuild, as the program `btfd-pahole`.
//!
//! But for [`pahole`], the crate has no policy and no clock, and touches no path that it was not
//! given. Nothing in it is global; a [`dedup::Base`] is read-only once built and shared between threads.

mod bits;
pub mod btf;
pub mod dedup;
pub mod diff;
pub mod dwarf;
pub mod elf;
pub mod encode;
pub mod features;
pub mod identity;
pub mod layout;
pub mod pahole;
pub mod target;

#[cfg(feature = "python")]
mod python;
