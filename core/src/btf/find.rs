//! Looking a type up by name.

use super::{Btf, Kind, strings};

/// The lowest id with this name, and kind if one is given; `layers` from the lowest up.
///
/// As in libbpf, [`Kind::Void`] and the name `void` are type 0. The layers continue each other.
/// Cost: one pass over the types.
pub fn find(layers: &[&Btf], name: &[u8], kind: Option<Kind>) -> Option<u32> {
    if kind == Some(Kind::Void) || name == b"void" {
        return Some(0);
    }
    let text = |offset: u32| {
        let layer = layers.iter().rev().find(|layer| offset >= layer.first_string);
        layer.map_or(&[][..], |layer| strings::at(&layer.strings, offset - layer.first_string))
    };
    layers.iter().find_map(|layer| {
        (layer.first_id..).zip(layer.types.iter()).find_map(|(id, ty)| {
            let wanted = kind.is_none_or(|kind| ty.kind() == Some(kind));
            (wanted && text(ty.name()) == name).then_some(id)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::types::info;
    use crate::btf::{Endian, Types};

    fn layer(below: Option<&Btf>, strings: &[u8], heads: &[(u32, Kind)]) -> Btf {
        let mut types = Types::new();
        for &(name, kind) in heads {
            types.push(&[name, info(kind, 0, false), 0]);
        }
        Btf { types, strings: strings.to_vec(), ..Btf::empty(Endian::Little, below) }
    }

    #[test]
    fn lowest_id_lower_layers_first() {
        use Kind::{Const, Fwd, Struct, Typedef};
        let base = layer(None, b"\0a\0b\0", &[(0, Const), (1, Fwd), (1, Struct)]);
        let split = layer(Some(&base), b"c\0", &[(3, Struct), (1, Struct), (5, Typedef)]);
        let layers = [&base, &split];
        assert_eq!(find(&layers, b"a", None), Some(2));
        assert_eq!(find(&layers, b"a", Some(Struct)), Some(3));
        assert_eq!(find(&layers, b"b", Some(Struct)), Some(4));
        assert_eq!(find(&layers, b"c", Some(Typedef)), Some(6));
        assert_eq!(find(&layers, b"c", Some(Struct)), None);
        assert_eq!(find(&layers, b"void", Some(Struct)), Some(0));
        assert_eq!(find(&layers, b"a", Some(Kind::Void)), Some(0));
    }
}
