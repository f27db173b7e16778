//! Who signers are: what a certificate says of its holder, and which of them count.

use x509_cert::der::Tag;
use x509_cert::der::asn1::ObjectIdentifier;

use super::fault::Fault;
use crate::trust::pki::{Certificate, Item};

/// Most identities of one verifier.
pub const IDENTITIES: usize = 64;
/// Longest subject or issuer, bytes.
const BYTES: usize = 2048;
const ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// Fulcio's: the issuer of the token as bare text, and as a `UTF8String`; a name that is neither address nor mail.
const ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
const OTHER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
const OF: &str = "its name";

/// A signer who counts. Both halves must be one certificate's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who vouches for the name, to the byte.
    pub issuer: String,
    /// The name; `*` stands for any text without control characters.
    pub subject: String,
}

/// Signers who count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identities(Vec<Identity>);

/// Of which kind a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Mail,
    Other,
}

/// What a certificate says of its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) subject: String,
    kind: Kind,
    pub(super) issuer: String,
}

impl Identity {
    /// What is wrong with it as a rule; `None`: nothing.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        for (what, text) in [("issuer", &self.issuer), ("subject", &self.subject)] {
            if text.is_empty() {
                return Some(format!("its {what} is empty; nobody, or everybody, would be meant"));
            }
            if text.len() > BYTES || text.chars().any(char::is_control) {
                return Some(format!("its {what} is too long, or has a control character"));
            }
        }
        self.issuer.contains('*').then(|| "its issuer has a `*`; an issuer is compared to the byte".to_owned())
    }

    /// What is likely not meant; `None`: nothing.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let star = self.subject.find('*')?;
        let is_wide = match self.subject.split_once("://") {
            // Behind `https://host/owner/`.
            Some((scheme, rest)) => {
                let slashes: Vec<usize> = rest.match_indices('/').map(|(at, _)| at + scheme.len() + 3).collect();
                slashes.get(1).is_none_or(|second| star <= *second)
            }
            None => self.subject.find('@').is_none_or(|at| self.subject.rfind('*').is_some_and(|last| last > at)),
        };
        is_wide.then(|| {
            format!("`{}` has a `*` before the end of host and owner: whoever may register a name there may sign", self.subject)
        })
    }

    fn is(&self, claimed: &Claimed) -> bool {
        let is_kind = match (self.subject.contains("://"), self.subject.contains('@')) {
            (true, _) => claimed.kind == Kind::Address,
            (false, true) => claimed.kind == Kind::Mail,
            (false, false) => true,
        };
        is_kind && self.issuer == claimed.issuer && self.names(&claimed.subject)
    }

    /// Whether the pattern is this subject. Of an address with a reference behind it (`…/ci.yml@refs/tags/v1`) each half is compared with its own:
    /// who names a branch `x@refs/tags/v1` does not become a tag.
    fn names(&self, subject: &str) -> bool {
        match self.subject.split_once("://").and_then(|_| self.subject.split_once("@refs/")) {
            Some((path, reference)) => subject
                .split_once("@refs/")
                .is_some_and(|(own_path, own_reference)| covers(path, own_path) && covers(reference, own_reference)),
            None => covers(&self.subject, subject),
        }
    }
}

/// Whether the pattern is this whole text. What a `*` stands for has no control characters.
fn covers(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    let is_plain = |text: &str| !text.chars().any(char::is_control);
    if !is_plain(text) {
        return false;
    }
    for part in between {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

impl Identities {
    /// These, each of which must be sound as a rule.
    pub fn of(identities: Vec<Identity>) -> Result<Self, String> {
        match identities.iter().find_map(Identity::fault) {
            Some(fault) => Err(fault),
            None if identities.len() > IDENTITIES => Err(format!("there are more than {IDENTITIES} identities")),
            None => Ok(Self(identities)),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn cover(&self, claimed: &Claimed) -> bool {
        self.0.iter().any(|identity| identity.is(claimed))
    }
}

impl Claimed {
    /// Exactly one name, and one issuer.
    pub(super) fn of(certificate: &Certificate) -> Result<Self, Fault> {
        let (subject, kind) = name(certificate)?;
        let issuer = issuer(certificate)?;
        if subject.is_empty() || issuer.is_empty() || subject.len() > BYTES || issuer.len() > BYTES {
            return Err(Fault::form("its certificate has a name that is empty or too long"));
        }
        Ok(Self { subject, kind, issuer })
    }
}

fn name(certificate: &Certificate) -> Result<(String, Kind), Fault> {
    let odd = |_| Fault::form("the name in its certificate is malformed");
    let value = certificate.extension(ALTERNATIVE_NAME).ok_or_else(|| Fault::form("its certificate has no name"))?;
    let names = Item::whole(value, OF).and_then(|item| item.sequence(OF)?.rest(2)).map_err(odd)?;
    let [name] = names.as_slice() else { return Err(Fault::form("its certificate has no name, or several")) };
    let (bytes, kind) = match name.context() {
        Some(1) => (name.value(), Kind::Mail),
        Some(6) => (name.value(), Kind::Address),
        Some(0) => (other_name(name).map_err(odd)?, Kind::Other),
        _ => return Err(Fault::form("its certificate has a name of another kind than address, mail or Fulcio's own")),
    };
    let is_text = kind == Kind::Other || bytes.is_ascii();
    match std::str::from_utf8(bytes) {
        Ok(text) if is_text => Ok((text.to_owned(), kind)),
        Ok(_) | Err(_) => Err(Fault::form("the name in its certificate is not text")),
    }
}

/// `[0] { type, [0] UTF8String }`.
fn other_name<'i>(name: &Item<'i>) -> Result<&'i [u8], crate::trust::pki::Fault> {
    let fault = || crate::trust::pki::Fault::Form(OF);
    let mut parts = name.items(OF)?;
    let kind = parts.next()?.oid(OF)?;
    let value = parts.next()?;
    parts.end()?;
    if kind != OTHER_NAME || value.context() != Some(0) {
        return Err(fault());
    }
    let text = Item::whole(value.value(), OF)?;
    if text.is(Tag::Utf8String) { Ok(text.value()) } else { Err(fault()) }
}

/// What Fulcio writes in two places must be the same where both are there.
fn issuer(certificate: &Certificate) -> Result<String, Fault> {
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| Fault::form("the issuer in its certificate is not text"));
    let first = certificate.extension(ISSUER_V1).map(text).transpose()?;
    let second = match certificate.extension(ISSUER_V2) {
        Some(value) => {
            let item = Item::whole(value, OF).ok().filter(|item| item.is(Tag::Utf8String));
            let item = item.ok_or_else(|| Fault::form("the issuer in its certificate is malformed"))?;
            Some(text(item.value())?)
        }
        None => None,
    };
    match (first, second) {
        (Some(first), Some(second)) if first != second => Err(Fault::form("its certificate names two issuers")),
        (_, Some(issuer)) | (Some(issuer), None) => Ok(issuer),
        (None, None) => Err(Fault::form("its certificate names no issuer (it is not by Fulcio)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(subject: &str) -> Identity {
        Identity { issuer: "https://issuer.example".to_owned(), subject: subject.to_owned() }
    }

    fn claimed(kind: Kind, subject: &str) -> Claimed {
        Claimed { subject: subject.to_owned(), kind, issuer: "https://issuer.example".to_owned() }
    }

    #[test]
    fn subjects_match_whole_and_to_the_byte() {
        const CI: &str = "https://ci.example/acme/app/.github/workflows/release.yml@refs/tags/v1";
        for (pattern, kind, subject) in [
            (CI, Kind::Address, CI),
            ("https://ci.example/acme/*", Kind::Address, CI),
            ("https://ci.example/acme/app/*@refs/tags/v*", Kind::Address, CI),
            ("https://ci.example/acme/*/app", Kind::Address, "https://ci.example/acme/x/y/app"),
            ("a@x.example", Kind::Mail, "a@x.example"),
            ("*@x.example", Kind::Mail, "b@x.example"),
            ("bot", Kind::Other, "bot"),
            ("**", Kind::Other, "bot"),
            ("aba*", Kind::Other, "aba"),
        ] {
            assert!(identity(pattern).is(&claimed(kind, subject)), "{pattern} {subject}");
        }
        for (pattern, kind, subject) in [
            // A branch that is called like a tag is no tag.
            (
                "https://ci.example/acme/app/*@refs/tags/v*",
                Kind::Address,
                "https://ci.example/acme/app/ci.yml@refs/heads/x@refs/tags/v1",
            ),
            (CI, Kind::Address, "https://ci.example/acme/app/.github/workflows/release.yml@refs/tags/v11"),
            (CI, Kind::Address, "xhttps://ci.example/acme/app/.github/workflows/release.yml@refs/tags/v1"),
            (CI, Kind::Mail, CI),
            ("https://ci.example/acme/*", Kind::Address, "https://ci.example/acme"),
            ("https://ci.example/acme/*", Kind::Address, "https://ci.example/Acme/app"),
            ("https://ci.example/acme/*", Kind::Address, "https://ci-example/acme/app"),
            ("https://ci.example/acme/*", Kind::Address, "https://ci.example/acme/a\nb"),
            ("https://ci.example/acme/*", Kind::Address, "https://ci.example/acme/a\0"),
            ("https://ci.example/.*", Kind::Address, "https://ci.example/acme"),
            ("https://ci.example/acme?", Kind::Address, "https://ci.example/acmes"),
            ("a@x.example", Kind::Address, "a@x.example"),
            ("a@x.example", Kind::Mail, "a@x.example\n"),
            ("ab*bc", Kind::Other, "abc"),
        ] {
            assert!(!identity(pattern).is(&claimed(kind, subject)), "{pattern} {subject}");
        }
        let other = Claimed { issuer: "https://issuer.example/".to_owned(), ..claimed(Kind::Other, "bot") };
        assert!(!identity("bot").is(&other));
    }

    #[test]
    fn rules_that_mean_nobody_or_everybody_are_faults_or_warned_of() {
        assert!(identity("").fault().is_some() && Identity { issuer: String::new(), ..identity("x") }.fault().is_some());
        assert!(Identity { issuer: "https://*".to_owned(), ..identity("x") }.fault().is_some());
        assert!(identity("a\nb").fault().is_some());
        for wide in ["*", "https://*", "https://ci.example*", "https://ci.example/*", "https://ci.example/ac*/app", "a@*", "*bot"]
        {
            assert!(identity(wide).warning().is_some(), "{wide}");
        }
        for fine in ["https://ci.example/acme/*", "https://ci.example/acme/app@*", "*@x.example", "bot", "a@x.example"] {
            assert_eq!(identity(fine).warning(), None, "{fine}");
        }
    }
}
