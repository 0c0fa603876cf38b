//! Types as C writes them, by name.
//!
//! For people who read a message, not for a compiler: named types stand by their name, anonymous
//! ones with their members, and what is longer than any real declaration is cut off with an
//! ellipsis. Cost: the length of the text.

use super::layers::{Layers, Member, members, payload};
use super::{Kind, Type};
use std::fmt::Write;

/// Bytes after which a text is cut off.
const LONGEST: usize = 1000;
/// Links of a chain (pointers, arrays, functions), and levels of anonymous types.
const DEEPEST: u32 = 64;

/// A declaration around the place of its name, as in `void (*NAME)(int)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// The type with its pointers: `void`, `struct sk_buff *`.
    pub base: String,
    /// What opens before the name: empty, or `(*`.
    pub open: String,
    /// What follows the name: `[4]`, `)(int)`.
    pub close: String,
}

impl Declaration {
    /// The declaration of `name`; of no name, the type.
    pub fn with(&self, name: &str) -> String {
        let Declaration { base, open, close } = self;
        let bare = open.is_empty() && name.is_empty() && !close.starts_with('(');
        let gap = if bare || base.ends_with('*') { "" } else { " " };
        let inner = if open.ends_with(char::is_alphanumeric) { " " } else { "" };
        format!("{base}{gap}{open}{inner}{name}{close}")
    }
}

/// The type `id` as text.
pub(crate) fn type_text(layers: Layers<'_>, id: u32) -> String {
    declaration(layers, id).with("")
}

/// A function of this prototype (or any type) declared under a name.
pub(crate) fn declared(layers: Layers<'_>, id: u32, name: &str) -> String {
    declaration(layers, id).with(name)
}

/// The type `id` as a declaration without its name.
pub(crate) fn declaration(layers: Layers<'_>, id: u32) -> Declaration {
    Writer { layers, left: LONGEST }.declaration(id, 0)
}

/// `struct name`, `name` for a typedef; anonymous types with their members.
struct Writer<'a> {
    layers: Layers<'a>,
    left: usize,
}

impl Writer<'_> {
    fn declaration(&mut self, mut id: u32, depth: u32) -> Declaration {
        let mut d = Declaration::default();
        let mut stars = String::new();
        let mut qualifiers = String::new();
        let mut pointed = false;
        for _ in 0..DEEPEST {
            let Some(ty) = self.layers.get(id) else { break };
            let target = ty.size_or_type();
            match self.layers.kind(id) {
                Kind::Ptr => {
                    let own = std::mem::take(&mut qualifiers);
                    let gap = if own.is_empty() || stars.is_empty() { "" } else { " " };
                    stars = format!("*{}{gap}{stars}", own.trim_end());
                    pointed = true;
                }
                Kind::Const if qualifiers.ends_with("const ") => {}
                Kind::Const => qualifiers.push_str("const "),
                Kind::Volatile => qualifiers.push_str("volatile "),
                Kind::Restrict => qualifiers.push_str("restrict "),
                Kind::TypeTag => {
                    let tag = self.layers.text(ty.name());
                    let _ = write!(qualifiers, "btf_type_tag({tag}) ");
                }
                kind @ (Kind::Array | Kind::FuncProto) => {
                    if pointed {
                        d.open = format!("({stars}{}", d.open);
                        d.close.push(')');
                        stars.clear();
                        pointed = false;
                    }
                    if kind == Kind::Array {
                        let _ = write!(d.close, "[{}]", payload(ty, 2));
                        id = payload(ty, 0);
                        continue;
                    }
                    // GCC marks functions that do not return as volatile; C has no such thing.
                    qualifiers.clear();
                    let parameters = self.parameters(ty, depth);
                    d.close.push_str(&parameters);
                }
                _ => break,
            }
            id = target;
        }
        d.base = qualifiers;
        let name = self.base(id, depth);
        d.base.push_str(&name);
        if !stars.is_empty() {
            d.base.push(' ');
            d.base.push_str(&stars);
        }
        d
    }

    fn base(&mut self, id: u32, depth: u32) -> String {
        let Some(ty) = self.layers.get(id) else { return "void".into() };
        let kind = self.layers.kind(id);
        let word = match kind {
            Kind::Struct => "struct",
            Kind::Union => "union",
            Kind::Enum | Kind::Enum64 => "enum",
            Kind::Fwd if ty.kflag() => "union",
            Kind::Fwd => "struct",
            _ => "",
        };
        let name = self.layers.text(ty.name());
        let text = match (word, &*name) {
            ("", "") => "…".to_owned(),
            ("", name) => name.to_owned(),
            (word, "") => return self.anonymous(ty, word, depth),
            (word, name) => format!("{word} {name}"),
        };
        self.left = self.left.saturating_sub(text.len());
        text
    }

    fn anonymous(&mut self, ty: Type<'_>, word: &str, depth: u32) -> String {
        let mut text = format!("{word} {{");
        let composite = ty.kind().is_some_and(Kind::is_composite);
        let count = ty.elements().len();
        for (i, element) in ty.elements().enumerate() {
            if self.left == 0 || depth == DEEPEST {
                text.push_str(" …");
                break;
            }
            let name = self.layers.text(element[0]);
            if composite {
                let Member { ty: id, width, .. } = match members(ty).nth(i) {
                    Some(member) => member,
                    None => break,
                };
                let member = self.declaration(id, depth + 1).with(&name);
                let _ = write!(text, " {member}");
                if width > 0 {
                    let _ = write!(text, ":{width}");
                }
                text.push(';');
            } else {
                let _ = write!(text, " {name}{}", if i + 1 < count { "," } else { "" });
            }
            self.left = self.left.saturating_sub(name.len() + 4);
        }
        text.push_str(" }");
        text
    }

    fn parameters(&mut self, proto: Type<'_>, depth: u32) -> String {
        let count = proto.elements().len();
        if count == 0 {
            return "(void)".into();
        }
        let mut text = String::from("(");
        for (i, param) in proto.elements().enumerate() {
            if i > 0 {
                text.push_str(", ");
            }
            if self.left == 0 || depth == DEEPEST {
                text.push('…');
                break;
            }
            if param[1] == 0 && i + 1 == count {
                // Void is the mark of a variable list, or of none at all where it stands alone.
                text.push_str(if count > 1 { "..." } else { "void" });
            } else {
                let name = self.layers.text(param[0]);
                text.push_str(&self.declaration(param[1], depth + 1).with(&name));
            }
            self.left = self.left.saturating_sub(4);
        }
        text.push(')');
        text
    }
}
