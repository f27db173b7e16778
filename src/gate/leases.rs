//! A container's name can move between the gate's look and the daemon's. So calls that start by a name, and calls that give
//! that name, exclude each other from AuthZReq until the matching AuthZRes (docs/adr/0003-leases-of-names.md). A rename waits in
//! the engine for the container's lock, and a create for the store of images or for a volume, which a client can make take as long
//! as it likes: the name stays taken until the engine is known to have carried the call out or dropped it, also across a restart of
//! the gate. A name that is lost means nothing any more, or another container by the beginning of its id; `gather` looks at that
//! one as well.
//!
//! Names that are being given are written by another thread than the one that serves; who gives one waits until that is done.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::ContainerId;
use crate::files::{Outlives, replace};
use crate::image::Digest;

/// How long the lease of a start holds when no AuthZRes ends it (another plugin refused the call, the daemon went away). dockerd
/// looks the name up at once after the last plugin's answer; what takes longer is looked at when it ends. A name that is being given
/// has no such end: after this time the engine is asked whether the call still waits.
const HELD: Duration = Duration::from_secs(20);
/// How long a create holds its name where the engine does not show whether it is over: nothing has the name. Most were refused by
/// another plugin; a create that takes longer copies an image's files to a volume for as long.
const CREATING: Duration = Duration::from_mins(10);
/// How long nothing starts by a name where the renames of an earlier gate cannot be read. Most are over by then.
const UNKNOWN: Duration = Duration::from_mins(1);
/// How long an ended-by-time start is remembered, so that its AuthZRes finds what it was judged by.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Most leases of starts at once, remembered ones included. Stops memory from being filled by calls that never end;
/// reached only under attack. Remembered ones make room for new ones.
const MAX_LEASES: usize = 4096;
/// Most renames under way at once, and of one container. They are written to disk, and a client decides when they end.
const MAX_RENAMES: usize = 256;
const MAX_RENAMES_OF_ONE: usize = 4;
/// Most creates with a name under way at once. They are written to disk. Those older than [`HELD`] make room: where another plugin
/// refuses creates, they would never end.
const MAX_CREATES: usize = 512;
/// Most calls that wait for one name, and for names at all. More are refused at once, so that names that are held do not hold the
/// gate's places.
const MAX_WAITING: usize = 8;
const MAX_WAITING_AT_ALL: usize = 64;
/// Characters of a name that are kept to be shown. The engine knows no bound.
const SHOWN: usize = 128;
/// Most containers remembered as judged by a start. Above what one host starts in [`REMEMBERED`].
const MAX_JUDGED: usize = 8192;

/// What a call does to names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// Starts what this name or id prefix means.
    Start(String),
    /// Gives this name to a new container.
    Create {
        /// The name.
        name: String,
        /// The image, as the call names it to the engine.
        image: String,
    },
    /// Gives this name to a container that has another.
    Rename {
        /// The name it is to have.
        name: String,
        /// The name it is called by in the call; nobody else may be given that one meanwhile.
        from: String,
    },
}

impl Claim {
    /// The name that is held.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Start(name) | Self::Create { name, .. } | Self::Rename { name, .. } => name,
        }
    }
}

/// Why a lease is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Busy {
    /// Another call holds the name.
    Held,
    /// There are too many calls of this kind.
    Full,
    /// The name that is being given cannot be written to the state folder.
    Unwritable,
}

/// A start as it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    /// When the daemon asked about it.
    pub since: Timestamp,
    /// The whole id of the container it was judged by.
    pub container: Option<String>,
}

/// A call that gives a name and has not ended in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    number: u64,
    /// The name that is given, cut to be shown.
    pub name: String,
    /// Whether nothing was cut off it: no other container's name may stand for it.
    pub is_whole: bool,
    /// To what.
    pub to: To,
    /// Whether it is older than any create that the engine may still carry out unseen.
    pub is_old: bool,
}

/// What is given a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// A container that is there.
    Container(ContainerId),
    /// A new container of this image.
    Image(String),
    /// It never came to be known: the call was not answered.
    Nothing,
}

/// All leases.
#[derive(Default)]
pub(super) struct Leases {
    state: Arc<Mutex<State>>,
    changed: Notify,
    /// Writes names that are being given, before they are answered.
    keeper: Option<Keeper>,
}

/// Keeps the names that are being given on disk. One write at a time, each of what is held by then: the order on disk is that of
/// memory, and a disk that hangs holds one thread.
#[derive(Clone)]
struct Keeper {
    file: PathBuf,
    workers: tokio::runtime::Handle,
    /// Held while it is written; the change up to which it is.
    written: Arc<tokio::sync::Mutex<u64>>,
    /// A write that nobody waits for is on its way.
    is_due: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    held: Vec<Held>,
    given: Vec<Given>,
    /// Counts on with each change of `given`.
    changes: u64,
    waiting: Vec<Key>,
    closed: Vec<Key>,
    judged: VecDeque<(String, Instant)>,
    numbers: u64,
    /// Nothing starts by a name until then: what an earlier gate held cannot be read.
    unknown_until: Option<Instant>,
}

/// What came of a claim.
enum Hold {
    /// It is held, under this number.
    Done(u64),
    /// Something excludes it, which ends by itself then, if at all.
    Wait { until: Option<Instant> },
}

/// A start's lease.
struct Held {
    number: u64,
    /// Of method and target of the call, as dockerd repeats them in AuthZRes.
    call: Key,
    name: Key,
    until: Instant,
    since: Timestamp,
    judged: Option<String>,
}

/// A name that is being given.
struct Given {
    number: u64,
    begun: Instant,
    kept: Kept,
}

/// The same, as the state folder has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// The name that is given, cut to be shown.
    name: String,
    /// The container of a rename.
    container: Option<ContainerId>,
    /// The image of a create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    since: Timestamp,
    /// Hashes of the name, of what a rename's container is called by in the call, and of the call's method and target.
    gives: Key,
    from: Option<Key>,
    call: Key,
}

impl Kept {
    fn is_create(&self) -> bool {
        self.from.is_none()
    }
}

/// Clients choose targets and names, up to the size of a request's head; what is compared is their hash.
type Key = Digest;

fn key(text: &str) -> Key {
    Digest::of(text.as_bytes())
}

/// The names of `Leases::kept_in`'s file that are being given, each with when that began. No file: none.
pub fn names_being_given(file: &Path) -> std::io::Result<Vec<(String, Timestamp)>> {
    let kept: Vec<Kept> = match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(kept.into_iter().map(|kept| (kept.name, kept.since)).collect())
}

impl Leases {
    /// Leases that are kept in `file`; what an earlier gate held is held again. Where the file cannot be read, nothing
    /// starts by a name for a while.
    pub(super) fn kept_in(file: PathBuf, workers: tokio::runtime::Handle) -> Self {
        let read = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        };
        let (kept, unknown_until): (Vec<Kept>, _) = read.map_or_else(
            |error| {
                tracing::error!(file = %file.display(), error, "the names that are being given cannot be read; nothing starts by a name for a minute");
                (Vec::new(), Some(Instant::now() + UNKNOWN))
            },
            |kept| (kept, None),
        );
        let keeper = Keeper { file, workers, written: Arc::default(), is_due: Arc::default() };
        let leases = Self { keeper: Some(keeper), ..Self::default() };
        {
            let mut state = leases.lock();
            state.unknown_until = unknown_until;
            for kept in kept.into_iter().take(MAX_RENAMES + MAX_CREATES) {
                state.numbers += 1;
                let number = state.numbers;
                state.given.push(Given { number, begun: Instant::now(), kept });
            }
        }
        leases
    }

    /// Waits until `claim` excludes nothing that is held, at most until `deadline`, and holds it for `call`. Returns the lease's number.
    pub(super) async fn hold(&self, call: &str, claim: &Claim, deadline: Instant) -> Result<u64, Busy> {
        let mut place = None;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            let next = match self.lock().try_hold(call, claim, now)? {
                Hold::Done(number) => return Ok(number),
                Hold::Wait { until } => until,
            };
            if now >= deadline {
                return Err(Busy::Held);
            }
            // Only who has to wait takes a place in the line.
            if place.is_none() {
                place = Some(self.wait_for(claim)?);
            }
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(next.unwrap_or(deadline).min(deadline)) => {}
            }
        }
    }

    /// Notes which container the rename `number` is about, and writes it down before it is answered.
    pub(super) async fn rename_of(&self, number: u64, container: ContainerId) -> Result<(), Busy> {
        {
            let mut state = self.lock();
            let of_one = state.given.iter().filter(|given| given.kept.container.as_ref() == Some(&container)).count();
            if of_one >= MAX_RENAMES_OF_ONE {
                return Err(Busy::Full);
            }
            let given = state.given.iter_mut().find(|given| given.number == number).ok_or(Busy::Full)?;
            given.kept.container = Some(container);
            state.changes += 1;
        }
        self.save().await
    }

    /// Writes the names that are being given down, and comes back when that is done.
    pub(super) async fn save(&self) -> Result<(), Busy> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let due = self.lock().changes;
        keeper.write(Arc::clone(&self.state), due).await.map_err(|error| {
            tracing::error!(%error, "a name that is being given cannot be written to the state folder");
            Busy::Unwritable
        })
    }

    /// Notes which container the start `number` was judged by.
    pub(super) fn judged(&self, number: u64, container: &str) {
        if let Some(lease) = self.lock().held.iter_mut().find(|lease| lease.number == number) {
            lease.judged = Some(container.to_owned());
        }
    }

    /// Gives up the lease of a call that is refused, and no other of a call that is spelled alike.
    pub(super) fn give_up(&self, number: u64) {
        self.lock().held.retain(|lease| lease.number != number);
        self.end_where(|given| given.number == number);
        self.changed.notify_waiters();
    }

    /// Remembers that a start of this container was judged and let pass, under whatever name.
    pub(super) fn let_start(&self, container: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        state.judged.retain(|(_, at)| *at + REMEMBERED > now);
        if state.judged.len() >= MAX_JUDGED {
            state.judged.pop_front();
        }
        state.judged.push_back((container.to_owned(), now));
    }

    /// Whether a start of this container was judged and let pass lately.
    pub(super) fn was_let_start(&self, container: &str) -> bool {
        self.lock().judged.iter().any(|(id, _)| id == container)
    }

    /// Ends a lease of the start `call`; what it was judged by. `None`: there is none any more (the gate was restarted in between).
    /// Of several, one that holds still ends first: what other plugins refused never ends.
    pub(super) fn end(&self, call: &str) -> Option<Judged> {
        let (call, now) = (key(call), Instant::now());
        let mut state = self.lock();
        let of_call = |lease: &Held| lease.call == call;
        let live = state.held.iter().position(|lease| of_call(lease) && lease.until > now);
        let at = live.or_else(|| state.held.iter().rposition(of_call))?;
        let lease = state.held.remove(at);
        drop(state);
        self.changed.notify_waiters();
        Some(Judged { since: lease.since, container: lease.judged })
    }

    /// Ends a lease of the name that `call` gives: of several the newest, among creates of the same image, if it is known.
    pub(super) fn end_given(&self, call: &str, image: Option<&str>) {
        let call = key(call);
        let number = {
            let state = self.lock();
            let of_call = || state.given.iter().rev().filter(|given| given.kept.call == call);
            let same = image.and_then(|image| of_call().find(|given| given.kept.image.as_deref() == Some(image)));
            same.or_else(|| of_call().next()).map(|given| given.number)
        };
        self.end_where(|given| Some(given.number) == number);
    }

    fn end_where(&self, ends: impl Fn(&Given) -> bool) {
        let mut state = self.lock();
        let Some(at) = state.given.iter().position(ends) else { return };
        state.given.remove(at);
        state.changes += 1;
        drop(state);
        self.changed.notify_waiters();
        if let Some(keeper) = &self.keeper {
            keeper.write_soon(&self.state);
        }
    }

    /// Nothing starts by `name` until it is opened: what was started by it is being killed.
    pub(super) fn close(&self, name: &str) {
        self.lock().closed.push(key(name));
    }

    /// Ends one [`Leases::close`].
    pub(super) fn open(&self, name: &str) {
        let name = key(name);
        let mut state = self.lock();
        if let Some(at) = state.closed.iter().position(|closed| *closed == name) {
            state.closed.swap_remove(at);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The names that have been on their way for longer than [`HELD`]: their AuthZRes may never come. Only those that exclude `claim`,
    /// if one is given.
    pub(super) fn pending(&self, claim: Option<&Claim>) -> Vec<Pending> {
        let state = self.lock();
        let concerns = |given: &&Given| given.begun.elapsed() >= HELD && claim.is_none_or(|claim| excluded_by(claim, given));
        let pending = |given: &Given| Pending {
            number: given.number,
            name: given.kept.name.clone(),
            is_whole: key(&given.kept.name) == given.kept.gives,
            to: match (&given.kept.container, &given.kept.image) {
                (Some(container), _) => To::Container(container.clone()),
                (None, Some(image)) => To::Image(image.clone()),
                (None, None) => To::Nothing,
            },
            is_old: given.begun.elapsed() >= CREATING,
        };
        state.given.iter().filter(concerns).map(pending).collect()
    }

    /// Ends the lease of a name that the engine is known to have given, or not to give any more.
    pub(super) fn settle(&self, pending: &Pending) {
        self.end_where(|given| given.number == pending.number);
    }

    /// A place in the line for `claim`'s name, given back when dropped.
    fn wait_for(&self, claim: &Claim) -> Result<Waiting<'_>, Busy> {
        let name = match claim {
            Claim::Start(name) | Claim::Create { name, .. } | Claim::Rename { name, .. } => key(name),
        };
        let mut state = self.lock();
        let of_name = state.waiting.iter().filter(|waiting| **waiting == name).count();
        if of_name >= MAX_WAITING || state.waiting.len() >= MAX_WAITING_AT_ALL {
            return Err(Busy::Full);
        }
        state.waiting.push(name);
        drop(state);
        Ok(Waiting { leases: self, name })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Writes what is held by then, unless that was done since the change `due`. Goes on when nobody waits any more.
    async fn write(&self, state: Arc<Mutex<State>>, due: u64) -> std::io::Result<()> {
        let mut written = Arc::clone(&self.written).lock_owned().await;
        if *written >= due {
            return Ok(());
        }
        let file = self.file.clone();
        let write = move || {
            let (changes, kept) = {
                let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                (state.changes, state.given.iter().map(|given| given.kept.clone()).collect::<Vec<_>>())
            };
            // The engine forgets calls when the host goes down, so nothing is synced.
            replace(&file, &serde_json::to_vec(&kept)?, 0o600, Outlives::Process)?;
            *written = changes;
            Ok(())
        };
        self.workers.spawn_blocking(write).await.unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
    }

    /// The same, for a change that nobody waits for.
    fn write_soon(&self, state: &Arc<Mutex<State>>) {
        if self.is_due.swap(true, Ordering::Relaxed) {
            return;
        }
        let (keeper, state) = (self.clone(), Arc::clone(state));
        self.workers.spawn(async move {
            // In its turn, so that what changes from now on is written by another.
            let turn = keeper.written.lock().await;
            keeper.is_due.store(false, Ordering::Relaxed);
            drop(turn);
            let due = state.lock().unwrap_or_else(PoisonError::into_inner).changes;
            if let Err(error) = keeper.write(state, due).await {
                // Too many are kept then: the next gate asks the engine about them.
                tracing::error!(%error, "the names that are being given cannot be written to the state folder");
            }
        });
    }
}

struct Waiting<'a> {
    leases: &'a Leases,
    name: Key,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.leases.lock();
        if let Some(at) = state.waiting.iter().position(|waiting| *waiting == self.name) {
            state.waiting.swap_remove(at);
        }
    }
}

/// Whether `claim` has to wait for a name that is being given.
fn excluded_by(claim: &Claim, given: &Given) -> bool {
    let Kept { gives, from, .. } = &given.kept;
    match claim {
        Claim::Start(name) => *gives == key(name),
        // What a rename under way is called by stays what it was.
        Claim::Create { name, .. } => *from == Some(key(name)),
        // What the container is called by must not come to mean another before the engine looks.
        Claim::Rename { name, from: own } => *from == Some(key(name)) || *gives == key(own),
    }
}

impl State {
    /// Holds `claim` for `call`, if nothing excludes it.
    fn try_hold(&mut self, call: &str, claim: &Claim, now: Instant) -> Result<Hold, Busy> {
        self.make_room(now);
        let (mut until, mut excluded) = (None, false);
        let mut exclude = |end: Option<Instant>| {
            excluded = true;
            until = [until, end].into_iter().flatten().min();
        };
        self.given.iter().filter(|given| excluded_by(claim, given)).for_each(|_| exclude(None));
        match claim {
            Claim::Start(name) => {
                let name = key(name);
                self.closed.iter().filter(|closed| **closed == name).for_each(|_| exclude(None));
                if let Some(until) = self.unknown_until.filter(|until| *until > now) {
                    exclude(Some(until));
                }
            }
            Claim::Create { name, .. } | Claim::Rename { name, .. } => {
                let name = key(name);
                let starts = self.held.iter().filter(|lease| lease.until > now && lease.name == name);
                starts.for_each(|lease| exclude(Some(lease.until)));
            }
        }
        if excluded {
            return Ok(Hold::Wait { until });
        }
        self.push(call, claim, now).map(Hold::Done)
    }

    fn make_room(&mut self, now: Instant) {
        // A start is asked for when it is over. Calls that another plugin refuses never end here, and must not pile up.
        self.held.retain(|lease| lease.until + REMEMBERED > now);
        if self.held.len() >= MAX_LEASES {
            self.held.retain(|lease| lease.until > now);
        }
    }

    fn push(&mut self, call: &str, claim: &Claim, now: Instant) -> Result<u64, Busy> {
        self.numbers += 1;
        let number = self.numbers;
        let (call, since) = (key(call), crate::clock::now());
        let (name, from, image) = match claim {
            Claim::Start(name) => {
                if self.held.len() >= MAX_LEASES {
                    return Err(Busy::Full);
                }
                self.held.push(Held { number, call, name: key(name), until: now + HELD, since, judged: None });
                return Ok(number);
            }
            Claim::Create { name, image } => {
                self.room_for_a_create(now)?;
                (name, None, Some(image.clone()))
            }
            Claim::Rename { name, from } => {
                if self.given.iter().filter(|given| !given.kept.is_create()).count() >= MAX_RENAMES {
                    return Err(Busy::Full);
                }
                (name, Some(key(from)), None)
            }
        };
        let shown = name.chars().take(SHOWN).collect();
        let kept = Kept { name: shown, container: None, image, since, gives: key(name), from, call };
        self.given.push(Given { number, begun: now, kept });
        self.changes += 1;
        Ok(number)
    }

    fn room_for_a_create(&mut self, now: Instant) -> Result<(), Busy> {
        let creates = self.given.iter().filter(|given| given.kept.is_create()).count();
        if creates >= MAX_CREATES {
            // The oldest comes first.
            let oldest = self.given.iter().position(|given| given.kept.is_create() && given.begun + HELD <= now);
            self.given.remove(oldest.ok_or(Busy::Full)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    fn id(digit: char) -> Option<ContainerId> {
        digit.to_string().repeat(64).parse().ok()
    }

    fn rename(from: &str, name: &str) -> Claim {
        Claim::Rename { name: name.into(), from: from.into() }
    }

    fn create(name: &str) -> Claim {
        Claim::Create { name: name.into(), image: "r.example/a:1".into() }
    }

    fn kept_in(file: &Path) -> Leases {
        Leases::kept_in(file.to_owned(), tokio::runtime::Handle::current())
    }

    /// Holds a rename of the container with this id.
    async fn held(leases: &Leases, call: &str, claim: &Claim, container: char) -> Result<(), Busy> {
        let number = leases.hold(call, claim, soon()).await?;
        let told = leases.rename_of(number, id(container).unwrap()).await;
        told.inspect_err(|_| leases.give_up(number))
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_not_given_while_a_start_by_it_is_under_way() {
        let leases = Leases::default();
        leases.hold("POST /containers/web/start", &Claim::Start("web".into()), soon()).await.unwrap();
        assert_eq!(leases.hold("rename", &rename("bad", "web"), soon()).await, Err(Busy::Held));
        assert_eq!(leases.hold("create", &create("web"), soon()).await, Err(Busy::Held));
        leases.hold("create", &create("other"), soon()).await.unwrap();
        assert!(leases.end("POST /containers/web/start").is_some());
        held(&leases, "rename", &rename("bad", "web"), 'b').await.unwrap();
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rename_that_waits_in_the_engine_holds_its_names_until_it_ends() {
        let leases = Leases::default();
        held(&leases, "rename", &rename("bad", "web"), 'b').await.unwrap();
        tokio::time::advance(HELD * 30).await;
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
        // Nor does the name that the rename was called by come to mean another container.
        assert_eq!(leases.hold("other", &rename("evil", "bad"), soon()).await, Err(Busy::Held));
        leases.hold("start", &Claim::Start("db".into()), soon()).await.unwrap();
        leases.end_given("rename", None);
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rename_that_never_ends_can_be_settled() {
        let leases = Leases::default();
        held(&leases, "rename", &rename("bad", "web"), 'b').await.unwrap();
        assert!(leases.pending(None).is_empty());
        tokio::time::advance(HELD).await;
        assert!(leases.pending(Some(&Claim::Start("db".into()))).is_empty());
        let pending = leases.pending(Some(&Claim::Start("web".into())));
        assert_eq!(pending.first().map(|pending| pending.to.clone()), id('b').map(To::Container));
        leases.settle(pending.first().unwrap());
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    #[tokio::test]
    async fn a_restarted_gate_knows_the_names_that_are_being_given() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("renames.json");
        held(&kept_in(&file), "rename", &rename("bad", "web"), 'b').await.unwrap();
        let names: Vec<String> = names_being_given(&file).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["web"]);
        let again = kept_in(&file);
        assert_eq!(again.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
        again.end_given("rename", None);
        again.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
        again.save().await.unwrap();
        let third = kept_in(&file);
        third.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    /// Another plugin refused the first; the same call again must not take its lease for its own.
    #[tokio::test(start_paused = true)]
    async fn a_start_that_never_ends_does_not_end_for_the_next() {
        let leases = Leases::default();
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
        tokio::time::advance(HELD).await;
        let number = leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
        leases.judged(number, "c2");
        assert_eq!(leases.end("start").and_then(|judged| judged.container), Some("c2".to_owned()));
        leases.hold("create", &create("web"), soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rename_of_a_name_that_is_being_given_waits() {
        let leases = Leases::default();
        held(&leases, "first", &rename("evil", "bad"), 'e').await.unwrap();
        assert_eq!(leases.hold("second", &rename("bad", "web"), soon()).await, Err(Busy::Held));
        leases.hold("create", &create("new"), soon()).await.unwrap();
        assert_eq!(leases.hold("third", &rename("new", "web"), soon()).await, Err(Busy::Held));
    }

    #[tokio::test(start_paused = true)]
    async fn renames_of_an_earlier_gate_that_cannot_be_read_keep_names_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("renames.json");
        std::fs::write(&file, "[{").unwrap();
        let leases = kept_in(&file);
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
        tokio::time::advance(UNKNOWN).await;
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rename_that_cannot_be_written_is_refused() {
        let leases = kept_in(Path::new("/nonexistent/folder/renames.json"));
        assert_eq!(held(&leases, "rename", &rename("bad", "web"), 'b').await, Err(Busy::Unwritable));
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    /// Both are spelled alike; the second is refused, for the container's sake.
    #[tokio::test(start_paused = true)]
    async fn a_rename_that_is_refused_leaves_an_equal_one_its_name() {
        let leases = Leases::default();
        for number in 1..MAX_RENAMES_OF_ONE {
            held(&leases, &format!("r{number}"), &rename("bad", &format!("n{number}")), 'b').await.unwrap();
        }
        held(&leases, "rename", &rename("bad", "web"), 'b').await.unwrap();
        assert_eq!(held(&leases, "rename", &rename("bad", "web"), 'b').await, Err(Busy::Full));
        tokio::time::advance(HELD).await;
        // What is left is the one under way: the engine can be asked about its container.
        let pending = leases.pending(Some(&Claim::Start("web".into())));
        assert_eq!(pending.into_iter().map(|pending| pending.to).collect::<Vec<_>>(), [To::Container(id('b').unwrap())]);
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
        leases.end_given("rename", None);
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn renames_of_one_container_do_not_take_every_place() {
        let leases = Leases::default();
        for number in 0..MAX_RENAMES_OF_ONE {
            held(&leases, &format!("r{number}"), &rename("bad", &format!("n{number}")), 'b').await.unwrap();
        }
        assert_eq!(held(&leases, "more", &rename("bad", "more"), 'b').await, Err(Busy::Full));
        held(&leases, "honest", &rename("good", "honest"), 'a').await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn few_wait_for_one_name() {
        let leases = std::sync::Arc::new(Leases::default());
        held(&leases, "rename", &rename("bad", "web"), 'b').await.unwrap();
        let later = Instant::now() + Duration::from_secs(5);
        for _ in 0..MAX_WAITING {
            let leases = leases.clone();
            tokio::spawn(async move { leases.hold("start", &Claim::Start("web".into()), later).await });
        }
        tokio::task::yield_now().await;
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), later).await, Err(Busy::Full));
        leases.hold("start", &Claim::Start("db".into()), later).await.unwrap();
        tokio::time::advance(Duration::from_secs(6)).await;
        tokio::task::yield_now().await;
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
    }

    /// One client holds some names and has as many calls wait for them as may.
    #[tokio::test(start_paused = true)]
    async fn who_needs_not_wait_needs_no_place_in_the_line() {
        let leases = std::sync::Arc::new(Leases::default());
        let later = Instant::now() + Duration::from_secs(5);
        for number in 0..MAX_WAITING_AT_ALL {
            let name = format!("n{}", number / MAX_WAITING);
            if number % MAX_WAITING == 0 {
                leases.hold("create", &create(&name), soon()).await.unwrap();
            }
            let leases = leases.clone();
            tokio::spawn(async move { leases.hold("start", &Claim::Start(name), later).await });
        }
        while leases.lock().waiting.len() < MAX_WAITING_AT_ALL {
            tokio::task::yield_now().await;
        }
        leases.hold("start", &Claim::Start("free".into()), later).await.unwrap();
        assert_eq!(leases.hold("rename", &rename("bad", "free"), later).await, Err(Busy::Full));
    }

    /// Where another plugin refuses creates or starts, their ends never come.
    #[tokio::test(start_paused = true)]
    async fn calls_that_never_end_do_not_fill_the_leases() {
        let leases = Leases::default();
        for number in 0..MAX_CREATES {
            leases.hold("create", &create(&format!("c{number}")), soon()).await.unwrap();
        }
        assert_eq!(leases.hold("create", &create("one-more"), soon()).await, Err(Busy::Full));
        tokio::time::advance(HELD).await;
        leases.hold("create", &create("later"), soon()).await.unwrap();
        assert_eq!(leases.lock().given.len(), MAX_CREATES);
        for number in 0..MAX_LEASES {
            leases.hold("start", &Claim::Start(format!("s{number}")), soon()).await.unwrap();
        }
        assert_eq!(leases.hold("start", &Claim::Start("one-more".into()), soon()).await, Err(Busy::Full));
        tokio::time::advance(HELD).await;
        for name in ["one", "two"] {
            leases.hold("start", &Claim::Start(name.into()), soon()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_create_that_the_engine_has_not_carried_out_holds_its_name_until_it_is_over() {
        let leases = Leases::default();
        leases.hold("create", &create("web"), soon()).await.unwrap();
        tokio::time::advance(HELD * 3).await;
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
        assert_eq!(leases.hold("rename", &rename("web", "db"), soon()).await, Err(Busy::Held));
        let pending = leases.pending(Some(&Claim::Start("web".into())));
        assert_eq!(pending.first().map(|pending| pending.to.clone()), Some(To::Image("r.example/a:1".into())));
        assert!(!pending.first().unwrap().is_old && pending.first().unwrap().is_whole);
        let long = "a".repeat(SHOWN + 1);
        leases.hold("long", &create(&long), soon()).await.unwrap();
        tokio::time::advance(HELD).await;
        assert!(!leases.pending(Some(&Claim::Start(long))).first().unwrap().is_whole);
        tokio::time::advance(CREATING).await;
        assert!(leases.pending(None).first().unwrap().is_old);
        leases.end_given("create", None);
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    #[tokio::test]
    async fn a_restarted_gate_knows_the_names_that_creates_give() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("renames.json");
        let leases = kept_in(&file);
        leases.hold("create", &create("web"), soon()).await.unwrap();
        leases.save().await.unwrap();
        let again = kept_in(&file);
        assert_eq!(again.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
        again.hold("start", &Claim::Start("db".into()), soon()).await.unwrap();
    }

    /// A disk that hangs: what is held counts at once, only who gives a name waits, and one thread with it.
    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_nobody_who_needs_not_wait_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("renames.json");
        let leases = kept_in(&file);
        held(&leases, "first", &rename("bad", "web"), 'b').await.unwrap();
        let written = Arc::clone(&leases.keeper.as_ref().unwrap().written);
        let disk = written.lock().await;
        for number in 0..100 {
            let call = format!("c{number}");
            leases.hold(&call, &create(&call), soon()).await.unwrap();
            leases.end_given(&call, None);
        }
        leases.end_given("first", None);
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
        let second = leases.hold("second", &rename("bad", "db"), soon()).await.unwrap();
        let told = leases.rename_of(second, id('b').unwrap());
        tokio::pin!(told);
        assert!(tokio::time::timeout(Duration::from_millis(50), told.as_mut()).await.is_err(), "answered before it is written");
        drop(disk);
        told.await.unwrap();
        // The order on disk is that of memory: the first has ended, the second has not.
        let names: Vec<String> = names_being_given(&file).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["db"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_on_when_the_lease_runs_out_and_the_judged_container_is_remembered() {
        let leases = std::sync::Arc::new(Leases::default());
        let number = leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
        leases.judged(number, "c1");
        let deadline = Instant::now() + HELD * 2;
        leases.hold("rename", &rename("b", "web"), deadline).await.unwrap();
        assert_eq!(leases.end("start").and_then(|judged| judged.container), Some("c1".to_owned()));
        assert_eq!(leases.end("start"), None);
    }
}
