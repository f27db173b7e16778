//! What points at a digest: the registry's own list (OCI distribution-spec 1.1, "Listing Referrers"), the tag that stands in for it where
//! there is none ("Referrers Tag Schema"), and cosign's own tag. What a list says of a manifest is a hint: nobody has signed it.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Api, Content, Manifest, RegistryError, has_one_reading};
use crate::image::{Digest, Repository, Tag};
use crate::text::clean;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Most manifests that are listed of one digest. An image has a handful, with many signers and SBOMs some dozen.
const LISTED: usize = 256;
/// Longest type that is kept of one.
const TYPE_BYTES: usize = 256;
/// Longest part of an address that leads to the next page.
const QUERY_BYTES: usize = 2048;

/// A manifest that is said to point at a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Its own digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Of which kind it is said to be; empty where nothing is said.
    pub kind: String,
}

/// A list of manifests that point at a digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Each once.
    pub pointers: Vec<Pointer>,
    /// There are more than are read.
    pub is_cut: bool,
    /// Why a later page could not be read. What came before it counts nevertheless.
    pub missed: Option<RegistryError>,
}

/// A page of a list. `null` is what some registries send for none.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    schema_version: u32,
    media_type: Option<String>,
    #[serde(deserialize_with = "Option::deserialize")]
    manifests: Option<Hints>,
}

/// What a page says of manifests, no more of them than are listed: a page of many tiny things fills no memory. Whatever else stands there says
/// nothing of the others.
struct Hints(Vec<Entry>);

impl<'de> Deserialize<'de> for Hints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OfHints)
    }
}

struct OfHints;

impl<'de> Visitor<'de> for OfHints {
    type Value = Hints;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Hints, A::Error> {
        let mut found = Vec::new();
        while let Some(one) = seq.next_element::<&RawValue>()? {
            let entry = serde_json::from_slice::<Entry>(one.get().as_bytes()).ok();
            found.extend(entry.filter(|entry| entry.media_type == IMAGE && found.len() <= LISTED));
        }
        Ok(Hints(found))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    digest: String,
    size: u64,
    artifact_type: Option<String>,
}

impl Listing {
    /// Whether it names this manifest.
    #[must_use]
    pub fn names(&self, manifest: &Digest) -> bool {
        self.pointers.iter().any(|pointer| pointer.digest == *manifest)
    }

    /// What another list says.
    pub fn join(&mut self, other: &Self) {
        for Pointer { digest, size, kind } in &other.pointers {
            self.add_new(*digest, *size, kind);
        }
        self.is_cut |= other.is_cut;
    }

    /// The same of the manifest of one. Indexes and digests other than SHA-256 are left out.
    pub fn add(&mut self, list: &Manifest) {
        let Content::Index(index) = list.content() else { return };
        for descriptor in index.manifests() {
            let kind = descriptor.artifact_type().as_ref().map(AsRef::as_ref).unwrap_or_default();
            self.add_one(descriptor.media_type().as_ref(), descriptor.digest().as_ref(), descriptor.size(), kind);
        }
    }

    /// The same of the bytes of a page. They count for nothing but where to look, so that an entry that cannot be read is left out by itself.
    pub(super) fn add_page(&mut self, body: &[u8], content_type: Option<&str>) -> Result<(), String> {
        has_one_reading(body)?;
        let page: Page = serde_json::from_slice(body).map_err(|error| clean(&error.to_string()))?;
        let said = content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let mut types = page.media_type.iter().chain(&said).peekable();
        if page.schema_version != 2 || types.peek().is_none() || types.any(|name| name != INDEX) {
            return Err("it is not an OCI index".to_owned());
        }
        for entry in page.manifests.into_iter().flat_map(|Hints(entries)| entries) {
            let kind = entry.artifact_type.as_deref().unwrap_or_default();
            self.add_one(&entry.media_type, &entry.digest, entry.size, kind);
        }
        Ok(())
    }

    /// What was read, and why not the rest.
    pub(super) fn without(self, missed: RegistryError) -> Self {
        Self { missed: Some(missed), ..self }
    }

    fn add_one(&mut self, media_type: &str, digest: &str, size: u64, kind: &str) {
        if let Ok(digest) = digest.parse()
            && media_type == IMAGE
            && kind.len() <= TYPE_BYTES
        {
            self.add_new(digest, size, kind);
        }
    }

    fn add_new(&mut self, digest: Digest, size: u64, kind: &str) {
        if self.pointers.iter().any(|pointer| pointer.digest == digest) {
            return;
        }
        if self.pointers.len() >= LISTED {
            self.is_cut = true;
            return;
        }
        self.pointers.push(Pointer { digest, size, kind: kind.to_owned() });
    }
}

/// The tag that lists what points at a digest, where the registry keeps no list.
#[must_use]
pub fn list_tag(digest: &Digest) -> Option<Tag> {
    format!("sha256-{}", digest.hex()).parse().ok()
}

/// The tag under which cosign 2 keeps the signatures of a digest.
#[must_use]
pub fn signature_tag(digest: &Digest) -> Option<Tag> {
    format!("sha256-{}.sig", digest.hex()).parse().ok()
}

/// The bytes that a manifest says are of this size and digest, both of which hold then.
pub async fn part<R: Api + ?Sized>(
    registry: &R,
    repository: &Repository,
    digest: Digest,
    size: u64,
    deadline: Instant,
) -> Result<Vec<u8>, RegistryError> {
    let bytes = registry.blob(repository, digest, size, deadline).await?;
    if bytes.len() as u64 == size {
        return Ok(bytes);
    }
    let cause = format!("it has {} bytes and is said to have {size}", bytes.len());
    Err(RegistryError::Undecodable { what: format!("{repository}@{digest}"), cause })
}

/// What `Link` headers (RFC 8288) say is next; `path` is where we asked. Only the query is taken over, so that no other place is asked.
pub(super) fn next_page<'h>(
    mut links: impl Iterator<Item = &'h str>,
    asked: &crate::net::Url,
) -> Result<Option<String>, &'static str> {
    let Some(target) = links.find_map(next_in) else { return Ok(None) };
    let next = asked.join(target).map_err(|_| "the address of its next page cannot be read")?;
    // Only compared, so that the one character of the path that may be written in two ways is folded.
    let path = |url: &crate::net::Url| url.path().replace("%3A", ":").replace("%3a", ":");
    let place = |url: &crate::net::Url| (url.host_str().map(str::to_owned), url.port(), path(url));
    if place(&next) != place(asked) || !next.username().is_empty() || next.password().is_some() {
        return Err("its next page is in another place");
    }
    match next.query() {
        Some(query) if query.len() <= QUERY_BYTES => Ok(Some(query.to_owned())),
        Some(_) => Err("the address of its next page is too long"),
        None => Err("its pages go round in a circle"),
    }
}

fn next_in(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let (parameters, more) = after.split_at_checked(after.find('<').unwrap_or(after.len()))?;
        let is_next = parameters.split([';', ',']).filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
        });
        if is_next {
            return Some(target);
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_in_the_same_place_or_nowhere() {
        let asked = "https://r.example:5000/v2/app/referrers/sha256:ab".parse().unwrap();
        let next = |header: &str| next_page(std::iter::once(header), &asked);
        for good in [
            "</v2/app/referrers/sha256:ab?n=2&last=x>; rel=\"next\"",
            "<?n=2&last=x>;rel=next",
            "<https://r.example:5000/v2/app/referrers/sha256%3Aab?n=2&last=x>; REL=\"Next\"",
            "</v2/app/referrers/sha256%3aab?n=2&last=x>; rel=next",
            "</first>; rel=\"first\", <?n=2&last=x>; title=a; rel=\"next\"",
        ] {
            assert_eq!(next(good), Ok(Some("n=2&last=x".to_owned())), "{good}");
        }
        for none in ["", "</v2/x>; rel=\"prev\"", "no link", "<unfinished", "<?n=2>"] {
            assert_eq!(next(none), Ok(None), "{none}");
        }
        for odd in [
            "</v2/other/referrers/sha256:ab?n=2>; rel=next",
            "<https://evil.example:5000/v2/app/referrers/sha256:ab?n=2>; rel=next",
            "<https://r.example/v2/app/referrers/sha256:ab?n=2>; rel=next",
            "<https://u@r.example:5000/v2/app/referrers/sha256:ab?n=2>; rel=next",
            "</v2/app/referrers/sha256:ab>; rel=next",
            "</v2/app/referrers/sha256%253Aab?n=2>; rel=next",
            &format!("<?{}>; rel=next", "x".repeat(QUERY_BYTES + 1)),
        ] {
            assert!(next(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_odd_entry_of_a_page_is_left_out_by_itself_and_null_is_none() {
        let read = |manifests: &str, content_type: &str| {
            let mut listing = Listing::default();
            let body = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":{manifests}}}"#);
            listing.add_page(body.as_bytes(), Some(content_type)).map(|()| listing.pointers)
        };
        let digest = Digest::of(b"x");
        let good = format!(r#"{{"mediaType":"{IMAGE}","digest":"{digest}","size":7,"artifactType":"a/b","annotations":{{}}}}"#);
        let found = vec![Pointer { digest, size: 7, kind: "a/b".to_owned() }];
        let odd = format!(r#"{{"mediaType":"{IMAGE}","digest":"{digest}","size":-1}}"#);
        for other in ["{}", "null", "7", r#""x""#, "[]", &odd, &odd.replace("sha256", "sha512"), &odd.replace("-1", r#""7""#)] {
            assert_eq!(read(&format!("[{other},{good}]"), INDEX), Ok(found.clone()), "{other}");
        }
        assert_eq!(read("null", INDEX), Ok(Vec::new()));
        for (manifests, content_type) in [("{}", INDEX), ("7", INDEX), ("[]", IMAGE), ("[", INDEX)] {
            assert!(read(manifests, content_type).is_err(), "{manifests} {content_type}");
        }
        for body in ["{}", "[]", "<html>", &format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}"}}"#)] {
            assert!(Listing::default().add_page(body.as_bytes(), Some(INDEX)).is_err(), "{body}");
        }
    }

    #[test]
    fn a_list_is_read_up_to_a_bound_and_each_manifest_once() {
        let entry = |number: usize, media_type: &str| {
            let digest = Digest::of(&number.to_be_bytes());
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":7,"artifactType":"a/b"}}"#)
        };
        let list = |entries: Vec<String>| {
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
                entries.join(",")
            );
            Manifest::read(text.as_bytes(), None).unwrap()
        };
        let image = "application/vnd.oci.image.manifest.v1+json";
        let mut listing = Listing::default();
        listing.add(&list(vec![entry(1, image), entry(1, image), entry(2, "application/vnd.oci.image.index.v1+json")]));
        let first = Pointer { digest: Digest::of(&1usize.to_be_bytes()), size: 7, kind: "a/b".to_owned() };
        assert_eq!(listing, Listing { pointers: vec![first], ..Listing::default() });
        listing.add(&list((0..LISTED + 9).map(|number| entry(number, image)).collect()));
        assert_eq!((listing.pointers.len(), listing.is_cut), (LISTED, true));
    }
}
