//! What pahole's `--btf_features` switch on.

use gimli::DwLang;

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
    ///
    /// Known without effect here: `optimized_func` (none since 1.31), `reproducible_build` (always
    /// so).
    pub fn enable(&mut self, name: &str) -> bool {
        let feature = match name {
            "encode_force" => &mut self.encode_force,
            "var" => &mut self.var,
            "float" => &mut self.float,
            "decl_tag" => &mut self.decl_tag,
            "type_tag" => &mut self.type_tag,
            "enum64" => &mut self.enum64,
            "consistent_func" => &mut self.consistent_func,
            "decl_tag_kfuncs" => &mut self.decl_tag_kfuncs,
            "global_var" => &mut self.global_var,
            "attributes" => &mut self.attributes,
            "distilled_base" => &mut self.distilled_base,
            "layout" => &mut self.layout,
            "optimized_func" | "reproducible_build" => return true,
            _ => return false,
        };
        *feature = true;
        true
    }
}
