//! `.BTF_ids` in the course of an encode: flags of kfuncs before it, ids after it.
//!
//! Both are read from pristine words, since a resolved section has flags beside other functions
//! than the linker put them. A linked image (vmlinux) is read as it stands, as pahole reads it, and
//! its ids are left to the linker's tools: the section is part of what is loaded.

use super::{EncodeError, Features};
use crate::btf::layers::Layers;
use crate::btf::{Btf, Kind};
use crate::elf::btf_ids::{BtfIds, Earlier, Pristine};
use crate::elf::{Image, Symbols};

/// What the caller wants of `.BTF_ids`.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdsWish<'a> {
    /// The BTF is for the file itself: its ids are to be resolved.
    pub resolve: bool,
    /// Words kept since an earlier sight of the file.
    pub earlier: Option<Earlier<'a>>,
}

/// The words of `.BTF_ids`, before and after.
#[derive(Clone, Debug)]
pub struct Ids {
    /// Of the link; what is kept can be recognised by it.
    pub build_id: Option<String>,
    /// The words that the linker wrote.
    pub pristine: Pristine,
    /// The words for the new BTF.
    pub resolved: Vec<u8>,
    /// The file has those already.
    pub settled: bool,
    /// All flags of kfuncs, or'ed.
    pub kfunc_flags: u32,
    /// The name of a kfunc's parameter says that it points into an arena.
    pub arena_parameters: bool,
}

/// The words of a relocatable file for `btf` over `base`, without an encode, and what is worth a
/// warning. `None` where the file has no ids.
pub fn resolve_ids(
    image: &Image,
    base: Option<&Btf>,
    btf: &Btf,
    earlier: Option<Earlier>,
) -> Result<Option<(Ids, Vec<String>)>, EncodeError> {
    let Some(symbols) = image.symbols()? else { return Ok(None) };
    let wish = IdsWish { resolve: true, earlier };
    let source = Source::read(image, &symbols, base, &Features::default(), &wish)?;
    let mut warnings = Vec::new();
    let ids = source.map(|source| source.resolve(base, btf, &mut warnings)).transpose()?.flatten();
    Ok(ids.map(|ids| (ids, warnings)))
}

/// The section of a file that is being encoded.
pub(super) struct Source {
    ids: BtfIds,
    /// `None` where only the words in the file count.
    pristine: Option<Pristine>,
}

impl Source {
    /// Reads the section, if there is one and anybody asks for it.
    pub fn read(
        image: &Image,
        symbols: &Symbols,
        base: Option<&Btf>,
        features: &Features,
        wish: &IdsWish,
    ) -> Result<Option<Source>, EncodeError> {
        if !(features.decl_tag_kfuncs || wish.resolve && image.relocatable) {
            return Ok(None);
        }
        let Some(ids) = BtfIds::read(image, symbols)? else { return Ok(None) };
        let pristine = image
            .relocatable
            .then(|| ids.pristine(image, base, wish.earlier.as_ref()))
            .transpose()?;
        Ok(Some(Source { ids, pristine }))
    }

    fn words(&self) -> &[u8] {
        self.pristine.as_ref().map_or(self.ids.bytes(), |pristine| &pristine.words)
    }

    /// The functions in sets for registration, and their flags.
    pub fn kfuncs(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.ids.kfuncs(self.words())
    }

    /// Whether a kfunc of the upper layer has a parameter `*__arena` or `*__arena__nullable`.
    fn has_arena_parameters(&self, layers: Layers<'_>) -> bool {
        let kfuncs: Vec<&[u8]> = self.kfuncs().map(|(name, _)| name).collect();
        let is_arena =
            |name: &[u8]| name.strip_suffix(b"__nullable").unwrap_or(name).ends_with(b"__arena");
        !kfuncs.is_empty()
            && (layers.first_id()..layers.next_id())
                .filter_map(|id| layers.get(id))
                .filter(|ty| ty.kind() == Some(Kind::Func))
                .filter(|ty| kfuncs.contains(&layers.string(ty.name())))
                .filter_map(|ty| layers.get(ty.size_or_type()))
                .filter(|ty| ty.kind() == Some(Kind::FuncProto))
                .flat_map(|proto| proto.payload().chunks_exact(2))
                .any(|parameter| is_arena(layers.string(parameter[0])))
    }

    /// Resolves the ids for `btf` over `base`.
    pub fn resolve(
        self,
        base: Option<&Btf>,
        btf: &Btf,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Ids>, EncodeError> {
        let kfunc_flags = self.kfuncs().fold(0, |all, (_, flags)| all | flags);
        let arena_parameters = self.has_arena_parameters(Layers::new(btf, base));
        let Source { ids, pristine: Some(pristine) } = self else { return Ok(None) };
        let layers: Vec<&Btf> = base.into_iter().chain([btf]).collect();
        let resolved = ids.resolve(&pristine.words, &layers)?;
        warnings.extend(resolved.warnings);
        Ok(Some(Ids {
            build_id: ids.build_id().map(str::to_owned),
            settled: resolved.words == ids.bytes(),
            resolved: resolved.words,
            pristine,
            kfunc_flags,
            arena_parameters,
        }))
    }
}
