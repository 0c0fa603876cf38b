//! Whether two types of two graphs are the same, by name.
//!
//! A reference to something that has a name is that name, so that a change is found where it was
//! made and nowhere else, and the comparison ends; only the sizes of members are looked at, since a
//! type that grew into a hole moves nothing else. What has no name is compared by its parts.

use super::DiffError;
use super::index::Side;
use crate::btf::layers::{Layers, members, payload};
use crate::btf::{Kind, Type};
use crate::layout::Sizes;
use std::collections::HashMap;

/// Types within types without a name in between; real C stays below 20.
const DEEPEST: u32 = 200;

/// Two graphs, and what is known about pairs of nameless types of them.
pub(super) struct Pair<'a> {
    pub old: Side<'a>,
    pub new: Side<'a>,
    /// Both stand on the very same layer, so that an id of it is the same type.
    pub same_base: bool,
    sizes: [Sizes<'a>; 2],
    memo: HashMap<(u32, u32), bool>,
}

/// What a name is a name of, as far as a reference can tell: a definition or only its declaration.
fn referred(layers: Layers<'_>, id: u32) -> Option<(Kind, &[u8])> {
    let ty = layers.get(id)?;
    let kind = match ty.kind()? {
        Kind::Fwd if ty.kflag() => Kind::Union,
        Kind::Fwd => Kind::Struct,
        Kind::Enum64 => Kind::Enum,
        // Their names mean something else, or they have none.
        Kind::TypeTag | Kind::DeclTag | Kind::Func | Kind::Var | Kind::Datasec => return None,
        kind => kind,
    };
    let name = layers.string(ty.name());
    (!name.is_empty()).then_some((kind, name))
}

impl<'a> Pair<'a> {
    pub fn new(old: Side<'a>, new: Side<'a>, same_base: bool) -> Pair<'a> {
        let sizes = [Sizes::new(old.layers), Sizes::new(new.layers)];
        Pair { old, new, same_base, sizes, memo: HashMap::new() }
    }

    /// Whether two references mean the same.
    pub fn same(&mut self, a: u32, b: u32) -> Result<bool, DiffError> {
        self.refer(a, b, 0)
    }

    /// Whether two named things, or two nameless bodies, are defined alike; tags and places too.
    pub fn equal(&mut self, a: u32, b: u32) -> Result<bool, DiffError> {
        if self.known(a, b) {
            return Ok(true);
        }
        let (Some(x), Some(y)) = (self.old.layers.get(a), self.new.layers.get(b)) else {
            return Ok(a == b);
        };
        Ok(self.old.name(a) == self.new.name(b)
            && self.definition(x, y, 0)?
            && self.old.tags(a) == self.new.tags(b)
            && self.old.place(a) == self.new.place(b))
    }

    fn known(&self, a: u32, b: u32) -> bool {
        a == b && (a == 0 || self.same_base && !self.old.owns(a) && !self.new.owns(b))
    }

    fn refer(&mut self, mut a: u32, mut b: u32, mut depth: u32) -> Result<bool, DiffError> {
        loop {
            if self.known(a, b) {
                return Ok(true);
            }
            let (old, new) = (self.old.layers, self.new.layers);
            let (Some(x), Some(y)) = (old.get(a), new.get(b)) else { return Ok(a == b) };
            match (referred(old, a), referred(new, b)) {
                (None, None) => {}
                (left, right) => return Ok(left == right),
            }
            let (Some(kind), Some(other)) = (x.kind(), y.kind()) else {
                return Err(DiffError::Kind { id: a });
            };
            if kind != other && !(kind.is_enum() && other.is_enum()) {
                return Ok(false);
            }
            depth += 1;
            if depth > DEEPEST {
                return Err(DiffError::Deep { id: a });
            }
            match kind {
                Kind::Ptr | Kind::Const | Kind::Volatile | Kind::Restrict => {}
                Kind::TypeTag => {
                    if x.kflag() != y.kflag() || self.old.name(a) != self.new.name(b) {
                        return Ok(false);
                    }
                }
                Kind::Array => {
                    if payload(x, 2) != payload(y, 2) {
                        return Ok(false);
                    }
                    (a, b) = (payload(x, 0), payload(y, 0));
                    continue;
                }
                _ => return self.remembered(a, b, x, y, depth),
            }
            (a, b) = (x.size_or_type(), y.size_or_type());
        }
    }

    fn remembered(
        &mut self,
        a: u32,
        b: u32,
        x: Type<'a>,
        y: Type<'a>,
        depth: u32,
    ) -> Result<bool, DiffError> {
        if let Some(&same) = self.memo.get(&(a, b)) {
            return Ok(same);
        }
        let same = self.old.name(a) == self.new.name(b) && self.definition(x, y, depth)?;
        self.memo.insert((a, b), same);
        Ok(same)
    }

    /// Whether two types say the same, their own names left out.
    fn definition(&mut self, x: Type<'a>, y: Type<'a>, depth: u32) -> Result<bool, DiffError> {
        let (Some(kind), Some(other)) = (x.kind(), y.kind()) else { return Ok(false) };
        if kind != other && !(kind.is_enum() && other.is_enum()) {
            return Ok(false);
        }
        let (old, new) = (self.old.layers, self.new.layers);
        match kind {
            Kind::Struct | Kind::Union => {
                if x.size_or_type() != y.size_or_type() || members(x).len() != members(y).len() {
                    return Ok(false);
                }
                for (m, n) in members(x).zip(members(y)) {
                    if (m.offset, m.width) != (n.offset, n.width)
                        || old.string(m.name) != new.string(n.name)
                        || !self.refer(m.ty, n.ty, depth)?
                        || !self.known(m.ty, n.ty)
                            && self.sizes[0].size(m.ty) != self.sizes[1].size(n.ty)
                    {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Kind::Enum | Kind::Enum64 => Ok(x.size_or_type() == y.size_or_type()
                && x.kflag() == y.kflag()
                && x.elements().len() == y.elements().len()
                && x.elements().zip(y.elements()).all(|(e, f)| {
                    value(x, e) == value(y, f) && old.string(e[0]) == new.string(f[0])
                })),
            Kind::FuncProto => {
                if x.elements().len() != y.elements().len()
                    || !self.refer(x.size_or_type(), y.size_or_type(), depth)?
                {
                    return Ok(false);
                }
                for (p, q) in x.elements().zip(y.elements()) {
                    if old.string(p[0]) != new.string(q[0]) || !self.refer(p[1], q[1], depth)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Kind::Int => Ok(x.size_or_type() == y.size_or_type() && payload(x, 0) == payload(y, 0)),
            Kind::Float => Ok(x.size_or_type() == y.size_or_type()),
            Kind::Func => {
                Ok(x.vlen() == y.vlen() && self.refer(x.size_or_type(), y.size_or_type(), depth)?)
            }
            Kind::Var => Ok(payload(x, 0) == payload(y, 0)
                && self.refer(x.size_or_type(), y.size_or_type(), depth)?),
            Kind::Typedef => self.refer(x.size_or_type(), y.size_or_type(), depth),
            Kind::Fwd => Ok(x.kflag() == y.kflag()),
            // Nothing in C refers to a section or a tag.
            _ => Ok(true),
        }
    }
}

/// The value of an enumerator, with the sign that the enum gives it.
pub(super) fn value(ty: Type<'_>, element: &[u32]) -> i128 {
    match (element.get(2), ty.kflag()) {
        (None, true) => (element[1] as i32).into(),
        (None, false) => element[1].into(),
        (Some(&high), signed) => {
            let wide = u64::from(high) << 32 | u64::from(element[1]);
            if signed { (wide as i64).into() } else { wide.into() }
        }
    }
}
