//! Declarations: a type wrapped around a name, the way C writes it inside out.

use super::fail;
use super::print::Printer;
use crate::btf::layers::payload;
use crate::btf::{BtfError, Kind};

/// Pointers, arrays, functions and qualifiers around one name; real C stays below 20.
const MAX_CHAIN: usize = 128;

impl Printer<'_> {
    /// Prints the declaration of `name` with type `id`, without a semicolon.
    pub(super) fn declare(
        &mut self,
        mut id: u32,
        name: &str,
        level: u32,
        depth: u32,
    ) -> Result<(), BtfError> {
        // From the name outwards to the type that has a name, or is a struct or enum.
        let mut chain = Vec::new();
        loop {
            self.spend(id, depth)?;
            if chain.len() == MAX_CHAIN {
                return fail(id, format!("is a chain of more than {MAX_CHAIN} types"));
            }
            chain.push(id);
            let Some(ty) = self.layers.get(id) else { break };
            id = match self.layers.kind(id) {
                Kind::Array => payload(ty, 0),
                Kind::Ptr
                | Kind::Const
                | Kind::Volatile
                | Kind::Restrict
                | Kind::TypeTag
                | Kind::FuncProto => ty.size_or_type(),
                _ => break,
            };
        }
        self.unwind(&mut chain, name, level, depth)
    }

    /// Prints a chain from its far end. Recurses once an array or function in the chain.
    fn unwind(
        &mut self,
        chain: &mut Vec<u32>,
        name: &str,
        level: u32,
        depth: u32,
    ) -> Result<(), BtfError> {
        let mut after_pointer = true;
        while let Some(id) = chain.pop() {
            self.spend(id, depth)?;
            let Some(ty) = self.layers.get(id) else {
                self.qualifiers(chain);
                self.out.push_str("void");
                after_pointer = false;
                continue;
            };
            let kind = self.layers.kind(id);
            match kind {
                Kind::Ptr => self.out.push_str(if after_pointer { "*" } else { " *" }),
                Kind::Const => self.out.push_str(" const"),
                Kind::Volatile => self.out.push_str(" volatile"),
                Kind::Restrict => self.out.push_str(" restrict"),
                Kind::TypeTag => {
                    self.qualifiers(chain);
                    let tag = self.layers.text(ty.name());
                    match ty.kflag() {
                        true => self.print(format_args!(" __attribute__(({tag}))")),
                        false => {
                            self.print(format_args!(" __attribute__((btf_type_tag(\"{tag}\")))"))
                        }
                    }
                }
                Kind::Array => {
                    // Qualifiers of an array are those of its elements, printed there.
                    self.drop_qualifiers(chain);
                    let len = payload(ty, 2);
                    let Some(&inner) = chain.last() else {
                        self.name(name, after_pointer);
                        self.print(format_args!("[{len}]"));
                        return Ok(());
                    };
                    let rows = self.layers.kind(inner) == Kind::Array;
                    if !name.is_empty() && !after_pointer {
                        self.out.push(' ');
                    }
                    if !rows {
                        self.out.push('(');
                    }
                    self.unwind(chain, name, level, depth + 1)?;
                    if !rows {
                        self.out.push(')');
                    }
                    self.print(format_args!("[{len}]"));
                    return Ok(());
                }
                Kind::FuncProto => {
                    // GCC marks functions that do not return as volatile; C has no such thing.
                    self.drop_qualifiers(chain);
                    if chain.is_empty() {
                        self.name(name, after_pointer);
                    } else {
                        self.out.push_str(" (");
                        self.unwind(chain, name, level, depth + 1)?;
                        self.out.push(')');
                    }
                    return self.parameters(id, level, depth);
                }
                _ => {
                    self.qualifiers(chain);
                    self.base_type(id, ty, level, depth)?;
                }
            }
            after_pointer = kind == Kind::Ptr;
        }
        self.name(name, after_pointer);
        Ok(())
    }

    fn parameters(&mut self, proto: u32, level: u32, depth: u32) -> Result<(), BtfError> {
        let Some(ty) = self.layers.get(proto) else { return Ok(()) };
        let count = ty.elements().len();
        self.out.push('(');
        for (i, param) in ty.elements().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            if param[1] == 0 && i + 1 == count {
                // Void is the mark of a variable list, or of none at all where it stands alone.
                self.out.push_str(if count > 1 { "..." } else { "void" });
            } else {
                let name = self.layers.text(param[0]);
                self.declare(param[1], &name, level, depth + 1)?;
            }
        }
        self.out.push_str(if count == 0 { "void)" } else { ")" });
        Ok(())
    }

    fn name(&mut self, name: &str, after_pointer: bool) {
        if !name.is_empty() && !after_pointer {
            self.out.push(' ');
        }
        self.out.push_str(name);
    }

    /// Prints the qualifiers around the type that comes next, before it.
    fn qualifiers(&mut self, chain: &mut Vec<u32>) {
        while let Some(&id) = chain.last() {
            match self.layers.kind(id) {
                Kind::Const => self.out.push_str("const "),
                Kind::Volatile => self.out.push_str("volatile "),
                Kind::Restrict => self.out.push_str("restrict "),
                _ => return,
            }
            chain.pop();
        }
    }

    fn drop_qualifiers(&mut self, chain: &mut Vec<u32>) {
        while let Some(&id) = chain.last()
            && matches!(self.layers.kind(id), Kind::Const | Kind::Volatile | Kind::Restrict)
        {
            chain.pop();
        }
    }
}
