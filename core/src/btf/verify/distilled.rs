//! A module that brings the part of the base that it needs.

use super::{Problem, verify};
use crate::btf::relocate::relocate;
use crate::btf::{Btf, BtfError};

/// What the kernel would object to in a module whose BTF stands on a distilled base.
///
/// As when a module is loaded: the distilled base and the layer on top are checked, then the layer
/// is put onto `base`. What that gives is checked once more. Without `base` the last two steps are
/// left out.
pub fn verify_distilled(btf: &[u8], distilled: &[u8], base: Option<&Btf>) -> Vec<Problem> {
    let below = match parsed(distilled, None) {
        Ok(below) => below,
        Err(problem) => return vec![problem],
    };
    let mut problems = Vec::new();
    // Without types it is nothing that the kernel would take as its own BTF, but as this it does.
    if !below.types.is_empty() {
        problems.extend(verify(distilled, None).into_iter().map(in_base));
    }
    problems.extend(verify(btf, Some(&below)));
    let (Some(base), false) = (base, problems.iter().any(|p| p.refused)) else { return problems };
    let split = match parsed(btf, Some(&below)) {
        Ok(split) => split,
        Err(_) => return problems,
    };
    match relocate(&split, &below, base) {
        Ok(relocated) => {
            if problems.is_empty() {
                problems = verify(&relocated.to_bytes(), Some(base));
            }
        }
        Err(error) => problems.extend(error.mismatches.into_iter().map(|m| Problem {
            id: Some(m.id).filter(|&id| id > 0),
            subject: m.subject,
            what: format!("{} (kernel: {})", m.what, m.what.in_kernel()),
            refused: true,
        })),
    }
    // What ends the load comes first.
    problems.sort_by_key(|p| !p.refused);
    problems
}

fn parsed(bytes: &[u8], base: Option<&Btf>) -> Result<Btf, Problem> {
    Btf::parse(bytes, base).map_err(|error| {
        let id = match &error {
            BtfError::Type { id, .. } => Some(*id),
            _ => None,
        };
        let what = match error {
            BtfError::Type { what, .. } => what,
            other => other.to_string(),
        };
        in_base(Problem { id, subject: String::new(), what, refused: true })
    })
}

fn in_base(problem: Problem) -> Problem {
    Problem { what: format!("in .BTF.base: {}", problem.what), ..problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Kind;
    use crate::btf::distill::distill;
    use crate::btf::sample::Maker;

    fn lines(btf: &Btf, distilled: &Btf, base: Option<&Btf>) -> Vec<String> {
        let problems = verify_distilled(&btf.to_bytes(), &distilled.to_bytes(), base);
        assert!(problems.iter().all(|p| p.refused));
        problems.iter().map(ToString::to_string).collect()
    }

    fn base() -> Btf {
        let mut m = Maker::new();
        m.int("int", 4);
        m.composite(Kind::Struct, "s", 4, &[("i", 1, 0, 0)]);
        m.btf
    }

    #[test]
    fn what_fits_is_accepted() {
        let base = base();
        let mut m = Maker::on(&base);
        m.refer(Kind::Ptr, "", 2);
        let made = distill(&m.btf, &base).unwrap();
        assert_eq!(lines(&made.split, &made.base, Some(&base)), [""; 0]);
        assert_eq!(lines(&made.split, &made.base, None), [""; 0]);
        // A module that needs nothing of the base.
        let mut m = Maker::on(&base);
        m.refer(Kind::Ptr, "", 0);
        let made = distill(&m.btf, &base).unwrap();
        assert_eq!(lines(&made.split, &made.base, Some(&base)), [""; 0]);
    }

    #[test]
    fn each_step_is_checked() {
        let base = base();
        let mut m = Maker::on(&base);
        m.refer(Kind::Ptr, "", 2);
        let made = distill(&m.btf, &base).unwrap();
        let other = Maker::new().btf;
        assert_eq!(
            lines(&made.split, &made.base, Some(&other)),
            [
                "[1] struct s: the base has no type of that name (kernel: is not mapped to base BTF id)"
            ]
        );
        // The distilled base itself.
        let mut bad = made.base.clone();
        bad.strings[1] = b'%';
        assert_eq!(
            lines(&made.split, &bad, Some(&base)).first().map(String::as_str),
            Some(
                "[1] struct %: in .BTF.base: its name is not an identifier (kernel: Invalid name)"
            )
        );
        let mut cut = made.base.to_bytes();
        cut.truncate(30);
        let problems = verify_distilled(&made.split.to_bytes(), &cut, Some(&base));
        assert!(problems[0].to_string().starts_with("in .BTF.base: "), "{problems:?}");
        // The module on top of it.
        let mut bad = made.split.clone();
        bad.types.get_mut(0)[1] |= 1;
        assert_eq!(lines(&bad, &made.base, Some(&base)).len(), 1);
    }
}
