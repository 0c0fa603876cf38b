//! Chains of typedefs, qualifiers and tags: none too long, none closed, tags before the others.

use super::Report;
use crate::btf::Kind;

/// Links that the kernel follows.
const LIMIT: u32 = 32;

/// Kernel, check of type tags, made for modules too. As there, a chain counts up to the first link
/// that an earlier chain began with: such a one was counted in its own turn.
pub(super) fn check(report: &mut Report<'_>) {
    let layers = report.layers;
    let mut counted = layers.first_id().saturating_sub(1);
    for start in layers.first_id()..layers.next_id() {
        if !layers.kind(start).is_modifier() || report.full() {
            continue;
        }
        let mut tags = layers.kind(start) == Kind::TypeTag;
        let (mut id, mut links) = (start, 0);
        while layers.kind(id).is_modifier() {
            if links == LIMIT {
                let what =
                    format!("stands on more than {LIMIT} typedefs and qualifiers, or on itself");
                report.refuse(start, what, "Max chain length or cycle detected");
                break;
            }
            links += 1;
            let tag = layers.kind(id) == Kind::TypeTag;
            if tag && !tags {
                report.refuse(
                    start,
                    format!("type tag [{id}] comes after a typedef or qualifier"),
                    "Type tags don't precede modifiers",
                );
                break;
            }
            tags = tag;
            if id <= counted {
                break;
            }
            id = layers.get(id).map_or(0, |ty| ty.size_or_type());
        }
        counted = start;
    }
}
