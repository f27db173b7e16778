//! `POST /images/create`, which pulls or imports, and `POST /images/N/tag`.

use std::str::FromStr as _;

use super::query::Query;
use super::{Asked, Ingest, Intent, Pull, Pulled, Unreadable};
use crate::image::{Digest, Reference, ReferenceError, Tag};

/// What `POST /images/create` would do.
pub(super) fn images_create(asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let query = Query::of_form(asked).map_err(|why| match why {
        Unreadable::HiddenBody if is_import(asked) => Unreadable::ImportBody,
        why => why,
    })?;
    let image = query.one("fromImage")?;
    let source = query.one("fromSrc")?;
    let tag = query.one("tag")?;
    match (image, source) {
        // A source beside an image is not looked at.
        (Some(image), _) => pull(image, tag).map(Intent::Pull),
        (None, Some(_)) => Ok(Intent::Ingest(Ingest::Import)),
        (None, None) => Err(Unreadable::Reference("the call names neither `fromImage` nor `fromSrc`".to_owned())),
    }
}

/// Whether the query alone asks for an import. A body that is a form can still make a pull of it, so this says only how the
/// refusal is to be put.
fn is_import(asked: &Asked<'_>) -> bool {
    let Ok(query) = Query::read(asked.target.query) else { return false };
    matches!((query.one("fromImage"), query.one("fromSrc")), (Ok(None), Ok(Some(_))))
}

/// The daemon's reading of `fromImage` and `tag` (moby, `postImagesCreate`): the parameter, be it a tag or a digest, replaces what
/// `image` carries, except that a digest inside `image` stays when the parameter is a plain tag.
fn pull(image: &str, tag: Option<&str>) -> Result<Pull, Unreadable> {
    // "docker pull -a" used to send a trailing colon: one is cut off, and all tags are meant.
    let reference = Reference::from_str(image.strip_suffix(':').unwrap_or(image)).map_err(|error| unreadable(&error))?;
    let Reference { repository, tag: inner, digest } = reference;
    let what = match (tag, digest) {
        // No tag holds a colon, so this is a digest or nothing dockerd would read.
        (Some(text), _) if text.contains(':') => {
            Pulled::Digest(text.parse().map_err(|error| unreadable(&ReferenceError::Digest(error)))?)
        }
        (Some(text), digest) => by_tag(text.parse().map_err(|error| unreadable(&error))?, digest),
        (None, Some(digest)) => Pulled::Digest(digest),
        (None, None) => inner.map_or(Pulled::AllTags, Pulled::Tag),
    };
    Ok(Pull { repository, what })
}

fn by_tag(tag: Tag, digest: Option<Digest>) -> Pulled {
    digest.map_or(Pulled::Tag(tag), Pulled::Digest)
}

/// What `POST /images/N/tag` would do.
pub(super) fn tag(source: &str, asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    let query = Query::of_form(asked)?;
    let tag = query.one("tag")?;
    let target = query.one("repo")?.map(|repo| new_name(repo, tag)).transpose().map_err(|error| unreadable(&error))?;
    Ok(Intent::Ingest(Ingest::Tag { source: source.to_owned(), target }))
}

/// The name that is given: the parameter replaces a tag inside `repo`; a digest there is refused by newer engines and dropped by
/// older ones.
fn new_name(repo: &str, tag: Option<&str>) -> Result<Reference, ReferenceError> {
    let named = Reference::from_str(repo)?;
    let tag = tag.map(Tag::from_str).transpose()?.or(named.tag);
    Ok(Reference { repository: named.repository, tag, digest: None }.or_latest())
}

fn unreadable(error: &ReferenceError) -> Unreadable {
    Unreadable::Reference(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::post;

    const HEX: &str = "b823c6da46264d7af5ef5a61afd14fe13778400b5d94efe9126c3a2ab7982e72";
    const OTHER: &str = "329f9f409a390fd78efa01db698b3974b7aad636e4987c9d9ab54bfd52054e3d";

    fn of(query: &str) -> Intent {
        Intent::of(&post(&format!("/v1.41/images/create?{query}"), &[("Content-Length", "0")], None))
    }

    fn pulls(repository: &str, what: Pulled) -> Intent {
        Intent::Pull(Pull { repository: repository.parse().unwrap(), what })
    }

    #[test]
    fn a_pull_names_what_the_daemon_will_fetch() {
        let tag = |text: &str| Pulled::Tag(text.parse().unwrap());
        let digest = |hex: &str| Pulled::Digest(Digest::from_hex(hex).unwrap());
        for (query, repository, what) in [
            ("fromImage=r.example/a&tag=1", "r.example/a", tag("1")),
            ("fromImage=r.example%2Fa&tag=1", "r.example/a", tag("1")),
            ("fromImage=busybox&tag=1", "docker.io/library/busybox", tag("1")),
            ("fromImage=r.example/a:1", "r.example/a", tag("1")),
            ("fromImage=r.example/a:1&tag=", "r.example/a", tag("1")),
            ("fromImage=r.example/a:1:", "r.example/a", tag("1")),
            ("fromImage=r.example/a:1&tag=2", "r.example/a", tag("2")),
            ("fromImage=r.example/a", "r.example/a", Pulled::AllTags),
            ("fromImage=r.example/a:", "r.example/a", Pulled::AllTags),
            ("fromImage=r.example/a&tag=", "r.example/a", Pulled::AllTags),
            (&format!("fromImage=r.example/a@sha256:{HEX}"), "r.example/a", digest(HEX)),
            (&format!("fromImage=r.example/a@sha256:{HEX}&tag=1"), "r.example/a", digest(HEX)),
            (&format!("fromImage=r.example/a:1@sha256:{HEX}"), "r.example/a", digest(HEX)),
            (&format!("fromImage=r.example/a@sha256:{HEX}&tag=sha256:{OTHER}"), "r.example/a", digest(OTHER)),
            (&format!("fromImage=r.example/a:1&tag=sha256:{OTHER}"), "r.example/a", digest(OTHER)),
            ("fromImage=r.example/a&tag=1&fromSrc=-&repo=b", "r.example/a", tag("1")),
            ("fromImage=r.example/a&tag=1&platform=linux/arm64", "r.example/a", tag("1")),
        ] {
            assert_eq!(of(query), pulls(repository, what), "{query}");
        }
    }

    #[test]
    fn what_the_daemon_would_not_pull_is_no_pull() {
        for query in [
            "fromImage=R.example/A&tag=1",
            "fromImage=r.example/A&tag=1",
            "fromImage=r.example/a&tag=-1",
            "fromImage=r.example/a&tag=1%20",
            "fromImage=+r.example/a&tag=1",
            "fromImage=r.example/a%00&tag=1",
            "fromImage=r.example/a::",
            "fromImage=:",
            &format!("fromImage={HEX}&tag=1"),
            &format!("fromImage=r.example/a&tag=SHA256:{HEX}"),
            &format!("fromImage=r.example/a&tag=sha256:{HEX}0"),
            &format!("fromImage=r.example/a&tag=sha512:{HEX}{HEX}"),
            "tag=1",
            "fromimage=r.example/a&tag=1",
            "fromImage=&tag=1",
            "",
        ] {
            assert!(matches!(of(query), Intent::Unreadable(Unreadable::Reference(_))), "{query}: {:?}", of(query));
        }
        for query in ["fromImage=a&fromImage=b", "fromImage=&fromImage=b", "fromImage=a&tag=1&tag=2"] {
            assert!(matches!(of(query), Intent::Unreadable(Unreadable::Query(_))), "{query}");
        }
    }

    #[test]
    fn an_import_is_one_only_where_no_body_hides() {
        assert_eq!(of("fromSrc=http://x/root.tar&repo=a&tag=1"), Intent::Ingest(Ingest::Import));
        assert_eq!(of("fromImage=&fromSrc=-"), Intent::Ingest(Ingest::Import));
        let call = post("/images/create?fromSrc=-", &[("Content-Length", "10240"), ("Content-Type", "application/x-tar")], None);
        assert_eq!(Intent::of(&call), Intent::Unreadable(Unreadable::ImportBody));
        // As docker's own client sends a file: chunked.
        let of = |query: &str| Intent::of(&post(&format!("/images/create?{query}"), &[("Content-Type", "text/plain")], None));
        assert_eq!(of("fromSrc=-&repo=a"), Intent::Unreadable(Unreadable::ImportBody));
        for query in ["fromImage=a&fromSrc=-", "repo=a", "fromSrc=", "fromSrc=-&fromSrc=x", "fromSrc=-&x=;"] {
            assert_eq!(of(query), Intent::Unreadable(Unreadable::HiddenBody), "{query}");
        }
    }

    #[test]
    fn a_tag_says_what_is_named_and_how() {
        let of = |uri: &str| Intent::of(&post(uri, &[("Content-Length", "0")], None));
        for (uri, source, target) in [
            ("/images/r.example/a:1/tag?repo=r.example/b&tag=2", "r.example/a:1", Some("r.example/b:2")),
            ("/v1.41/images/%65vil/tag?repo=b", "evil", Some("docker.io/library/b:latest")),
            ("/images/a/tag?repo=b:1&tag=2", "a", Some("docker.io/library/b:2")),
            ("/images/a/tag?repo=b:1", "a", Some("docker.io/library/b:1")),
            ("/images/a/tag", "a", None),
        ] {
            let target = target.map(|text| text.parse().unwrap());
            assert_eq!(of(uri), Intent::Ingest(Ingest::Tag { source: source.into(), target }), "{uri}");
        }
        // `docker.i_o` is no host, but 20.10 takes it for the beginning of a path and gives the name without any host.
        for uri in [
            "/images/a/tag?repo=x;&repo=b",
            "/images/a/tag?repo=b&repo=c",
            "/images/a/tag?repo=B",
            "/images/a/tag?repo=b&tag=-",
            "/images/a/tag?repo=docker.i_o/b",
        ] {
            assert!(matches!(of(uri), Intent::Unreadable(_)), "{uri}");
        }
    }
}
