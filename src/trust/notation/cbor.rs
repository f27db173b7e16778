//! CBOR (RFC 8949), as far as COSE needs it: whole items of definite length, within bounds, no key twice. Everything else is a fault. What is
//! kept points into the bytes that came.

use crate::order::Ordered as _;
use std::collections::BTreeSet;

/// Deepest nesting. notation's messages have 3.
const DEPTH: u8 = 32;
/// Most items of one message. A chain of 16 and its headers have some 60.
const ITEMS: usize = 4096;

/// One item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item<'a> {
    Unsigned(u64),
    /// `-1 - n`.
    Negative(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Tag(u64, Box<Self>),
    /// False, true, null and the like; floats, which nothing here asks for, by their bits.
    Simple(u8, u64),
}

struct Reader<'a> {
    rest: &'a [u8],
    left: usize,
}

/// The one item that these bytes are, with nothing behind it.
pub(super) fn read(bytes: &[u8]) -> Result<Item<'_>, &'static str> {
    let mut reader = Reader { rest: bytes, left: ITEMS };
    let item = reader.item(DEPTH)?;
    if reader.rest.is_empty() { Ok(item) } else { Err("something follows its CBOR") }
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], &'static str> {
        let count = usize::try_from(count).map_err(|_| "its CBOR ends early")?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("its CBOR ends early")?;
        self.rest = rest;
        Ok(taken)
    }

    /// Major type, the five bits beside it, and the number that they stand for.
    fn head(&mut self) -> Result<(u8, u8, u64), &'static str> {
        let [first] = self.take(1)? else { return Err("its CBOR ends early") };
        let (major, info) = (first >> 5, first & 31);
        let size = match info {
            0..=23 => return Ok((major, info, u64::from(info))),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Err("its CBOR has an item of indefinite length"),
            _ => return Err("its CBOR is malformed"),
        };
        let number = self.take(size)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
        Ok((major, info, number))
    }

    fn item(&mut self, depth: u8) -> Result<Item<'a>, &'static str> {
        let depth = depth.checked_sub(1).ok_or("its CBOR is nested too deeply")?;
        self.left = self.left.checked_sub(1).ok_or("its CBOR has too many items")?;
        let (major, info, number) = self.head()?;
        Ok(match major {
            0 => Item::Unsigned(number),
            1 => Item::Negative(number),
            2 => Item::Bytes(self.take(number)?),
            3 => Item::Text(std::str::from_utf8(self.take(number)?).map_err(|_| "its CBOR has a text that is not UTF-8")?),
            // What a length claims is no reason to make room for it.
            4 => {
                let mut items = Vec::new();
                for _ in 0..number {
                    items.push(self.item(depth)?);
                }
                Item::Array(items)
            }
            5 => {
                let mut entries = Vec::new();
                for _ in 0..number {
                    entries.push((self.item(depth)?, self.item(depth)?));
                }
                let keys: BTreeSet<&Item<'_>> = entries.iter().map(|(key, _)| key).ordered();
                if keys.len() < entries.len() {
                    return Err("its CBOR has a key twice");
                }
                Item::Map(entries)
            }
            6 => Item::Tag(number, Box::new(self.item(depth)?)),
            _ if info == 24 && number < 32 => return Err("its CBOR is malformed"),
            _ => Item::Simple(info, number),
        })
    }
}

/// The head of an item of this major type.
pub(super) fn head(out: &mut Vec<u8>, major: u8, number: usize) {
    let number = number as u64;
    let bytes = number.to_be_bytes();
    let (info, size) = match number {
        0..=23 => (u8::try_from(number).unwrap_or_default(), 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    out.push((major << 5) | info);
    out.extend(bytes.iter().skip(bytes.len() - size));
}

/// What a `COSE_Sign1` signs (RFC 9052, 4.4): an array of its context, the protected header as it stands, no further data, and the payload.
pub(super) fn signed_by_one(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(protected.len() + payload.len() + 32);
    head(&mut out, 4, 4);
    head(&mut out, 3, CONTEXT.len());
    out.extend_from_slice(CONTEXT.as_bytes());
    for bytes in [protected, &[], payload] {
        head(&mut out, 2, bytes.len());
        out.extend_from_slice(bytes);
    }
    out
}

const CONTEXT: &str = "Signature1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_whatever_the_length_of_their_heads_and_each_fault_is_one() {
        let text = |text| Item::Text(text);
        for (bytes, item) in [
            (&[0x17][..], Item::Unsigned(23)),
            (&[0x18, 0x17], Item::Unsigned(23)),
            (&[0x1b, 0, 0, 0, 0, 0, 0, 0, 1], Item::Unsigned(1)),
            (&[0x38, 0x24], Item::Negative(36)),
            (&[0x41, 7], Item::Bytes(&[7])),
            (&[0x61, b'a'], text("a")),
            (&[0x98, 1, 0xf6], Item::Array(vec![Item::Simple(22, 22)])),
            (&[0xa1, 0, 0x60], Item::Map(vec![(Item::Unsigned(0), text(""))])),
            (&[0xc1, 0], Item::Tag(1, Box::new(Item::Unsigned(0)))),
        ] {
            assert_eq!(read(bytes), Ok(item), "{bytes:x?}");
        }
        for bad in [
            &[][..],
            &[0x18],
            &[0x1c],
            &[0x42, 0],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0],
            &[0x61, 0xff],
            &[0x9f, 0xff],
            &[0x5f, 0xff],
            &[0xbf, 0xff],
            &[0xff],
            &[0xa2, 0, 0, 0x18, 0, 1],
            &[0xf8, 0x1f],
            &[0, 0],
            &[0xd2],
        ] {
            assert!(read(bad).is_err(), "{bad:x?}");
        }
        assert!(read(&[vec![0x81; 40], vec![0]].concat()).is_err(), "nested too deeply");
        assert!(read(&[vec![0x99, 0xff, 0xff], vec![0; 0xffff]].concat()).is_err(), "too many");
    }

    #[test]
    fn what_is_signed_is_written_in_its_shortest_form() {
        let signed = signed_by_one(&[0xa0], &[7; 300]);
        assert_eq!(signed.get(..18), Some(&b"\x84\x6aSignature1\x41\xa0\x40\x59\x01\x2c"[..]));
        assert_eq!(signed.len(), 18 + 300);
    }
}
