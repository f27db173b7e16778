//! A container's name can move between the gate's look and the daemon's. So calls that start by a name, and calls that give
//! that name, exclude each other from AuthZReq until the matching AuthZRes (docs/adr/0003). A rename waits in the engine for the
//! container's lock, which any client can hold as long as it likes: its name stays taken until the engine is known to have
//! carried the call out or dropped it, also across a restart of the gate. A name that is lost means nothing any more, or another
//! container by the beginning of its id; `gather` looks at that one as well.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::ContainerId;
use crate::image::Digest;

/// How long the lease of a start, or of a create, holds when no AuthZRes ends it (another plugin refused the call, the daemon
/// went away). dockerd looks the name up at once after the last plugin's answer; what takes longer is looked at when it ends.
/// A rename's lease has no such end: after this time the engine is asked whether the call still waits.
const HELD: Duration = Duration::from_secs(20);
/// How long nothing starts by a name where the renames of an earlier gate cannot be read. Most are over by then.
const UNKNOWN: Duration = Duration::from_mins(1);
/// How long an ended-by-time start is remembered, so that its AuthZRes finds what it was judged by.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Most leases of starts and creates at once, remembered ones included. Stops memory from being filled by calls that never end;
/// reached only under attack. Remembered ones make room for new ones.
const MAX_LEASES: usize = 4096;
/// Most renames under way at once, and of one container. They are written to disk, and a client decides when they end.
const MAX_RENAMES: usize = 256;
const MAX_RENAMES_OF_ONE: usize = 4;
/// Most calls that wait for one name. More are refused at once, so that a name that is held does not hold the gate's places.
const MAX_WAITING: usize = 8;
/// Characters of a name that are kept to be shown. The engine knows no bound.
const SHOWN: usize = 128;
/// Most containers remembered as judged by a start. Above what one host starts in [`REMEMBERED`].
const MAX_JUDGED: usize = 8192;

/// What a call does to names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Starts what this name or id prefix means.
    Start(String),
    /// Gives this name to a new container.
    Give(String),
    /// Gives this name to a container that has another.
    Rename {
        /// The name it is to have.
        name: String,
        /// The name it is called by in the call; nobody else may be given that one meanwhile.
        from: String,
    },
}

/// Why a lease is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Busy {
    /// Another call holds the name.
    Held,
    /// There are too many calls of this kind.
    Full,
    /// The rename cannot be written to the state folder.
    Unwritable,
}

/// A start as it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// When the daemon asked about it.
    pub since: Timestamp,
    /// The same, as the gate counts time.
    pub begun: Instant,
    /// The whole id of the container it was judged by.
    pub container: Option<String>,
}

/// A rename that has not ended in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    number: u64,
    /// The name that is given.
    pub name: String,
    /// To which container.
    pub container: Option<ContainerId>,
}

/// All leases.
#[derive(Default)]
pub struct Leases {
    state: Mutex<State>,
    changed: Notify,
    /// Where renames under way are written, before they are answered.
    file: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    held: Vec<Held>,
    renames: Vec<Rename>,
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

/// A start's or a create's lease.
struct Held {
    number: u64,
    /// Of method and target of the call, as dockerd repeats them in AuthZRes.
    call: Key,
    is_start: bool,
    name: Key,
    begun: Instant,
    until: Instant,
    since: Timestamp,
    judged: Option<String>,
}

struct Rename {
    number: u64,
    begun: Instant,
    kept: Kept,
}

/// A rename under way, as the state folder has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// The name that is given, cut to be shown.
    name: String,
    container: Option<ContainerId>,
    since: Timestamp,
    /// Hashes of the name, of what the container is called by in the call, and of the call's method and target.
    gives: Key,
    from: Key,
    call: Key,
}

/// Clients choose targets and names, up to the size of a request's head; what is compared is their hash.
type Key = Digest;

fn key(text: &str) -> Key {
    Digest::of(text.as_bytes())
}

/// The names of [`Leases::kept_in`]'s file that are being given, each with when that began. No file: none.
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
    pub fn kept_in(file: PathBuf) -> Self {
        let read = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        };
        let (kept, unknown_until): (Vec<Kept>, _) = read.map_or_else(
            |error| {
                tracing::error!(file = %file.display(), error, "the renames under way cannot be read; nothing starts by a name for a minute");
                (Vec::new(), Some(Instant::now() + UNKNOWN))
            },
            |kept| (kept, None),
        );
        let leases = Self { file: Some(file), ..Self::default() };
        {
            let mut state = leases.lock();
            state.unknown_until = unknown_until;
            for kept in kept.into_iter().take(MAX_RENAMES) {
                state.numbers += 1;
                let number = state.numbers;
                state.renames.push(Rename { number, begun: Instant::now(), kept });
            }
        }
        leases
    }

    /// Waits until `claim` excludes nothing that is held, at most until `deadline`, and holds it for `call`. Returns the lease's number.
    pub async fn hold(&self, call: &str, claim: &Claim, deadline: Instant) -> Result<u64, Busy> {
        let _waits = self.wait_for(claim)?;
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
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(next.unwrap_or(deadline).min(deadline)) => {}
            }
        }
    }

    /// Notes which container the rename `number` is about, and writes it down before it is answered.
    pub fn rename_of(&self, number: u64, container: ContainerId) -> Result<(), Busy> {
        {
            let mut state = self.lock();
            let of_one = state.renames.iter().filter(|rename| rename.kept.container.as_ref() == Some(&container)).count();
            if of_one >= MAX_RENAMES_OF_ONE {
                return Err(Busy::Full);
            }
            let rename = state.renames.iter_mut().find(|rename| rename.number == number).ok_or(Busy::Full)?;
            rename.kept.container = Some(container);
        }
        self.write().map_err(|error| {
            tracing::error!(%error, "a rename cannot be written to the state folder; it is refused");
            Busy::Unwritable
        })
    }

    /// Notes which container the start `number` was judged by.
    pub fn judged(&self, number: u64, container: &str) {
        if let Some(lease) = self.lock().held.iter_mut().find(|lease| lease.number == number) {
            lease.judged = Some(container.to_owned());
        }
    }

    /// Gives up a start's or a create's lease whose call is refused.
    pub fn give_up(&self, number: u64) {
        self.lock().held.retain(|lease| lease.number != number);
        self.changed.notify_waiters();
    }

    /// Remembers that a start of this container was judged and let pass, under whatever name.
    pub fn let_start(&self, container: &str) {
        let now = Instant::now();
        let mut state = self.lock();
        state.judged.retain(|(_, at)| *at + REMEMBERED > now);
        if state.judged.len() >= MAX_JUDGED {
            state.judged.pop_front();
        }
        state.judged.push_back((container.to_owned(), now));
    }

    /// Whether a start of this container was judged and let pass lately.
    pub fn was_let_start(&self, container: &str) -> bool {
        self.lock().judged.iter().any(|(id, _)| id == container)
    }

    /// How many starts of this container were let pass since then.
    pub fn starts_since(&self, container: &str, begun: Instant) -> usize {
        self.lock().judged.iter().filter(|(id, at)| id == container && *at >= begun).count()
    }

    /// Ends a lease of `call`, a start or a create; what a start was judged by. `None`: there is none any more (the gate was
    /// restarted in between). Of several, one that holds still ends first: what other plugins refused never ends.
    pub fn end(&self, call: &str) -> Option<Judged> {
        let (call, now) = (key(call), Instant::now());
        let mut state = self.lock();
        let of_call = |lease: &Held| lease.call == call;
        let live = state.held.iter().position(|lease| of_call(lease) && lease.until > now);
        let at = live.or_else(|| state.held.iter().rposition(of_call))?;
        let lease = state.held.remove(at);
        drop(state);
        self.changed.notify_waiters();
        Some(Judged { since: lease.since, begun: lease.begun, container: lease.judged })
    }

    /// Ends the oldest lease of the rename `call`.
    pub fn end_rename(&self, call: &str) {
        let call = key(call);
        let ended = {
            let mut state = self.lock();
            state.renames.iter().position(|rename| rename.kept.call == call).map(|at| state.renames.remove(at))
        };
        if ended.is_some() {
            self.renames_changed();
        }
    }

    /// Nothing starts by `name` until it is opened: what was started by it is being killed.
    pub fn close(&self, name: &str) {
        self.lock().closed.push(key(name));
    }

    /// Ends one [`Leases::close`].
    pub fn open(&self, name: &str) {
        let name = key(name);
        let mut state = self.lock();
        if let Some(at) = state.closed.iter().position(|closed| *closed == name) {
            state.closed.swap_remove(at);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The renames that have been under way for longer than [`HELD`], one of each container: their AuthZRes may never come. Only
    /// those that exclude `claim`, if one is given.
    pub fn pending(&self, claim: Option<&Claim>) -> Vec<Pending> {
        let state = self.lock();
        let concerns = |rename: &&Rename| rename.begun.elapsed() >= HELD && claim.is_none_or(|claim| excluded_by(claim, rename));
        let pending = |rename: &Rename| Pending {
            number: rename.number,
            name: rename.kept.name.clone(),
            container: rename.kept.container.clone(),
        };
        state.renames.iter().filter(concerns).map(pending).collect()
    }

    /// Ends a rename that the engine is known to have carried out or dropped.
    pub fn settle(&self, pending: &Pending) {
        self.lock().renames.retain(|rename| rename.number != pending.number);
        self.renames_changed();
    }

    fn renames_changed(&self) {
        self.changed.notify_waiters();
        if let Err(error) = self.write() {
            // Too many are kept then: the next gate asks the engine about them.
            tracing::error!(%error, "the renames under way cannot be written to the state folder");
        }
    }

    /// Writes the renames under way, as a whole file in place of the last one. The engine forgets them when the host goes down,
    /// so nothing is synced.
    fn write(&self) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let state = self.lock();
        let kept: Vec<&Kept> = state.renames.iter().map(|rename| &rename.kept).collect();
        let folder = file.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut written = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut written, &kept)?;
        written.persist(file).map_err(|error| error.error)?;
        Ok(())
    }

    /// A place in the line for `claim`'s name, given back when dropped.
    fn wait_for(&self, claim: &Claim) -> Result<Waiting<'_>, Busy> {
        let name = match claim {
            Claim::Start(name) | Claim::Give(name) | Claim::Rename { name, .. } => key(name),
        };
        let mut state = self.lock();
        if state.waiting.iter().filter(|waiting| **waiting == name).count() >= MAX_WAITING {
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

/// Whether `claim` has to wait for a rename that is under way.
fn excluded_by(claim: &Claim, rename: &Rename) -> bool {
    match claim {
        Claim::Start(name) => rename.kept.gives == key(name),
        // What a rename under way is called by stays what it was.
        Claim::Give(name) => rename.kept.from == key(name),
        Claim::Rename { name, from } => rename.kept.from == key(name) || rename.kept.gives == key(from),
    }
}

impl State {
    /// Holds `claim` for `call`, if nothing excludes it.
    fn try_hold(&mut self, call: &str, claim: &Claim, now: Instant) -> Result<Hold, Busy> {
        self.make_room(now);
        let live = self.held.iter().filter(|lease| lease.until > now);
        let (mut until, mut excluded) = (None, false);
        let mut exclude = |end: Option<Instant>| {
            excluded = true;
            until = [until, end].into_iter().flatten().min();
        };
        self.renames.iter().filter(|rename| excluded_by(claim, rename)).for_each(|_| exclude(None));
        match claim {
            Claim::Start(name) => {
                let name = key(name);
                live.filter(|lease| !lease.is_start && lease.name == name).for_each(|lease| exclude(Some(lease.until)));
                self.closed.iter().filter(|closed| **closed == name).for_each(|_| exclude(None));
                if let Some(until) = self.unknown_until.filter(|until| *until > now) {
                    exclude(Some(until));
                }
            }
            Claim::Give(name) => {
                let name = key(name);
                live.filter(|lease| lease.is_start && lease.name == name).for_each(|lease| exclude(Some(lease.until)));
            }
            Claim::Rename { name, from } => {
                let (name, from) = (key(name), key(from));
                // What the container is called by must not come to mean another before the engine looks.
                let is_in_the_way = |lease: &&Held| if lease.is_start { lease.name == name } else { lease.name == from };
                live.filter(is_in_the_way).for_each(|lease| exclude(Some(lease.until)));
            }
        }
        if excluded {
            return Ok(Hold::Wait { until });
        }
        self.push(call, claim, now).map(Hold::Done)
    }

    fn make_room(&mut self, now: Instant) {
        // Only a start is asked for when it is over. Calls that another plugin refuses never end here, and must not pile up.
        let is_remembered = |lease: &Held| lease.is_start && lease.until + REMEMBERED > now;
        self.held.retain(|lease| lease.until > now || is_remembered(lease));
        if self.held.len() >= MAX_LEASES {
            self.held.retain(|lease| lease.until > now);
        }
    }

    fn push(&mut self, call: &str, claim: &Claim, now: Instant) -> Result<u64, Busy> {
        self.numbers += 1;
        let number = self.numbers;
        let (call, since) = (key(call), crate::clock::now());
        match claim {
            Claim::Start(name) | Claim::Give(name) => {
                if self.held.len() >= MAX_LEASES {
                    return Err(Busy::Full);
                }
                let is_start = matches!(claim, Claim::Start(_));
                let until = now + HELD;
                self.held.push(Held { number, call, is_start, name: key(name), begun: now, until, since, judged: None });
            }
            Claim::Rename { name, from } => {
                if self.renames.len() >= MAX_RENAMES {
                    return Err(Busy::Full);
                }
                let shown = name.chars().take(SHOWN).collect();
                let kept = Kept { name: shown, container: None, since, gives: key(name), from: key(from), call };
                self.renames.push(Rename { number, begun: now, kept });
            }
        }
        Ok(number)
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

    /// Holds a rename of the container with this id.
    async fn held(leases: &Leases, call: &str, claim: &Claim, container: char) -> Result<(), Busy> {
        let number = leases.hold(call, claim, soon()).await?;
        let told = leases.rename_of(number, id(container).unwrap());
        told.inspect_err(|_| leases.end_rename(call))
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_not_given_while_a_start_by_it_is_under_way() {
        let leases = Leases::default();
        leases.hold("POST /containers/web/start", &Claim::Start("web".into()), soon()).await.unwrap();
        assert_eq!(leases.hold("rename", &rename("bad", "web"), soon()).await, Err(Busy::Held));
        assert_eq!(leases.hold("create", &Claim::Give("web".into()), soon()).await, Err(Busy::Held));
        leases.hold("create", &Claim::Give("other".into()), soon()).await.unwrap();
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
        leases.end_rename("rename");
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
        assert_eq!(pending.first().map(|pending| pending.container.clone()), Some(id('b')));
        leases.settle(pending.first().unwrap());
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    #[tokio::test]
    async fn a_restarted_gate_knows_the_names_that_are_being_given() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("renames.json");
        held(&Leases::kept_in(file.clone()), "rename", &rename("bad", "web"), 'b').await.unwrap();
        let names: Vec<String> = names_being_given(&file).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["web"]);
        let again = Leases::kept_in(file.clone());
        assert_eq!(again.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
        again.end_rename("rename");
        again.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
        let third = Leases::kept_in(file);
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
        leases.hold("create", &Claim::Give("web".into()), soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rename_of_a_name_that_is_being_given_waits() {
        let leases = Leases::default();
        held(&leases, "first", &rename("evil", "bad"), 'e').await.unwrap();
        assert_eq!(leases.hold("second", &rename("bad", "web"), soon()).await, Err(Busy::Held));
        leases.hold("create", &Claim::Give("new".into()), soon()).await.unwrap();
        assert_eq!(leases.hold("third", &rename("new", "web"), soon()).await, Err(Busy::Held));
    }

    #[tokio::test(start_paused = true)]
    async fn renames_of_an_earlier_gate_that_cannot_be_read_keep_names_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("renames.json");
        std::fs::write(&file, "[{").unwrap();
        let leases = Leases::kept_in(file);
        assert_eq!(leases.hold("start", &Claim::Start("web".into()), soon()).await, Err(Busy::Held));
        tokio::time::advance(UNKNOWN).await;
        leases.hold("start", &Claim::Start("web".into()), soon()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rename_that_cannot_be_written_is_refused() {
        let leases = Leases::kept_in("/nonexistent/folder/renames.json".into());
        assert_eq!(held(&leases, "rename", &rename("bad", "web"), 'b').await, Err(Busy::Unwritable));
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

    #[tokio::test(start_paused = true)]
    async fn calls_that_never_end_do_not_fill_the_leases() {
        let leases = Leases::default();
        for number in 0..MAX_LEASES {
            leases.hold("create", &Claim::Give(format!("c{number}")), soon()).await.unwrap();
        }
        assert_eq!(leases.hold("create", &Claim::Give("one-more".into()), soon()).await, Err(Busy::Full));
        tokio::time::advance(HELD).await;
        leases.hold("create", &Claim::Give("later".into()), soon()).await.unwrap();
        assert_eq!(leases.lock().held.len(), 1);
        for number in 1..MAX_LEASES {
            leases.hold("start", &Claim::Start(format!("c{number}")), soon()).await.unwrap();
        }
        tokio::time::advance(HELD).await;
        for name in ["one", "two"] {
            leases.hold("start", &Claim::Start(name.into()), soon()).await.unwrap();
        }
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
