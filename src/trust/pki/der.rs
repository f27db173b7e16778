//! DER, element by element, with the bytes of each as they stand: what is signed is cut out, never written again.

use jiff::Timestamp;
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use x509_cert::der::{
    Decode, DecodeValue, Encode as _, FixedTag, Header, Length, Reader as _, SliceReader, Tag, TagNumber, Tagged as _,
};

use super::fault::Fault;

/// One element.
#[derive(Debug, Clone, Copy)]
pub(in crate::trust) struct Item<'a> {
    /// All of its bytes, head and value.
    pub(in crate::trust) bytes: &'a [u8],
    any: AnyRef<'a>,
}

/// The elements of one, in their order.
pub(in crate::trust) struct Items<'a> {
    reader: SliceReader<'a>,
    /// What is read, for faults.
    of: &'static str,
}

impl<'a> Item<'a> {
    /// The one element that `bytes` are, with nothing behind it.
    pub(in crate::trust) fn whole(bytes: &'a [u8], of: &'static str) -> Result<Self, Fault> {
        let mut items = Items::of(bytes, of)?;
        let item = items.next()?;
        items.end()?;
        Ok(item)
    }

    /// Its value, without the head.
    pub(in crate::trust) fn value(&self) -> &'a [u8] {
        self.any.value()
    }

    pub(in crate::trust) fn is(&self, tag: Tag) -> bool {
        self.any.tag() == tag
    }

    /// The number of a tag that its context gives a meaning.
    pub(in crate::trust) fn context(&self) -> Option<u32> {
        match self.any.tag() {
            Tag::ContextSpecific { number, .. } => Some(number.0),
            _ => None,
        }
    }

    /// What is in it, whatever its tag.
    pub(in crate::trust) fn items(&self, of: &'static str) -> Result<Items<'a>, Fault> {
        Items::of(self.value(), of)
    }

    /// What is in it, if it is a sequence.
    pub(in crate::trust) fn sequence(&self, of: &'static str) -> Result<Items<'a>, Fault> {
        self.inside(Tag::Sequence, of)
    }

    /// What is in it, if it is a set. Its order is not looked at.
    pub(in crate::trust) fn set(&self, of: &'static str) -> Result<Items<'a>, Fault> {
        self.inside(Tag::Set, of)
    }

    /// What is in it, if its tag is this.
    pub(in crate::trust) fn inside(&self, tag: Tag, of: &'static str) -> Result<Items<'a>, Fault> {
        if self.is(tag) { Items::of(self.value(), of) } else { Err(Fault::Form(of)) }
    }

    /// As a value of this type.
    pub(in crate::trust) fn read<T: DecodeValue<'a> + FixedTag + 'a>(&self, of: &'static str) -> Result<T, Fault> {
        self.any.decode_as::<T>().map_err(|_| Fault::Form(of))
    }

    pub(in crate::trust) fn oid(&self, of: &'static str) -> Result<ObjectIdentifier, Fault> {
        self.read(of)
    }

    /// The bytes of an OCTET STRING.
    pub(in crate::trust) fn octets(&self, of: &'static str) -> Result<&'a [u8], Fault> {
        if self.is(Tag::OctetString) { Ok(self.value()) } else { Err(Fault::Form(of)) }
    }

    /// The bytes of a BIT STRING of whole bytes.
    pub(in crate::trust) fn bits(&self, of: &'static str) -> Result<&'a [u8], Fault> {
        self.read::<BitStringRef<'a>>(of)?.as_bytes().ok_or(Fault::Form(of))
    }

    /// A number that is not negative and small.
    pub(in crate::trust) fn number(&self, of: &'static str) -> Result<u32, Fault> {
        let number: UintRef<'a> = self.read(of)?;
        number
            .as_bytes()
            .iter()
            .try_fold(0_u32, |sum, byte| sum.checked_mul(256)?.checked_add(u32::from(*byte)))
            .ok_or(Fault::Form(of))
    }

    /// A time with its zone: UTCTime or GeneralizedTime, the latter with fractions of a second too (RFC 3161, 2.4.2).
    pub(in crate::trust) fn time(&self, of: &'static str) -> Result<Timestamp, Fault> {
        let text = std::str::from_utf8(self.value()).map_err(|_| Fault::Form(of))?;
        let read = match self.any.tag() {
            // RFC 5280, 4.1.2.5.1: from 50 on it is the last century.
            Tag::UtcTime => {
                let century = if text.get(..2).is_some_and(|year| year < "50") { "20" } else { "19" };
                time(&format!("{century}{text}")).filter(|_| text.len() == 13)
            }
            Tag::GeneralizedTime => time(text),
            _ => None,
        };
        read.ok_or(Fault::Form(of))
    }
}

/// `YYYYMMDDHHMMSS[.f]Z`; the fraction, where there is one, does not end in a zero.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z')?;
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !are_digits(whole) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| whole.get(range);
    let mut written =
        format!("{}-{}-{}T{}:{}:{}", part(0..4)?, part(4..6)?, part(6..8)?, part(8..10)?, part(10..12)?, part(12..14)?);
    // A leap second is none that a clock of ours knows.
    if part(12..14)? > "59" {
        return None;
    }
    if let Some(fraction) = fraction {
        if !(1..=9).contains(&fraction.len()) || !are_digits(fraction) || fraction.ends_with('0') {
            return None;
        }
        written.push('.');
        written.push_str(fraction);
    }
    written.push('Z');
    written.parse().ok()
}

impl<'a> Items<'a> {
    /// The elements that `bytes` are.
    pub(in crate::trust) fn of(bytes: &'a [u8], of: &'static str) -> Result<Self, Fault> {
        let reader = SliceReader::new(bytes).map_err(|_| Fault::Form(of))?;
        Ok(Self { reader, of })
    }

    /// The next one, which must be there.
    pub(in crate::trust) fn next(&mut self) -> Result<Item<'a>, Fault> {
        let fault = |_| Fault::Form(self.of);
        let bytes = self.reader.tlv_bytes().map_err(fault)?;
        let any = AnyRef::from_der(bytes).map_err(fault)?;
        Ok(Item { bytes, any })
    }

    /// The next one, if its tag is this.
    pub(in crate::trust) fn next_if(&mut self, tag: Tag) -> Result<Option<Item<'a>>, Fault> {
        let is_it = !self.reader.is_finished() && Header::peek(&self.reader).map_err(|_| Fault::Form(self.of))?.tag() == tag;
        if is_it { self.next().map(Some) } else { Ok(None) }
    }

    /// All that are left, no more than `most`.
    pub(in crate::trust) fn rest(mut self, most: usize) -> Result<Vec<Item<'a>>, Fault> {
        let mut items = Vec::new();
        while !self.reader.is_finished() {
            if items.len() >= most {
                return Err(Fault::Form(self.of));
            }
            items.push(self.next()?);
        }
        Ok(items)
    }

    /// Nothing is left.
    pub(in crate::trust) fn end(&self) -> Result<(), Fault> {
        if self.reader.is_finished() { Ok(()) } else { Err(Fault::Form(self.of)) }
    }
}

/// An element, written: head and value.
pub(super) fn written(tag: Tag, value: &[u8]) -> Result<Vec<u8>, Fault> {
    let fault = |_| Fault::Form("it is too large");
    let length = Length::try_from(value.len()).map_err(fault)?;
    let mut out = Header::new(tag, length).to_der().map_err(fault)?;
    out.extend_from_slice(value);
    Ok(out)
}

/// `[number]` around or in place of elements.
pub(super) const fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// `[number]` in place of a simple value.
pub(super) const fn context_simple(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: false, number: TagNumber(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_spelling_and_may_have_fractions() {
        let read = |tag: u8, text: &str| {
            let mut der = vec![tag, u8::try_from(text.len()).unwrap()];
            der.extend(text.as_bytes());
            Item::whole(&der, "a time").and_then(|item| item.time("a time")).map(|time| time.to_string()).ok()
        };
        for (tag, text, is) in [
            (0x17, "261130120000Z", "2026-11-30T12:00:00Z"),
            (0x17, "500101000000Z", "1950-01-01T00:00:00Z"),
            (0x18, "20261130120000Z", "2026-11-30T12:00:00Z"),
            (0x18, "20261130120000.25Z", "2026-11-30T12:00:00.25Z"),
        ] {
            assert_eq!(read(tag, text).as_deref(), Some(is));
        }
        for (tag, text) in [
            (0x17, "2611301200Z"),
            (0x17, "261130120000+0000"),
            (0x17, "20261130120000Z"),
            (0x17, "261130120000.5Z"),
            (0x18, "20261130120000"),
            (0x18, "20261330120000Z"),
            (0x18, "20261130120060Z"),
            (0x18, "20261130120000.Z"),
            (0x18, "20261130120000.50Z"),
            (0x18, "20261130120000,5Z"),
            (0x18, "2026113012000éZ"),
            (0x0c, "20261130120000Z"),
        ] {
            assert_eq!(read(tag, text), None, "{text}");
        }
    }
}
