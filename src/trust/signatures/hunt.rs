//! What a search for signatures asks of the registry, within the time and the bounds of a decision, and what it has seen without finding one.

use crate::order::sort_by_key;
use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use jiff::Timestamp;
use oci_spec::image::{Descriptor, ImageManifest};
use tokio::time::Instant;

use super::error::{NotSigned, Unfit};
use super::{Known, Mark, No, Origin};
use crate::image::{Digest, Repository, Tag};
use crate::registry::{Content, Listing, Manifest, Pointer, RegistryError, Wanted, list_tag, part};
use crate::trust::registry::{Errand, NotVouched, Registries};

/// A search for signatures of one digest.
#[derive(Clone, Copy)]
pub struct Hunt<'h> {
    pub(in crate::trust) registries: &'h Registries,
    pub(in crate::trust) errand: Errand<'h>,
    /// Whose signatures.
    pub(in crate::trust) digest: Digest,
    /// By which tag it is asked for.
    pub(in crate::trust) tag: Option<&'h Tag>,
    /// What is signed, where it was fetched already.
    pub(in crate::trust) subject: Option<Subject>,
    /// The good signature that is known.
    pub(in crate::trust) known: Option<&'h Known>,
    /// The time by which dates are judged.
    pub(in crate::trust) now: Timestamp,
}

/// Where signatures of a digest lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Place {
    /// In the registry's own list of what points at the digest.
    List,
    /// Under the tag that stands in for the list. Also looked at beside a list: the registry may have learned to keep one since.
    StandIn,
    /// Under a tag of the scheme's own.
    OwnTag,
}

/// What is signed, of bytes that were hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) struct Subject {
    /// Its digest.
    pub(in crate::trust) digest: Digest,
    /// How many bytes it has.
    pub(in crate::trust) size: u64,
    /// Its media type.
    pub(in crate::trust) media_type: &'static str,
}

/// What was found besides.
pub(in crate::trust) struct Seen<U> {
    /// What could not be looked at, the first of it.
    unknown: Option<NotVouched>,
    /// What is the matter with the signature that says most.
    unfit: Option<U>,
    /// There is more than is looked at.
    pub(in crate::trust) is_cut: bool,
    /// Nothing more is to be found out: the time is over, no trial is left, or the registry is gone.
    pub(in crate::trust) is_over: bool,
    /// What was tried.
    pub(in crate::trust) tried: HashSet<Mark>,
    /// The good signature that is known is where it lay no more.
    pub(in crate::trust) is_gone: bool,
}

/// An answer on its way.
pub(in crate::trust) type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The one layer of a manifest that holds nothing else.
pub(in crate::trust) enum Layer<T> {
    /// Its bytes, and what was said of it.
    Whole(T, Vec<u8>),
    /// It is large, and fetched when no small one is left.
    Later(Part<T>),
    /// It is larger than is read.
    Large,
    /// The manifest holds something else.
    Other,
}

/// A layer that was not fetched yet.
pub(in crate::trust) struct Part<T> {
    kind: T,
    pub(in crate::trust) digest: Digest,
    /// How many bytes it is said to have.
    pub(in crate::trust) size: u64,
}

/// How large a layer may be, bytes.
#[derive(Clone, Copy)]
pub(in crate::trust) struct Sizes {
    /// One up to this is fetched at once: honest ones are.
    pub(in crate::trust) small: u64,
    /// A larger one is not read.
    pub(in crate::trust) most: u64,
}

/// Answers to questions of which a few are under way at once, each as it comes: one that hangs takes none of the others along.
pub(in crate::trust) struct Arriving<'a, T> {
    waiting: VecDeque<Asked<'a, T>>,
    /// Begun when no other waits, the smallest first.
    later: Vec<(u64, Asked<'a, T>)>,
    under_way: Vec<Asked<'a, T>>,
    arrived: VecDeque<T>,
    at_once: usize,
}

impl Subject {
    pub(in crate::trust) const fn of(manifest: &Manifest) -> Self {
        Self { digest: *manifest.digest(), size: manifest.size(), media_type: manifest.media_type() }
    }
}

impl Hunt<'_> {
    /// The likely ones of a list, up to so many and of so many bytes each, and whether these are not all: the one that is known, also where the list is
    /// too long to have it, then the others by how they rank.
    pub(in crate::trust) fn likely<R: Ord>(
        &self,
        listing: &Listing,
        known: usize,
        may_be: impl Fn(&Pointer) -> bool,
        rank: impl Fn(&Pointer) -> R,
        (most, bytes): (usize, u64),
    ) -> (Vec<Digest>, bool) {
        let own = self.known.and_then(Known::manifest);
        // Of what is known, what the list says decides nothing: who may push writes the list that a tag stands in for.
        let is_own = |pointer: &Pointer| own == Some(pointer.digest);
        let may_be = |pointer: &&Pointer| is_own(pointer) || may_be(pointer);
        let mut pointers: Vec<&Pointer> = listing.pointers.iter().skip(known).filter(may_be).collect();
        let all = pointers.len();
        pointers.retain(|pointer| is_own(pointer) || pointer.size <= bytes);
        let is_cut = listing.is_cut || pointers.len() < all || pointers.len() > most;
        sort_by_key(&mut pointers, |pointer| (!is_own(pointer), rank(pointer)));
        let mut digests: Vec<Digest> = pointers.iter().map(|pointer| pointer.digest).collect();
        // A list that does not say all does not say what is gone: it is asked for.
        if let Some(one) = own.filter(|one| listing.is_cut && !listing.names(one)) {
            digests.insert(0, one);
        }
        digests.truncate(most);
        (digests, is_cut)
    }

    /// Both lists were looked at. Of lists that say all, what they do not name is withdrawn.
    pub(in crate::trust) fn lists_are_read<U: Unfit>(&self, listing: &Listing, seen: &mut Seen<U>) {
        let own = self.known.and_then(Known::manifest);
        seen.is_gone |= own.is_some_and(|own| !listing.is_cut && !listing.names(&own));
    }

    /// A manifest that may hold what is looked for holds something else, or is not there.
    pub(in crate::trust) fn holds_nothing<U: Unfit>(&self, manifest: Digest, seen: &mut Seen<U>) {
        seen.is_gone |= self.known.is_some_and(|known| known.manifest() == Some(manifest));
    }

    /// The scheme's own tag was looked at: `has` says whether one that is known lies there.
    pub(in crate::trust) fn own_tag_is_read<U: Unfit>(&self, seen: &mut Seen<U>, has: impl FnOnce(&Mark) -> bool) {
        seen.is_gone |= self.known.is_some_and(|known| known.origin == Origin::OwnTag && !has(&known.mark));
    }

    /// Whether there is anything left to look for, and time for it.
    pub(in crate::trust) fn goes_on<U: Unfit>(&self, seen: &mut Seen<U>) -> bool {
        if Instant::now() >= self.errand.network {
            seen.missed(NotVouched::Late { host: self.errand.repository.host_str().to_owned() });
        }
        !seen.is_over
    }

    pub(in crate::trust) async fn ask<T>(&self, asked: impl Future<Output = Result<T, RegistryError>>) -> Result<T, NotVouched> {
        self.registries.ask(self.errand, asked).await
    }

    /// The same, where not to be there is an answer.
    pub(in crate::trust) async fn ask_for<T>(
        &self,
        asked: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<Option<T>, NotVouched> {
        match self.ask(asked).await {
            Ok(found) => Ok(Some(found)),
            Err(NotVouched::Answer(RegistryError::NotFound { .. })) => Ok(None),
            Err(why) => Err(why),
        }
    }

    pub(in crate::trust) async fn tagged(&self, tag: Option<Tag>) -> Result<Option<Manifest>, NotVouched> {
        let Some(tag) = tag.map(Wanted::Tag) else { return Ok(None) };
        self.ask_for(self.registries.api().manifest(self.errand.repository, &tag, self.errand.network)).await
    }

    /// The places in the order in which they are looked at, the likely ones first: each that is not needed is a request less. Without a good
    /// signature all of them are.
    pub(in crate::trust) fn places(&self) -> [Place; 3] {
        if self.registries.api().may_list(self.errand.repository) {
            [Place::List, Place::OwnTag, Place::StandIn]
        } else {
            [Place::StandIn, Place::OwnTag, Place::List]
        }
    }

    /// Adds what the registry lists as pointing at the digest, in its own list or in the one that stands in for it. What it could not say of that is
    /// missed.
    pub(in crate::trust) async fn list<U: Unfit>(&self, place: Place, listing: &mut Listing, seen: &mut Seen<U>) {
        let api = self.registries.api();
        let found = match place {
            Place::List => self.ask(api.referrers(self.errand.repository, self.digest, self.errand.network)).await,
            Place::StandIn => match self.tagged(list_tag(&self.digest)).await {
                Ok(index) => {
                    if let Some(index) = &index {
                        listing.add(index);
                    }
                    Ok(None)
                }
                Err(why) => Err(why),
            },
            Place::OwnTag => Ok(None),
        };
        match found {
            Ok(found) => {
                let found = found.unwrap_or_default();
                listing.join(&found);
                if let Some(error) = found.missed {
                    listing.is_cut = true;
                    seen.missed(NotVouched::Answer(error));
                }
            }
            Err(why) => {
                listing.is_cut = true;
                seen.missed(why);
            }
        }
    }

    /// What is named as a part and is not there could not be looked at: it may be what was signed. It has its digest for a proof, and may come from
    /// a mirror: the manifest that names it is the origin's.
    pub(in crate::trust) async fn part(&self, digest: Digest, size: u64) -> Result<Vec<u8>, NotVouched> {
        let api = self.registries.api();
        if let Some(mirrors) = api.mirrors() {
            let there = |mirror: Repository, until| async move { part(api, &mirror, digest, size, until).await };
            if let Some(bytes) = mirrors.ask(self.errand.repository, self.errand.network, there).await {
                return Ok(bytes);
            }
        }
        self.ask(part(api, self.errand.repository, digest, size, self.errand.network)).await
    }

    /// The one layer of a manifest, where `kind` knows it as what is looked for. Strangers' large ones come after everybody's small ones.
    pub(in crate::trust) async fn layer<T>(
        &self,
        manifest: Digest,
        sizes: Sizes,
        kind: impl Fn(&ImageManifest, &Descriptor) -> Option<T> + Send,
    ) -> Result<Layer<T>, NotVouched> {
        let (api, wanted) = (self.registries.api(), &Wanted::Digest(manifest));
        // The origin alone says whether it is there still: who withdraws a signature removes its manifest, and a mirror may have it for long.
        let manifest = match self.ask(api.manifest(self.errand.repository, wanted, self.errand.network)).await {
            Ok(manifest) => manifest,
            // What is no manifest to us holds no signature; nor does one that is listed still, and was removed.
            Err(NotVouched::Answer(RegistryError::Undecodable { .. } | RegistryError::NotFound { .. })) => {
                return Ok(Layer::Other);
            }
            Err(why) => return Err(why),
        };
        let (kind, digest, size) = {
            let Content::Image(image) = manifest.content() else { return Ok(Layer::Other) };
            let [layer] = image.layers().as_slice() else { return Ok(Layer::Other) };
            let (Some(kind), Ok(digest)) = (kind(image, layer), layer.digest().as_ref().parse()) else {
                return Ok(Layer::Other);
            };
            (kind, digest, layer.size())
        };
        let part = Part { kind, digest, size };
        match size {
            _ if !(1..=sizes.most).contains(&size) => Ok(Layer::Large),
            _ if size > sizes.small => Ok(Layer::Later(part)),
            _ => self.fetched(part).await,
        }
    }

    /// A layer of which the manifest is known.
    pub(in crate::trust) async fn fetched<T>(&self, part: Part<T>) -> Result<Layer<T>, NotVouched> {
        let Part { kind, digest, size } = part;
        Ok(Layer::Whole(kind, self.part(digest, size).await?))
    }
}

impl<U> Default for Seen<U> {
    fn default() -> Self {
        Self { unknown: None, unfit: None, is_cut: false, is_over: false, tried: HashSet::new(), is_gone: false }
    }
}

impl<U: Unfit> Seen<U> {
    pub(in crate::trust) fn missed(&mut self, why: NotVouched) {
        self.is_over |= matches!(why, NotVouched::Gone(_) | NotVouched::Late { .. });
        self.unknown.get_or_insert(why);
    }

    pub(in crate::trust) fn unfit(&mut self, unfit: U) {
        if self.unfit.as_ref().is_none_or(|known| *known < unfit) {
            self.unfit = Some(unfit);
        }
    }

    /// Whether there may be more than was looked at.
    pub(in crate::trust) const fn is_incomplete(&self) -> bool {
        self.unknown.is_some() || self.is_cut
    }

    /// What is the matter with the one that says most.
    pub(in crate::trust) const fn worst(&self) -> Option<&U> {
        self.unfit.as_ref()
    }

    /// What to say where none was good: first what could not be found out.
    pub(in crate::trust) fn told(self, digest: Digest) -> No<U> {
        let why = match (self.unknown, self.is_cut, self.unfit) {
            (Some(why), _, _) => NotSigned::Unknown(why),
            (None, true, _) => NotSigned::TooMany { digest },
            (None, false, Some(why)) => NotSigned::Unfit { digest, why },
            (None, false, None) => NotSigned::None { digest },
        };
        No { why, met: self.tried, is_gone: self.is_gone }
    }
}

impl<'a, T> Arriving<'a, T> {
    pub(in crate::trust) fn of(asked: impl IntoIterator<Item = Asked<'a, T>>, at_once: usize) -> Self {
        let waiting = asked.into_iter().collect();
        Self { waiting, later: Vec::new(), under_way: Vec::new(), arrived: VecDeque::new(), at_once }
    }

    /// One more, behind all that wait and those that are smaller.
    pub(in crate::trust) fn later(&mut self, size: u64, asked: Asked<'a, T>) {
        self.later.push((size, asked));
    }

    /// Whether any has not come yet.
    pub(in crate::trust) fn is_waiting(&self) -> bool {
        !(self.waiting.is_empty() && self.later.is_empty() && self.under_way.is_empty())
    }

    /// What has not come is not waited for.
    pub(in crate::trust) fn ends(&mut self) {
        (self.waiting, self.later, self.under_way) = Default::default();
    }

    /// `None`: all have come.
    pub(in crate::trust) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            if let Some(found) = self.arrived.pop_front() {
                return Poll::Ready(Some(found));
            }
            while self.under_way.len() < self.at_once
                && let Some(next) = self.waiting.pop_front().or_else(|| self.smallest())
            {
                self.under_way.push(next);
            }
            if self.under_way.is_empty() {
                return Poll::Ready(None);
            }
            let arrived = &mut self.arrived;
            self.under_way.retain_mut(|asked| match asked.as_mut().poll(context) {
                Poll::Ready(found) => {
                    arrived.push_back(found);
                    false
                }
                Poll::Pending => true,
            });
            arrived.pop_front().map_or(Poll::Pending, |found| Poll::Ready(Some(found)))
        })
        .await
    }

    fn smallest(&mut self) -> Option<Asked<'a, T>> {
        let (at, _) = self.later.iter().enumerate().min_by_key(|(_, (size, _))| *size)?;
        Some(self.later.swap_remove(at).1)
    }
}
