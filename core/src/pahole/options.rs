//! The options of pahole 1.31, as far as they matter to an encoder.
//!
//! All names are listed, since a long option may be abbreviated to what only one name begins with.
//! An option that has another purpose than encoding is `Foreign`: such a command line goes to
//! pahole itself.

/// What an option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// `-J`: encode into the file.
    Encode,
    /// Encode into a raw file; takes its name.
    Detached,
    /// Over this base; takes its path.
    Base,
    /// The number of threads, if one is attached.
    Jobs,
    /// Says more on stdout.
    Verbose,
    /// Switches a feature on.
    On(&'static str),
    /// Switches a feature off.
    Off(&'static str),
    /// Switches all features off, once: `all` is the name of no feature.
    All,
    /// Takes a list of features; unknown names mean nothing.
    Features,
    /// Takes a list of features; unknown names are an error.
    StrictFeatures,
    /// Takes a list of languages.
    LangExclude,
    /// `v1.31`.
    Version,
    /// `131`.
    NumericVersion,
    /// All features in one line.
    SupportedFeatures,
    /// Not about encoding.
    Foreign,
}

impl Meaning {
    /// Whether a word must follow.
    pub fn takes_word(self) -> bool {
        use Meaning::*;
        matches!(self, Detached | Base | Features | StrictFeatures | LangExclude)
    }
}

/// The meaning of a long option; `None` where no name or more than one begins like this.
pub(super) fn long(name: &str) -> Option<Meaning> {
    if name.is_empty() {
        return None;
    }
    let names = LONG.iter().map(|&(full, meaning)| (full, meaning));
    let mut all = names.chain(FOREIGN.iter().map(|&full| (full, Meaning::Foreign)));
    if let Some((_, meaning)) = all.clone().find(|&(full, _)| full == name) {
        return Some(meaning);
    }
    let (_, meaning) = all.find(|(full, _)| full.starts_with(name))?;
    let others = all.any(|(full, _)| full.starts_with(name));
    (!others).then_some(meaning)
}

/// The meaning of a short option.
pub(super) fn short(letter: u8) -> Meaning {
    match letter {
        b'J' => Meaning::Encode,
        b'j' => Meaning::Jobs,
        b'V' => Meaning::Verbose,
        _ => Meaning::Foreign,
    }
}

pub(super) const LONG: &[(&str, Meaning)] = &[
    ("btf_attributes", Meaning::On("attributes")),
    ("btf_base", Meaning::Base),
    ("btf_encode", Meaning::Encode),
    ("btf_encode_detached", Meaning::Detached),
    ("btf_encode_force", Meaning::On("encode_force")),
    ("btf_features", Meaning::Features),
    ("btf_features_strict", Meaning::StrictFeatures),
    ("btf_gen_all", Meaning::All),
    ("btf_gen_floats", Meaning::On("float")),
    ("btf_gen_optimized", Meaning::On("optimized_func")),
    ("jobs", Meaning::Jobs),
    ("lang_exclude", Meaning::LangExclude),
    ("numeric_version", Meaning::NumericVersion),
    ("reproducible_build", Meaning::On("reproducible_build")),
    ("skip_encoding_btf_decl_tag", Meaning::Off("decl_tag")),
    ("skip_encoding_btf_enum64", Meaning::Off("enum64")),
    ("skip_encoding_btf_inconsistent_proto", Meaning::On("consistent_func")),
    ("skip_encoding_btf_type_tag", Meaning::Off("type_tag")),
    ("skip_encoding_btf_vars", Meaning::Off("var")),
    ("supported_btf_features", Meaning::SupportedFeatures),
    ("verbose", Meaning::Verbose),
    ("version", Meaning::Version),
];

const FOREIGN: &[&str] = &[
    "anon_include",
    "bit_holes",
    "cacheline_size",
    "class_name",
    "class_name_len",
    "classes_as_structs",
    "compile",
    "contains",
    "contains_enumerator",
    "count",
    "ctf_encode",
    "cu_exclude",
    "decl_exclude",
    "defined_in",
    "exclude",
    "expand_pointers",
    "expand_types",
    "find_pointers_to",
    "first_obj_only",
    "fixup_silly_bitfields",
    "flat_arrays",
    "format_path",
    "hashbits",
    "header_type",
    "help",
    "hex",
    "hole_size_ge",
    "holes",
    "kabi_prefix",
    "lang",
    "nested_anon_include",
    "nr_definitions",
    "nr_members",
    "nr_methods",
    "packable",
    "packed",
    "padding_ge",
    "prefix_filter",
    "prettify",
    "program-name",
    "ptr_table_stats",
    "quiet",
    "range",
    "recursive",
    "rel_offset",
    "reorganize",
    "running_kernel_vmlinux",
    "seek_bytes",
    "separator",
    "show_decl_info",
    "show_first_biggest_size_base_type_member",
    "show_only_data_members",
    "show_private_classes",
    "show_reorg_steps",
    "size_bytes",
    "sizes",
    "skip",
    "skip_emitting_atomic_typedefs",
    "skip_missing",
    "sort",
    "structs",
    "suppress_aligned_attribute",
    "suppress_force_paddings",
    "suppress_packed",
    "unions",
    "usage",
    "with_embedded_flexible_array",
    "with_flexible_array",
    "word_size",
];
