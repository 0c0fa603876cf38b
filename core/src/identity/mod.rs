//! Identity: which types are told by what they are, so that the exact engine need not see them.
//!
//! Nine of ten types in a module's CUs are in the base, and most of the rest were in an earlier CU.
//! A [`Sketch`] is what there is to know of a unit's types for that, [`Identities`] hashes them by
//! content, [`Known`] does so for a base, and [`Merge`] finds what is there already. The rest, a
//! twentieth, goes to [`crate::dedup`], the exact engine; the result is the same bytes as if that one
//! had seen all.
//!
//! # Why the result is the same
//!
//! The identity of a type is its content, where a struct, union or enum with a name counts as that
//! name, as does its forward declaration: hence it never leads back to itself. Types of one
//! identity are a *class*. A name is *doubtful* when its definition is not the same class wherever
//! it occurs: two definitions in the module, another one in the base, one here and a forward
//! declaration there, two DIEs in one unit, a struct and a union where there is a forward
//! declaration. A class is doubtful when the base has several types of it, or when it contains
//! something doubtful, at any depth. Of doubtful classes the exact engine sees every type, in
//! place. For the others, with T of class t:
//!
//! 1. *It finds T equal to a candidate C of class t.* It walks both graphs side by side. Where both
//!    have no name, contents are equal. At a name, both are its one definition or a forward
//!    declaration of it, which agree; a forward declaration in the base with a definition beside
//!    it would be doubtful. When the walk meets a type of C again as another type of T's unit, the
//!    fallback compares the two: they are of one class, their unit has one DIE of every name, and
//!    16 aggregates deep is more than [`Identities`] lets pass.
//! 2. *It finds T unequal to a candidate C of another class.* The walk meets the difference, unless
//!    the fallback takes two different types for one, which it does only for arrays that differ in
//!    their elements: then T and C differ at most in elements of arrays (they are *twins*), and
//!    two different arrays of one length are reached from T. Then both are doubtful, or, where C is
//!    in the base, all is left to the engine.
//! 3. *So T stands for nothing new*: it becomes the base's type of class t, of which there is one,
//!    else the first of its class. Forward declarations are bound to the one definition, by the
//!    walk or by name. The rest of the engine's work depends on canonical types and their order
//!    alone: candidates enter the table when they become canonical, and a later unit's type of a
//!    class seen before never does. All of a class's types in its first unit are kept, since which
//!    of them stays is decided by the order in which references are followed.
//! 4. *Doubtful types fare the same.* The walk over them is the same, type by type, until it comes
//!    to a class that is not doubtful, where its answer depends on classes only, by 1 and 2.
//!
//! Enums without name and values, references that lead back to themselves without a name on the
//! way and arrays that are not indexed by the usual `int` end the argument: then [`Merge`] gives up
//! and the engine sees everything. Only where the engine fails for the effort may the answers
//! differ: less is left to be done.
//!
//! Cost: a sum over the letters of each member and over what it refers to, and for each type a look at
//! what came after the one before it last time, or else a probe; about as much as reading the DWARF.

mod bulk;
mod hash;
mod known;
mod merge;
mod rebase;
mod sketch;
mod types;

pub use bulk::{Block, Bulk, PAIRS};
pub use hash::{Identity, Key, Name};
pub use known::Known;
pub use merge::{Assigned, Merge};
pub use rebase::{Rebase, additions, new_ids};
pub use sketch::{Adding, FILE_INT, Heading, Links, Sketch, is_forward};
pub use types::Identities;
