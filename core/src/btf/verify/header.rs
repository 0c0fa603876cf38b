//! The header and the sections: kernel, reading of the header and of the string section.

use super::Report;
use crate::btf::{Btf, Endian};

/// Names of all layers lie below this offset.
pub(super) const MAX_STRINGS: u64 = 1 << 24;
/// Ids of all layers lie below this.
pub(super) const MAX_TYPES: u64 = 1 << 20;

/// Checks what parsing lets pass. `bytes` have been parsed as `btf`, hence have a header.
pub(super) fn check(bytes: &[u8], btf: &Btf, split: bool, report: &mut Report<'_>) {
    let word = |at: usize| -> u64 {
        let bytes = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or([0; 4]);
        match btf.endian {
            Endian::Little => u32::from_le_bytes(bytes).into(),
            Endian::Big => u32::from_be_bytes(bytes).into(),
        }
    };
    let header_len = word(4);
    let known = if word(28) > 0 && header_len >= 32 { 32 } else { 24 };
    let beyond = bytes.get(known..header_len as usize).unwrap_or_default();
    if beyond.iter().any(|&b| b != 0) {
        let what = format!("the header has {header_len} bytes, not all zero beyond {known}");
        report.refuse_blob(what, "Unsupported btf_header, E2BIG");
    } else if known == 32 && split {
        // Kernels from 7.1 on know it; tools write it for vmlinux only.
        let what = "the header describes a layout section, which kernels before 7.1 do not know";
        report.refuse_blob(what, "Unsupported btf_header, E2BIG");
    }

    // Types, layout and strings follow each other in any order, without gap, overlap or rest.
    let mut sections = vec![("type", word(8), word(12)), ("string", word(16), word(20))];
    if known == 32 {
        sections.push(("layout", word(24), word(28)));
    }
    sections.sort_by_key(|&(_, at, len)| (at, len));
    let mut end = 0;
    for (name, at, len) in sections {
        if at > end {
            let what = format!("{} bytes that no section has before the {name}s", at - end);
            report.refuse_blob(what, "Unsupported section found");
        } else if at < end {
            let what = format!("the {name} section begins {} bytes inside another", end - at);
            report.refuse_blob(what, "Section overlap found");
        }
        end = at + len;
    }
    let rest = (bytes.len() as u64).saturating_sub(header_len);
    if end < rest {
        let what = format!("{} bytes behind the last section", rest - end);
        report.refuse_blob(what, "Unsupported section found");
    }
    if word(16) + word(20) != rest {
        report.refuse_blob("strings are not the last section", "String section is not at the end");
    }
    if word(20) > MAX_STRINGS {
        let what = format!("{} bytes of strings, at most {MAX_STRINGS} are allowed", word(20));
        report.refuse_blob(what, "Invalid string section");
    }
    // A module without a type of its own is fine; vmlinux is not.
    if !split && btf.types.is_empty() {
        report.refuse_blob("no types", "No type found");
    }
}

#[cfg(test)]
mod tests {
    use crate::btf::sample::Maker;
    use crate::btf::verify::verify;
    use crate::btf::{Btf, Kind};

    fn lines(bytes: &[u8], base: Option<&Btf>) -> Vec<String> {
        verify(bytes, base).iter().map(ToString::to_string).collect()
    }

    /// A header of `len` bytes with these words after the length, then `body`.
    fn blob(len: u32, words: &[u32], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        bytes.extend(len.to_le_bytes());
        words.iter().for_each(|w| bytes.extend(w.to_le_bytes()));
        bytes.extend(body);
        bytes
    }

    #[test]
    fn header_and_sections() {
        let int = [1, 0x0100_0000, 4, 32].map(u32::to_le_bytes).concat();
        let body = [&int[..], b"\0int\0"].concat();
        let check = |bytes: &[u8], expected: &[&str]| {
            assert_eq!(lines(bytes, None), expected);
        };
        check(&blob(24, &[0, 16, 16, 5], &body), &[]);
        // A longer header, as long as the rest is zero.
        check(&blob(36, &[0, 16, 16, 5, 0, 0, 0], &body), &[]);
        check(
            &blob(36, &[0, 16, 16, 5, 0, 0, 7], &body),
            &[
                "the header has 36 bytes, not all zero beyond 24 (kernel: Unsupported btf_header, E2BIG)",
            ],
        );
        // A layout section stands between types and strings.
        let layout = [&int[..], &[0; 4], b"\0int\0"].concat();
        check(&blob(32, &[0, 16, 20, 5, 16, 4], &layout), &[]);
        check(
            &blob(24, &[0, 16, 20, 5], &layout),
            &["4 bytes that no section has before the strings (kernel: Unsupported section found)"],
        );
        check(
            &blob(24, &[0, 16, 16, 5], &[&body[..], b"x"].concat()),
            &[
                "1 bytes behind the last section (kernel: Unsupported section found)",
                "strings are not the last section (kernel: String section is not at the end)",
            ],
        );
        check(
            &blob(24, &[0, 16, 12, 9], &[&int[..12], &[0; 9]].concat()),
            &["the string section begins 4 bytes inside another (kernel: Section overlap found)"],
        );
        check(
            &blob(24, &[8, 16, 0, 8], &[b"\0int\0\0\0\0", &int[..]].concat()),
            &["strings are not the last section (kernel: String section is not at the end)"],
        );
        check(b"", &["not BTF: 0 bytes, expected at least 24"]);
        check(
            &blob(24, &[0, 16, 16, 5], &body[..20]),
            &["BTF string section at offset 0x28: 5 bytes reach beyond the blob's 44"],
        );
    }

    #[test]
    fn sixteen_mebibytes_of_strings() {
        let mut m = Maker::new();
        m.int("int", 4);
        m.btf.strings.resize(1 << 24, 0);
        assert_eq!(lines(&m.btf.to_bytes(), None), [""; 0]);
        let at = m.name("far");
        m.add(Kind::Float, "", 0, 8, &[]);
        m.btf.types.get_mut(1)[0] = at;
        assert_eq!(
            lines(&m.btf.to_bytes(), None),
            [
                "16777220 bytes of strings, at most 16777216 are allowed \
                 (kernel: Invalid string section)",
                "[2] float far: name at string offset 16777216, beyond 16777216 \
                 (kernel: Invalid name_offset)",
            ]
        );
    }

    #[test]
    fn layout_is_for_vmlinux_only() {
        let mut m = Maker::new();
        m.int("int", 4);
        let base = m.btf;
        let bytes = blob(32, &[0, 0, 4, 0, 0, 4], &[0; 4]);
        assert_eq!(
            lines(&bytes, Some(&base)),
            ["the header describes a layout section, which kernels before 7.1 do not know \
              (kernel: Unsupported btf_header, E2BIG)"]
        );
        // Types of a kind that the layout describes can be read, but not checked.
        let mut layout = vec![0u8; 31 * 4];
        layout.extend([0, 0, 0, 0]);
        let body =
            [&[0, 0x1f00_0000, 0].map(u32::to_le_bytes).concat()[..], &layout, &[0]].concat();
        let bytes = blob(32, &[0, 12, 12 + 128, 1, 12, 128], &body);
        assert_eq!(
            lines(&bytes, None),
            ["[1] kind 31: of a kind that kernels do not know (kernel: Invalid kind)"]
        );
    }
}
