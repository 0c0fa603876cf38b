//! What pahole's `--btf_features` switch on, and what they are called.
//!
//! The names stand here alone: the drop-in and the Python side read them from [`NAMES`].

use gimli::DwLang;

/// The switch behind a name.
type Switch = fn(&mut Features) -> &mut bool;

/// Every feature in the order in which pahole lists them; without a switch: known, and of no effect
/// here.
const TABLE: [(&str, Option<Switch>); 14] = [
    ("encode_force", Some(|f| &mut f.encode_force)),
    ("var", Some(|f| &mut f.var)),
    ("float", Some(|f| &mut f.float)),
    ("decl_tag", Some(|f| &mut f.decl_tag)),
    ("type_tag", Some(|f| &mut f.type_tag)),
    ("enum64", Some(|f| &mut f.enum64)),
    // Means nothing since 1.31.
    ("optimized_func", None),
    ("consistent_func", Some(|f| &mut f.consistent_func)),
    ("decl_tag_kfuncs", Some(|f| &mut f.decl_tag_kfuncs)),
    // Always so.
    ("reproducible_build", None),
    ("distilled_base", Some(|f| &mut f.distilled_base)),
    ("global_var", Some(|f| &mut f.global_var)),
    ("attributes", Some(|f| &mut f.attributes)),
    ("layout", Some(|f| &mut f.layout)),
];

/// pahole's names of all features, in its order.
pub const NAMES: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = TABLE[at].0;
        at += 1;
    }
    names
};

/// How many of [`NAMES`], from the first, `default` stands for.
pub const DEFAULT: usize = 9;

/// The features of one encode; all off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Skip variables with names that BTF forbids instead of giving up.
    pub encode_force: bool,
    /// Per-CPU variables.
    pub var: bool,
    /// FLOAT for floating point, else INT.
    pub float: bool,
    /// Declaration tags, from source and from kfunc sets.
    pub decl_tag: bool,
    /// Type tags.
    pub type_tag: bool,
    /// ENUM64 for enums wider than four bytes, else ENUM with values cut.
    pub enum64: bool,
    /// Leave out functions whose prototype or registers cannot be relied on.
    pub consistent_func: bool,
    /// Tag kfuncs; the tags themselves need `decl_tag` as well.
    pub decl_tag_kfuncs: bool,
    /// Variables of all sections.
    pub global_var: bool,
    /// The address space of kfuncs' arena pointers, as type tags; needs `decl_tag_kfuncs` as well.
    pub attributes: bool,
    /// Split BTF stands on the part of the base that it needs, which comes with it.
    pub distilled_base: bool,
    /// Stand-alone BTF describes the layout of all kinds.
    pub layout: bool,
    /// CUs in these languages contribute nothing.
    pub lang_exclude: Vec<DwLang>,
}

impl Features {
    /// Switches one feature on by pahole's name; `false` where the name is not known.
    pub fn enable(&mut self, name: &str) -> bool {
        let Some((_, switch)) = TABLE.iter().find(|(known, _)| *known == name) else {
            return false;
        };
        if let Some(switch) = switch {
            *switch(self) = true;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_a_switch_of_its_own() {
        let mut seen = vec![Features::default()];
        for name in NAMES {
            let mut features = Features::default();
            assert!(features.enable(name));
            let inert = ["optimized_func", "reproducible_build"].contains(&name);
            assert_eq!(seen.contains(&features), inert, "{name}");
            seen.push(features);
        }
        assert!(!Features::default().enable("all"));
        assert_eq!(NAMES[DEFAULT - 1], "decl_tag_kfuncs");
    }
}
