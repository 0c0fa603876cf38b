//! Which types get a definition of their own, and in which order.
//!
//! A dependency is strong where the definition must come first (a member held by value) and weak
//! where a declaration will do (a pointer to a named struct). A typedef behind a pointer counts as
//! what it stands for: it may wait too.

use super::{Budget, fail};
use crate::btf::layers::{Layers, members, payload};
use crate::btf::{BtfError, Kind};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

/// The order in which types are defined.
pub(super) fn order(layers: Layers<'_>) -> Result<Vec<u32>, BtfError> {
    let mut order = Order {
        layers,
        states: vec![State::New; layers.next_id() as usize],
        referenced: referenced(layers),
        queue: Vec::new(),
        budget: Budget::new(layers),
    };
    order.states[0] = State::Done;
    for id in 1..layers.next_id() {
        order.visit(id, false, 0)?;
    }
    Ok(order.queue)
}

/// Which types another one uses: an anonymous enum is then printed there and not on its own.
fn referenced(layers: Layers<'_>) -> Vec<bool> {
    let mut referenced = vec![false; layers.next_id() as usize];
    for id in 1..layers.next_id() {
        let Some(ty) = layers.get(id) else { continue };
        ty.for_each_id(|used| {
            if let Some(flag) = referenced.get_mut(used as usize) {
                *flag = true;
            }
        });
    }
    referenced
}

struct Order<'a> {
    layers: Layers<'a>,
    states: Vec<State>,
    referenced: Vec<bool>,
    queue: Vec<u32>,
    budget: Budget,
}

impl Order<'_> {
    /// Queues `id` after what it needs. Says whether whoever uses it needs its definition first.
    fn visit(&mut self, id: u32, behind_pointer: bool, depth: u32) -> Result<bool, BtfError> {
        self.budget.spend(id, depth, 1)?;
        let Some(ty) = self.layers.get(id) else { return Ok(true) };
        let at = id as usize;
        let named = ty.name() != 0;
        let kind = self.layers.kind(id);
        match self.states[at] {
            State::Done => return Ok(true),
            State::Open if kind.is_composite() && behind_pointer && named => return Ok(false),
            State::Open => return fail(id, "contains itself by value".into()),
            State::New => {}
        }
        let target = ty.size_or_type();
        let strong = match kind {
            Kind::Ptr => {
                let strong = self.visit(target, true, depth + 1)?;
                self.states[at] = State::Done;
                strong
            }
            Kind::Array => self.visit(payload(ty, 0), false, depth + 1)?,
            Kind::Struct | Kind::Union => {
                if behind_pointer && named {
                    return Ok(false);
                }
                self.states[at] = State::Open;
                for member in members(ty) {
                    self.visit(member.ty, false, depth + 1)?;
                }
                // An anonymous one is printed where it is used; alone it would declare nothing.
                self.define(id, named);
                true
            }
            Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                self.define(id, named || !self.referenced[at]);
                true
            }
            Kind::Typedef => {
                let strong = self.visit(target, behind_pointer, depth + 1)?;
                if behind_pointer && !strong {
                    return Ok(false);
                }
                self.define(id, true);
                true
            }
            Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                self.visit(target, behind_pointer, depth + 1)?
            }
            Kind::FuncProto => {
                let mut strong = self.visit(target, behind_pointer, depth + 1)?;
                for param in ty.elements() {
                    strong |= self.visit(param[1], behind_pointer, depth + 1)?;
                }
                strong
            }
            Kind::Int
            | Kind::Float
            | Kind::Func
            | Kind::Var
            | Kind::Datasec
            | Kind::DeclTag
            | Kind::Void => {
                self.states[at] = State::Done;
                false
            }
        };
        Ok(strong)
    }

    fn define(&mut self, id: u32, queued: bool) {
        self.states[id as usize] = State::Done;
        if queued {
            self.queue.push(id);
        }
    }
}
