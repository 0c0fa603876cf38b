//! Reading numbers from a slice, each read checked against its end.

use gimli::{Error, ReaderOffsetId, Result};

/// A position in a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'d> {
    bytes: &'d [u8],
    at: usize,
}

impl<'d> Cursor<'d> {
    pub fn new(bytes: &'d [u8]) -> Cursor<'d> {
        Cursor { bytes, at: 0 }
    }

    /// Starts in the middle of a slice.
    pub fn at(bytes: &'d [u8], at: usize) -> Cursor<'d> {
        Cursor { bytes, at }
    }

    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    #[cold]
    fn end(&self) -> Error {
        Error::UnexpectedEof(ReaderOffsetId(self.at as u64))
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'d [u8]> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else { return Err(self.end()) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    #[inline]
    pub fn skip(&mut self, len: usize) -> Result<()> {
        self.take(len).map(|_| ())
    }

    /// Passes over bytes that [`Cursor::window`] has shown.
    #[inline]
    pub fn advance(&mut self, len: u8) {
        self.at += usize::from(len);
    }

    /// The next `N` bytes, where there are as many.
    #[inline]
    pub fn window<const N: usize>(&self) -> Option<&'d [u8; N]> {
        self.bytes.get(self.at..).and_then(|rest| rest.first_chunk())
    }

    /// A number of `len` bytes, up to 8, that begins `ahead` bytes from here; 0 beyond the end.
    #[inline]
    pub fn peek(&self, ahead: usize, len: usize, big_endian: bool) -> u64 {
        let mut ahead = Cursor { bytes: self.bytes, at: self.at + ahead };
        ahead.fixed(len, big_endian).unwrap_or(0)
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        let Some(&byte) = self.bytes.get(self.at) else { return Err(self.end()) };
        self.at += 1;
        Ok(byte)
    }

    /// A number of `len` bytes, up to 8; of more, the first 8.
    #[inline]
    pub fn fixed(&mut self, len: usize, big_endian: bool) -> Result<u64> {
        // Most numbers have eight bytes behind their start, and then one load will do.
        if let Some(&word) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>())
            && !big_endian
            && let 1..=8 = len
        {
            self.at += len;
            return Ok(u64::from_le_bytes(word) & (u64::MAX >> (64 - 8 * len)));
        }
        self.fixed_at_end(len, big_endian)
    }

    fn fixed_at_end(&mut self, len: usize, big_endian: bool) -> Result<u64> {
        let bytes = self.take(len)?;
        let mut word = [0; 8];
        let n = len.min(8);
        Ok(if big_endian {
            word[8 - n..].copy_from_slice(&bytes[..n]);
            u64::from_be_bytes(word)
        } else {
            match *bytes {
                [a] => u64::from(a),
                [a, b] => u64::from(u16::from_le_bytes([a, b])),
                [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
                _ => {
                    word[..n].copy_from_slice(&bytes[..n]);
                    u64::from_le_bytes(word)
                }
            }
        })
    }

    #[inline]
    pub fn uleb(&mut self) -> Result<u64> {
        let first = self.u8()?;
        if first & 0x80 == 0 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.u8()?;
            if shift >= 63 && byte > 1 {
                return Err(Error::BadUnsignedLeb128);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub fn sleb(&mut self) -> Result<i64> {
        let mut value = 0i64;
        let mut shift = 0;
        loop {
            let byte = self.u8()?;
            if shift >= 63 && byte != 0 && byte != 0x7f {
                return Err(Error::BadSignedLeb128);
            }
            value |= i64::from(byte & 0x7f).wrapping_shl(shift);
            shift += 7;
            if byte & 0x80 == 0 {
                if byte & 0x40 != 0 && shift < 64 {
                    value |= -1i64 << shift;
                }
                return Ok(value);
            }
        }
    }

    /// Bytes up to a NUL and the NUL.
    #[inline]
    pub fn text(&mut self) -> Result<&'d [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(len) = memchr::memchr(0, rest) else { return Err(self.end()) };
        self.at += len + 1;
        Ok(&rest[..=len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_lengths_and_their_ends() {
        let mut c = Cursor::new(&[0x01, 0x34, 0x12, 0x03, 0x02, 0x01, 0xe5, 0x8e, 0x26, 0x7f]);
        assert_eq!(c.fixed(1, false), Ok(1));
        assert_eq!(c.fixed(2, false), Ok(0x1234));
        assert_eq!(c.fixed(3, false), Ok(0x0001_0203));
        assert_eq!(c.uleb(), Ok(624_485));
        assert_eq!(c.sleb(), Ok(-1));
        assert!(c.is_empty() && c.u8().is_err() && c.uleb().is_err() && c.take(1).is_err());
        assert_eq!(Cursor::new(&[0x12, 0x34]).fixed(2, true), Ok(0x1234));
        assert_eq!(Cursor::new(b"ab\0c").text(), Ok(&b"ab\0"[..]));
        assert!(Cursor::new(b"ab").text().is_err());
        let longest = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
        assert_eq!(Cursor::new(&longest).sleb(), Ok(i64::MIN));
        assert_eq!(Cursor::new(&[0xff; 11]).uleb(), Err(Error::BadUnsignedLeb128));
    }
}
