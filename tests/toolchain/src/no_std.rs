//! What a Rust CU in a kernel looks like: no_std, enums with data, slices, generics.
#![no_std]

pub struct Point {
    pub tag: u8,
    pub x: u64,
    pub y: u32,
}

pub enum Shape {
    Nothing,
    Circle(Point, u32),
    Square { corner: Point, side: i16 },
}

#[repr(C)]
pub struct Shared<'a> {
    pub next: Option<&'a Point>,
    pub bytes: &'a [u8],
    pub wide: u128,
    pub letter: char,
}

#[unsafe(no_mangle)]
pub extern "C" fn rust_area(shape: &Shape) -> u64 {
    match shape {
        Shape::Nothing => 0,
        Shape::Circle(center, radius) => center.x + u64::from(*radius),
        Shape::Square { corner, side } => u64::from(corner.y) + *side as u64,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn rust_shared(shared: &Shared, pair: (u8, u32)) -> usize {
    shared.bytes.len() + pair.1 as usize
}
