//! The order of verification, from the root down (docs/notary-v1.md, sections 7, 8 and 10).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::file::{Body, File, Meta, Root, Signers, Snapshot, Stamp, Targets, Work};
use super::held::{Held, narrowed};
use super::keys::Key;
use super::knowledge::{Files, Floor, Knowledge, Stored};
use super::proof::Proof;
use super::roles::Roles;
use super::{Fault, FaultKind, MetadataLimits, Pins, RoleName, hex};
use crate::image::Repository;

/// Up to so many files one after another on the open connection are faster than new connections with their handshakes.
const FEW: usize = 4;
/// Delegations fetched at once.
const FETCHES: usize = 8;

/// Where files come from. A server, or what was kept.
pub trait Fetch: Clone + Send + Sync + 'static {
    /// Why nothing came.
    type Error: Send + 'static;
    /// Whether several fetches at once are faster than one after another.
    const PARALLEL: bool;

    /// The file of this name (`root.json`, `targets/releases.HEX.json`), at most `most` bytes; `None` if there is none.
    fn fetch(&self, name: String, most: u64) -> impl Future<Output = Result<Option<Vec<u8>>, Self::Error>> + Send;

    /// The file of a role as it was kept when it was last verified, if it still is. It is taken for nothing but what it turns out to be.
    fn kept(&self, role: &RoleName) -> impl Future<Output = Option<Arc<[u8]>>> + Send {
        let _ = role;
        std::future::ready(None)
    }
}

/// What one fetch brought.
type Fetched<F> = Result<Option<Vec<u8>>, <F as Fetch>::Error>;

/// What is verified, and on what terms.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The repository.
    pub repository: Repository,
    /// Which roots count.
    pub pins: Arc<Pins>,
    /// The bounds.
    pub limits: MetadataLimits,
    /// What was verified before.
    pub known: Option<Arc<Knowledge>>,
}

/// Why there is no new knowledge.
#[derive(Debug)]
pub enum Failure<E> {
    /// The server answered, and what it answered does not hold.
    Fault(Fault),
    /// There is no answer.
    Fetch(E),
}

impl<E> From<Fault> for Failure<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Whether dates count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dates {
    /// They do.
    Checked,
    /// They do not: what was kept may have expired since, and is looked at only to compare with.
    Ignored,
}

struct Run<'a, F> {
    fetch: &'a F,
    subject: &'a Subject,
    /// What counts for rollback; not the subject's own if a pin has made that void.
    known: Option<Arc<Knowledge>>,
    /// What was known under a root that a pin has made void: it binds the roles whose keys are the same now.
    void: Option<Arc<Knowledge>>,
    now: Timestamp,
    dates: Dates,
    work: Work,
    bytes: u64,
}

/// Asks the source for what is new and verifies all of it. Takes one `now` for the whole verification; a clock that was set
/// back since the last one does not count.
pub async fn update<F: Fetch>(fetch: &F, subject: &Subject, now: Timestamp) -> Result<Knowledge, Failure<F::Error>> {
    let now = subject.known.as_ref().map_or(now, |known| now.max(known.seen));
    let mut run = Run {
        fetch,
        subject,
        known: subject.known.clone(),
        void: None,
        now,
        dates: Dates::Checked,
        work: Work::new(&subject.limits),
        bytes: subject.limits.total_bytes,
    };
    let (root, fresh) = match &subject.known {
        Some(known) if known.proof.holds(&subject.pins, now) || final_root(&known.root, subject, now, &mut run.work).is_ok() => {
            (Arc::clone(&known.root), false)
        }
        Some(known) => (run.new_root(Some(Arc::clone(&known.root))).await?, true),
        None => (run.new_root(None).await?, true),
    };
    let mut knowledge = match run.below(&root).await {
        Err(Failure::Fault(fault)) if !fresh => {
            // Keys may have been rotated: one look at the root, one more try (section 7, step 5).
            let next = run.new_root(Some(Arc::clone(&root))).await?;
            if next.raw == root.raw {
                return Err(Failure::Fault(fault));
            }
            run.below(&next).await?
        }
        done => done?,
    };
    if !knowledge.proof.holds(&subject.pins, now) {
        knowledge.proof = Proof::new(&knowledge.root, &subject.repository, &subject.pins, now);
    }
    Ok(knowledge)
}

/// Verifies what was kept, dates and pins aside: what comes out is for comparing with, and every use of it checks both.
/// Everything must fit together as it did when it was stored.
///
/// Without bounds of its own: what was accepted bit by bit, each bit within the bounds, is read as a whole. The state file ends
/// what it may cost.
pub async fn load(stored: &Stored, repository: &Repository) -> Result<Knowledge, Fault> {
    let limits = MetadataLimits::kept();
    let invalid = |role: &str, why: &str| Fault::new(FaultKind::Invalid, role, why);
    if stored.repository != repository.as_str() {
        return Err(invalid("root", "it was stored for another repository"));
    }
    let raw = stored.files.get("root").ok_or_else(|| invalid("root", "it is not there"))?;
    let root = File::<Root>::read(Arc::clone(raw), "root", &limits)?;
    let subject = Subject { repository: repository.clone(), pins: Arc::default(), limits, known: None };
    let mut work = Work::new(&limits);
    root.signed_by(&leaves(&root, repository, None), "root", &mut work)?;
    let mut run = Run {
        fetch: stored,
        subject: &subject,
        known: None,
        void: None,
        now: stored.seen,
        dates: Dates::Ignored,
        work,
        bytes: limits.total_bytes,
    };
    let knowledge = match run.below(&Arc::new(root)).await {
        Ok(knowledge) => knowledge,
        Err(Failure::Fault(fault)) => return Err(fault),
        Err(Failure::Fetch(never)) => match never {},
    };
    // Floors only ever rise.
    let mut floors = (*knowledge.floors).clone();
    for (role, floor) in &stored.floors {
        let kept = Floor { version: floor.version, content: floor.content };
        let higher = floors.get(role).is_none_or(|have| have.version < kept.version);
        if higher {
            floors.insert(role.clone(), kept);
        }
    }
    Ok(Knowledge { floors: Arc::new(floors), ..knowledge })
}

/// The keys of a root as a source offers it. Nothing of it is verified: it is for a person to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedRoot {
    /// Its version.
    pub version: u64,
    /// Ids of the keys in the root role, as pins have them, and of the keys inside certificates, as `notary key list` has them.
    pub keys: Vec<(String, String)>,
}

/// The root that a source offers now, unverified; `None` where there is none that can be read.
pub async fn offered_root<F: Fetch>(fetch: &F, limits: MetadataLimits) -> Result<Option<OfferedRoot>, F::Error> {
    let Some(raw) = fetch.fetch("root.json".to_owned(), limits.root_bytes).await? else { return Ok(None) };
    let Ok(root) = File::<Root>::read(raw.into(), "root", &limits) else { return Ok(None) };
    let keys = root.body.root.keys.iter().map(|key| (key.id.clone(), key.bare_id())).collect();
    Ok(Some(OfferedRoot { version: root.version, keys }))
}

/// The roots before the one in use, by version, for whoever knows but an old one (section 8, "Update over several versions"): each
/// is what it says, and vouches for the next. Ends where one is missing, does not hold, or a bound is met.
pub async fn roots_before<F: Fetch>(
    fetch: &F,
    knowledge: &Knowledge,
    limits: MetadataLimits,
) -> Result<BTreeMap<u64, Arc<[u8]>>, F::Error> {
    let (mut roots, mut work) = (BTreeMap::new(), Work::new(&limits));
    let (mut next, mut bytes) = (Arc::clone(&knowledge.root), limits.chain_bytes);
    for version in (1..knowledge.root.version).rev().take(usize::try_from(limits.roots).unwrap_or(usize::MAX)) {
        let Some(raw) = fetch.fetch(format!("{version}.root.json"), limits.root_bytes.min(bytes)).await? else { break };
        let Some(left) = bytes.checked_sub(raw.len() as u64) else { break };
        let Ok(root) = File::<Root>::read(raw.into(), "root", &limits) else { break };
        if root.version != version || follows(&next, &root, &knowledge.repository, &mut work).is_err() {
            break;
        }
        roots.insert(version, Arc::clone(&root.raw));
        (next, bytes) = (Arc::new(root), left);
    }
    Ok(roots)
}

impl Fetch for Stored {
    type Error = std::convert::Infallible;
    const PARALLEL: bool = false;

    async fn fetch(&self, name: String, most: u64) -> Result<Option<Vec<u8>>, Self::Error> {
        let name = name.strip_suffix(".json").unwrap_or(&name);
        // `targets/releases.HEX` is kept by its role, `2.root` as it is.
        let name = match name.split_once('.') {
            None | Some((_, "root")) => name,
            Some((role, _)) => role,
        };
        // Of one that is too large as much as shows that: it is refused for its length, its form or its hash.
        let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1);
        Ok(self.files.get(name).map(|raw| raw.get(..most).unwrap_or(raw).to_vec()))
    }
}

impl<F: Fetch> Run<'_, F> {
    /// Fetches one file within the bounds.
    async fn get(&mut self, name: &str, role: &str, most: u64) -> Result<Arc<[u8]>, Failure<F::Error>> {
        let raw = self.fetch.fetch(name.to_owned(), most.min(self.bytes)).await.map_err(Failure::Fetch)?;
        self.received(raw, role)
    }

    fn received(&mut self, raw: Option<Vec<u8>>, role: &str) -> Result<Arc<[u8]>, Failure<F::Error>> {
        let raw = raw.ok_or_else(|| Fault::new(FaultKind::Missing, role, "the server does not have it"))?;
        self.bytes = self.bytes.checked_sub(raw.len() as u64).ok_or_else(|| too_large(role))?;
        Ok(raw.into())
    }

    /// The server's root, verified as the first or as the successor of `previous` (section 8).
    async fn new_root(&mut self, previous: Option<Arc<File<Root>>>) -> Result<Arc<File<Root>>, Failure<F::Error>> {
        let limits = &self.subject.limits;
        let raw = self.get("root.json", "root", limits.root_bytes).await?;
        let root = File::<Root>::read(raw, "root", limits)?;
        let Some(previous) = previous else {
            final_root(&root, self.subject, self.now, &mut self.work)?;
            return Ok(Arc::new(root));
        };
        if root.raw == previous.raw {
            final_root(&previous, self.subject, self.now, &mut self.work)?;
            return Ok(previous);
        }
        // A root that the pins in force never let pass was not a root of trust; its version is all that counts of it.
        let seen = self.known.as_ref().map_or(self.now, |known| known.seen);
        let void = is_void(&previous, self.subject, seen, self.now);
        let floor = Floor { version: previous.version, content: if void { root.content } else { previous.content } };
        above(&root, "root", Some(&floor))?;
        match self.succeeds(&root, previous).await {
            Ok(()) => {}
            Err(Failure::Fault(_)) if void => self.void = self.known.take(),
            Err(failure) => return Err(failure),
        }
        final_root(&root, self.subject, self.now, &mut self.work)?;
        Ok(Arc::new(root))
    }

    /// Whether `root` follows `previous`: directly, or link by link (section 8, "Update over several versions").
    async fn succeeds(&mut self, root: &File<Root>, mut previous: Arc<File<Root>>) -> Result<(), Failure<F::Error>> {
        let (subject, limits) = (self.subject, &self.subject.limits);
        let Err(fault) = follows(root, &previous, &subject.repository, &mut self.work) else { return Ok(()) };
        let ahead = root.version.saturating_sub(previous.version);
        if ahead <= 1 {
            return Err(fault.into());
        }
        if ahead > limits.roots {
            return Err(Fault::new(FaultKind::Root, "root", format!("it is {ahead} versions ahead of the one known")).into());
        }
        for version in previous.version.saturating_add(1)..root.version {
            let broken = |why: &str| Fault::new(FaultKind::Root, "root", format!("version {version} on the way {why}"));
            let raw = match self.get(&format!("{version}.root.json"), "root", limits.root_bytes).await {
                Err(Failure::Fault(fault)) if fault.kind == FaultKind::Missing => return Err(broken("is missing").into()),
                raw => raw?,
            };
            let link = File::<Root>::read(raw, "root", limits)?;
            if link.version != version {
                return Err(broken("is another version").into());
            }
            follows(&link, &previous, &subject.repository, &mut self.work)?;
            link.signed_by(&leaves(&link, &subject.repository, None), "root", &mut self.work).map_err(as_root)?;
            previous = Arc::new(link);
        }
        Ok(follows(root, &previous, &subject.repository, &mut self.work)?)
    }

    /// Timestamp, snapshot, targets and delegations under a root that is verified.
    async fn below(&mut self, root: &Arc<File<Root>>) -> Result<Knowledge, Failure<F::Error>> {
        let limits = self.subject.limits;
        let known = self.known.clone();
        // What has lost its files is verified anew, with all of them.
        let is_lost = known.as_ref().is_some_and(|known| matches!(known.files, Files::Lost));
        let same_root = !is_lost && known.as_ref().is_some_and(|known| known.root.raw == root.raw);

        let raw = self.get("timestamp.json", "timestamp", limits.timestamp_bytes).await?;
        if let Some(known) = known.as_ref().filter(|known| same_root && known.timestamp.raw == raw) {
            self.dated(&known.timestamp, "timestamp")?;
            self.dated(&known.snapshot, "snapshot")?;
            self.dated_targets(&known.roles)?;
            return Ok(known.seen_at(self.now));
        }
        let timestamp = File::<Stamp>::read(raw, "timestamp", &limits)?;
        timestamp.signed_by(&root.body.timestamp, "timestamp", &mut self.work)?;
        self.dated(&timestamp, "timestamp")?;
        above(&timestamp, "timestamp", self.floor("timestamp", &root.body.timestamp))?;

        let meta = &timestamp.body.snapshot;
        let kept = known.as_ref().filter(|known| meta.fits(&known.snapshot.raw));
        if let Some(known) = kept.filter(|_| same_root) {
            self.dated(&known.snapshot, "snapshot")?;
            self.dated_targets(&known.roles)?;
            let mut floors = (*known.floors).clone();
            raise(&mut floors, "timestamp", &timestamp);
            return Ok(Knowledge {
                timestamp: Arc::new(timestamp.settled()),
                floors: Arc::new(floors),
                ..known.seen_at(self.now)
            });
        }
        let raw = match kept {
            Some(known) => Arc::clone(&known.snapshot.raw),
            None => self.by_hash("snapshot", meta, limits.snapshot_bytes).await?,
        };
        let snapshot = File::<Snapshot>::read(raw, "snapshot", &limits)?;
        snapshot.signed_by(&root.body.snapshot, "snapshot", &mut self.work)?;
        self.dated(&snapshot, "snapshot")?;
        above(&snapshot, "snapshot", self.floor("snapshot", &root.body.snapshot))?;
        if !snapshot.body.root.fits(&root.raw) {
            return Err(Fault::new(FaultKind::Invalid, "root", "it is not the one that `snapshot` names").into());
        }

        let (held, files) = self.targets(root, &snapshot).await?;
        let mut floors = known.as_ref().map(|known| (*known.floors).clone()).unwrap_or_default();
        raise(&mut floors, "root", root);
        raise(&mut floors, "timestamp", &timestamp);
        raise(&mut floors, "snapshot", &snapshot);
        for (name, held) in &held {
            if held.left_out.is_none() {
                raise(&mut floors, name.as_str(), &held.file);
            }
        }
        forget(&mut floors, &held, limits.roles);
        Ok(Knowledge {
            repository: self.subject.repository.clone(),
            root: Arc::clone(root),
            timestamp: Arc::new(timestamp.settled()),
            snapshot: Arc::new(snapshot.settled()),
            roles: Arc::new(Roles::new(held)),
            files: Files::Here(Arc::new(files)),
            floors: Arc::new(floors),
            seen: known.as_ref().map_or(self.now, |known| known.seen.max(self.now)),
            proof: Proof::default(),
        })
    }

    /// `targets` and all delegations below it that are listed, level by level; and their files.
    async fn targets(
        &mut self,
        root: &File<Root>,
        snapshot: &File<Snapshot>,
    ) -> Result<(BTreeMap<RoleName, Held>, BTreeMap<RoleName, Arc<[u8]>>), Failure<F::Error>> {
        let limits = self.subject.limits;
        let (mut held, mut files, mut bytes) = (BTreeMap::new(), BTreeMap::new(), limits.total_bytes);
        let mut level = vec![Wanted {
            name: RoleName::targets(),
            signers: root.body.targets.clone(),
            paths: vec![String::new()],
            meta: snapshot.body.targets.clone(),
        }];
        for depth in 0.. {
            if level.is_empty() {
                break;
            }
            if depth > limits.levels || held.len() + level.len() > limits.roles {
                return Err(Fault::new(FaultKind::Invalid, "targets", "too many delegations").into());
            }
            let raws = self.fetch_level(&level).await?;
            let mut next = Vec::new();
            for (wanted, raw) in level.into_iter().zip(raws) {
                let role = wanted.name.as_str();
                // Those that are known already count as well: what grows a little each time would grow without end.
                bytes = bytes.checked_sub(raw.len() as u64).ok_or_else(|| too_large(role))?;
                let file = File::<Targets>::read(raw, role, &limits)?;
                // Another verification has its turn: files are large, and there may be many.
                tokio::task::yield_now().await;
                let left_out = match file.signed_by(&wanted.signers, role, &mut self.work) {
                    Ok(()) => None,
                    // Section 7, step 4: a delegation is left out; what depends on it is refused when asked for.
                    Err(fault) if fault.kind == FaultKind::UnderSigned && depth > 0 => Some(fault),
                    Err(fault) => return Err(fault.into()),
                };
                if left_out.is_none() {
                    above(&file, role, self.floor(role, &wanted.signers))?;
                    if depth == 0 {
                        self.dated(&file, role)?;
                    }
                    for delegation in &file.body.delegations {
                        match snapshot.body.delegations.get(&delegation.name) {
                            Some(meta) => next.push(Wanted {
                                name: delegation.name.clone(),
                                signers: delegation.signers.clone(),
                                paths: narrowed(delegation, &wanted.paths),
                                meta: meta.clone(),
                            }),
                            None if self.floor(delegation.name.as_str(), &delegation.signers).is_some() => {
                                let why = "it was there before, and is still delegated, but is listed no more";
                                return Err(Fault::new(FaultKind::RolledBack, delegation.name.as_str(), why).into());
                            }
                            // Delegated, and nothing published yet.
                            None => {}
                        }
                    }
                }
                let (file, raw) = file.bare();
                files.insert(wanted.name.clone(), raw);
                held.insert(wanted.name, Held { file, paths: wanted.paths, signers: wanted.signers, left_out });
            }
            level = next;
        }
        Ok((held, files))
    }

    /// The files of one level, in order: from what is known where the hashes fit, else fetched.
    async fn fetch_level(&mut self, level: &[Wanted]) -> Result<Vec<Arc<[u8]>>, Failure<F::Error>> {
        let most = self.subject.limits.targets_bytes;
        let mut raws = Vec::with_capacity(level.len());
        for wanted in level {
            raws.push(self.known_file(&wanted.name).await.filter(|raw| wanted.meta.fits(raw)));
        }
        let missing: Vec<usize> = raws.iter().enumerate().filter(|(_, raw)| raw.is_none()).map(|(index, _)| index).collect();
        if F::PARALLEL && missing.len() > FEW {
            // The sum of what is announced is bounded before anything is asked for.
            let announced: u64 = missing
                .iter()
                .filter_map(|index| level.get(*index))
                .map(|wanted| wanted.meta.length)
                .fold(0, u64::saturating_add);
            if announced > self.bytes {
                return Err(too_large("snapshot").into());
            }
            let mut waiting = missing.iter().copied();
            let mut flights: JoinSet<(usize, Fetched<F>)> = JoinSet::new();
            loop {
                while flights.len() < FETCHES
                    && let Some(index) = waiting.next()
                {
                    let Some(wanted) = level.get(index) else { continue };
                    let length = announced_length(&wanted.meta, wanted.name.as_str(), most)?;
                    let (fetch, name) = (self.fetch.clone(), hashed_name(wanted.name.as_str(), &wanted.meta));
                    flights.spawn(async move { (index, fetch.fetch(name, length).await) }.in_current_span());
                }
                let Some(landed) = flights.join_next().await else { break };
                let (index, raw) = landed.map_err(|_| Fault::new(FaultKind::Invalid, "targets", "a fetch broke off"))?;
                let Some((wanted, slot)) = level.get(index).zip(raws.get_mut(index)) else { continue };
                let raw = self.received(raw.map_err(Failure::Fetch)?, wanted.name.as_str())?;
                *slot = Some(fitting(raw, wanted.name.as_str(), &wanted.meta)?);
            }
        } else {
            for index in missing {
                let Some((wanted, slot)) = level.get(index).zip(raws.get_mut(index)) else { continue };
                *slot = Some(self.by_hash(wanted.name.as_str(), &wanted.meta, most).await?);
            }
        }
        raws.into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Fault::new(FaultKind::Invalid, "targets", "a file was not fetched").into())
    }

    /// The file of a role as it was when it was last verified; from memory, or from where it is kept.
    async fn known_file(&self, role: &RoleName) -> Option<Arc<[u8]>> {
        let known = self.known.as_ref().filter(|known| known.roles.held.contains_key(role))?;
        match &known.files {
            Files::Here(files) => files.get(role).cloned(),
            Files::Kept => self.fetch.kept(role).await,
            Files::Lost => None,
        }
    }

    /// A file by the hash its parent lists, checked against all that is listed.
    async fn by_hash(&mut self, role: &str, meta: &Meta, most: u64) -> Result<Arc<[u8]>, Failure<F::Error>> {
        let length = announced_length(meta, role, most)?;
        let raw = self.get(&hashed_name(role, meta), role, length).await?;
        Ok(fitting(raw, role, meta)?)
    }

    fn dated<T: Body>(&self, file: &File<T>, role: &str) -> Result<(), Fault> {
        match self.dates {
            Dates::Checked => file.in_date(role, self.now),
            Dates::Ignored => Ok(()),
        }
    }

    fn dated_targets(&self, roles: &Roles) -> Result<(), Fault> {
        roles.held.get(&RoleName::targets()).map_or(Ok(()), |held| self.dated(&held.file, "targets"))
    }

    /// The version that a role does not go below; `signers` are those it has now.
    fn floor(&self, role: &str, signers: &Signers) -> Option<&Floor> {
        let bound = self.void.as_ref().filter(|void| void.signers(role).is_some_and(|before| before.share(signers)));
        self.known.as_ref().or(bound)?.floors.get(role)
    }
}

struct Wanted {
    name: RoleName,
    signers: Signers,
    paths: Vec<String>,
    meta: Meta,
}

fn hashed_name(role: &str, meta: &Meta) -> String {
    format!("{role}.{}.json", hex(&meta.sha256))
}

fn announced_length(meta: &Meta, role: &str, most: u64) -> Result<u64, Fault> {
    if meta.length > most {
        return Err(Fault::new(FaultKind::Invalid, role, format!("its listed length is over {most} bytes")));
    }
    Ok(meta.length)
}

fn fitting(raw: Arc<[u8]>, role: &str, meta: &Meta) -> Result<Arc<[u8]>, Fault> {
    if meta.fits(&raw) {
        Ok(raw)
    } else {
        Err(Fault::new(FaultKind::Invalid, role, "it is not the file that its parent lists (hash or length)"))
    }
}

/// Versions never go back, and one version says one thing (section 10).
fn above<T: Body>(file: &File<T>, role: &str, floor: Option<&Floor>) -> Result<(), Fault> {
    match floor {
        Some(floor) if file.version < floor.version => {
            let why = format!("version {} is older than {}, which was seen before", file.version, floor.version);
            Err(Fault::new(FaultKind::RolledBack, role, why))
        }
        Some(floor) if file.version == floor.version && file.content != floor.content => {
            let why = format!("version {} says something else than it did before", file.version);
            Err(Fault::new(FaultKind::RolledBack, role, why))
        }
        _ => Ok(()),
    }
}

fn raise<T: Body>(floors: &mut BTreeMap<String, Floor>, role: &str, file: &File<T>) {
    floors.insert(role.to_owned(), Floor { version: file.version, content: file.content });
}

/// Leaves out the versions of delegations that are gone, once there are more of them than may be there at all: who may delegate
/// could make new names for ever. Whoever brings one back names its keys as well, so that its old version guards nothing.
fn forget(floors: &mut BTreeMap<String, Floor>, held: &BTreeMap<RoleName, Held>, most: usize) {
    let is_gone = |role: &str| RoleName::delegation(role).is_some_and(|name| !held.contains_key(&name));
    if floors.keys().filter(|role| is_gone(role)).count() > most {
        floors.retain(|role, _| !is_gone(role));
    }
}

fn too_large(role: &str) -> Fault {
    Fault::new(FaultKind::Invalid, role, "the repository's trust data is too large")
}

/// The root keys that count for `repository`: a certificate bundle with the right name, one leaf in front, CAs behind it,
/// and nothing weak in it. With `now`, in date as well (section 8).
fn leaves(root: &File<Root>, repository: &Repository, now: Option<Timestamp>) -> Signers {
    let counts = |key: &Key| {
        let Some((leaf, between)) = key.certificates.split_first() else { return false };
        let sound = key.certificates.iter().all(|certificate| match now {
            Some(now) => certificate.counts(now),
            None => certificate.strong(),
        });
        sound
            && !leaf.authority
            && between.iter().all(|certificate| certificate.authority)
            && leaf.is_for(repository.as_str())
            && key.signer().is_some()
    };
    let keys = root.body.root.keys.iter().filter(|key| counts(key)).cloned().collect();
    Signers { threshold: root.body.root.threshold, keys }
}

/// What building a chain to one CA may cost, in units of work: up to a hundred checks, of certificates that an attacker chose.
const CHAIN_WORK: u32 = 256;

/// Whether `root`, whatever came before it, may be the one in use: certificates, pins, threshold, date.
fn final_root(root: &File<Root>, subject: &Subject, now: Timestamp, work: &mut Work) -> Result<(), Fault> {
    let fault = |why: &str| Fault::new(FaultKind::Root, "root", why);
    let named = leaves(root, &subject.repository, Some(now));
    if named.keys.is_empty() {
        return Err(fault("no root key has a certificate in date and for this repository"));
    }
    // Pins are asked about those that signed, not about all whom the file lists.
    let mut is_pinned = false;
    let signed = root.signed_by_those(&named, "root", work, |key, work| {
        let passes = passes(key, subject, now, work)?;
        is_pinned |= passes;
        Ok(passes)
    });
    match signed {
        Err(other) if other.kind != FaultKind::UnderSigned => return Err(other),
        Err(_) if !is_pinned => return Err(fault("it is signed by no root key that the pins name")),
        signed => signed.map_err(as_root)?,
    }
    root.in_date("root", now)
}

/// Whether the pins let a key pass.
fn passes(key: &Key, subject: &Subject, at: Timestamp, work: &mut Work) -> Result<bool, Fault> {
    let repository = subject.repository.as_str();
    let chains = u32::try_from(subject.pins.chains(repository, &key.certificates)).unwrap_or(u32::MAX);
    work.spend(CHAIN_WORK.saturating_mul(chains), "root")?;
    Ok(subject.pins.pass(repository, &key.id, &key.certificates, at))
}

impl Knowledge {
    /// Whether its root is known to pass pins, certificates and dates now. Costs nothing; every use without the server asks this.
    #[must_use]
    pub fn is_proven(&self, pins: &Arc<Pins>, now: Timestamp) -> bool {
        self.proof.holds(pins, now.max(self.seen))
    }

    /// The same, found out now, and known for a while.
    pub fn proven(&self, pins: &Arc<Pins>, now: Timestamp) -> Result<Self, Fault> {
        let (repository, limits, now) = (self.repository.clone(), MetadataLimits::default(), now.max(self.seen));
        let subject = Subject { repository, pins: Arc::clone(pins), limits, known: None };
        final_root(&self.root, &subject, now, &mut Work::new(&limits))?;
        Ok(Self { proof: Proof::new(&self.root, &self.repository, pins, now), ..self.clone() })
    }

    /// Who signs for a role.
    fn signers(&self, role: &str) -> Option<&Signers> {
        let root = &self.root.body;
        match role {
            "root" => Some(&root.root),
            "timestamp" => Some(&root.timestamp),
            "snapshot" => Some(&root.snapshot),
            "targets" => Some(&root.targets),
            _ => self.roles.held.get(&RoleName::delegation(role)?).map(|held| &held.signers),
        }
    }

    /// Whether the pins do not let its root pass, and did not when it was last verified. A server that is refused on such terms
    /// has done nothing wrong by that.
    #[must_use]
    pub fn is_void(&self, pins: &Arc<Pins>, now: Timestamp) -> bool {
        let limits = MetadataLimits::default();
        let subject = Subject { repository: self.repository.clone(), pins: Arc::clone(pins), limits, known: None };
        is_void(&self.root, &subject, self.seen, now)
    }
}

/// Whether the pins in force let a root pass neither when it was seen nor now.
fn is_void(root: &File<Root>, subject: &Subject, seen: Timestamp, now: Timestamp) -> bool {
    !pinned(root, subject, seen) && !pinned(root, subject, now)
}

/// Whether the pins in force would let a root pass at a time. One that cannot be told without end passes, and binds its successor.
fn pinned(root: &File<Root>, subject: &Subject, at: Timestamp) -> bool {
    let mut work = Work::new(&MetadataLimits::default());
    leaves(root, &subject.repository, None).keys.iter().any(|key| passes(key, subject, at, &mut work).unwrap_or(true))
}

/// Whether the keys of `previous` vouch for `root`: certificates by name, dates aside.
fn follows(root: &File<Root>, previous: &File<Root>, repository: &Repository, work: &mut Work) -> Result<(), Fault> {
    root.signed_by(&leaves(previous, repository, None), "root", work)
        .map_err(|_| Fault::new(FaultKind::Root, "root", "it is not signed by the keys of the root that was trusted before"))
}

fn as_root(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::UnderSigned => Fault { kind: FaultKind::Root, ..fault },
        _ => fault,
    }
}
