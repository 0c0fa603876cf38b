//! A struct as text, in the form that kernel people know from pahole.

use super::CACHE_LINE;
use super::rows::{Layout, Row};
use std::fmt::Write;

/// Columns of types and of names at the outermost level, and of one level of nesting.
const TYPES: usize = 26;
const NAMES: usize = 21;
const TAB: usize = 8;

/// The struct or union, its members with offset and size in bytes, holes, cache lines, a summary.
pub fn print(layout: &Layout) -> String {
    let mut text = Text { out: String::new(), depth: 1 };
    text.print(format_args!("{} {{\n", layout.head));
    let mut gap = false;
    for row in &layout.rows {
        let space = matches!(row, Row::Hole { .. });
        if space != gap && (space || !matches!(row, Row::Close { .. })) {
            text.out.push('\n');
        }
        gap = space;
        text.row(row);
    }
    text.summary(layout);
    text.out.push_str("};\n");
    text.out
}

struct Text {
    out: String,
    depth: usize,
}

impl Text {
    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.out.write_fmt(text);
    }

    fn row(&mut self, row: &Row) {
        match row {
            Row::Open { word } => {
                self.indent(0);
                self.print(format_args!("{word} {{\n"));
                self.depth += 1;
            }
            Row::Close { declaration, offset, bits } => {
                self.depth -= 1;
                let text = format!("}}{declaration};");
                let width = (TYPES + NAMES + 2).saturating_sub((self.depth - 1) * TAB);
                self.indent(0);
                self.print(format_args!(
                    "{text:<width$} /* {:>5} {:>5} */\n",
                    offset / 8,
                    bits / 8
                ));
            }
            Row::Member(m) => {
                let nested = (self.depth - 1) * TAB;
                let types = TYPES.saturating_sub(nested);
                let width = TYPES + NAMES + 2 - nested.min(TYPES);
                let mut text = format!("{:<types$} {}", m.base, m.name);
                if m.width > 0 {
                    let _ = write!(text, ":{}", m.width);
                }
                text.push(';');
                self.indent(0);
                let (at, size) = (m.unit(), m.size);
                let place = match m.width {
                    0 => format!("{:>5} {size:>5}", m.offset / 8),
                    _ => format!("{:>5}:{:>2} {size:>2}", at.0, at.1),
                };
                self.print(format_args!("{text:<width$} /* {place} */\n"));
            }
            Row::Hole { bits, .. } => {
                for (n, unit) in [(bits.0, "bit"), (bits.1, "byte")].into_iter().filter(|n| n.0 > 0)
                {
                    let plural = if n == 1 { "" } else { "s" };
                    self.indent(0);
                    self.print(format_args!("/* XXX {n} {unit}{plural} hole, try to pack */\n"));
                }
            }
            Row::Boundary { line, ago } => {
                self.indent(0);
                let bytes = line * CACHE_LINE;
                let ago = match ago {
                    0 => String::new(),
                    1 => " was 1 byte ago".to_owned(),
                    n => format!(" was {n} bytes ago"),
                };
                self.print(format_args!(
                    "/* --- cacheline {line} boundary ({bytes} bytes){ago} --- */\n"
                ));
            }
        }
    }

    fn indent(&mut self, more: usize) {
        self.out.extend((0..self.depth + more).map(|_| '\t'));
    }

    fn summary(&mut self, layout: &Layout) {
        let s = &layout.summary;
        if !layout.rows.is_empty() {
            self.out.push('\n');
        }
        let lines = layout.size.div_ceil(CACHE_LINE);
        self.print(format_args!(
            "\t/* size: {}, cachelines: {lines}, members: {} */\n",
            layout.size, s.members
        ));
        if s.holes > 0 || s.bit_holes > 0 {
            self.print(format_args!("\t/* sum members: {}", s.sum_members));
            if s.holes > 0 {
                self.print(format_args!(", holes: {}, sum holes: {}", s.holes, s.sum_holes));
            }
            self.out.push_str(" */\n");
        }
        if s.bit_holes > 0 {
            self.print(format_args!(
                "\t/* sum bitfield members: {} bits, bit holes: {}, sum bit holes: {} bits */\n",
                s.bitfields, s.bit_holes, s.sum_bit_holes
            ));
        }
        if s.padding > 0 {
            self.print(format_args!("\t/* padding: {} */\n", s.padding));
        }
        if s.bit_padding > 0 {
            self.print(format_args!("\t/* bit_padding: {} bits */\n", s.bit_padding));
        }
        if !layout.size.is_multiple_of(CACHE_LINE) {
            self.print(format_args!(
                "\t/* last cacheline: {} bytes */\n",
                layout.size % CACHE_LINE
            ));
        }
    }
}
