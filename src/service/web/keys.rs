//! Who may see the page: who has the token of the gate's state folder, or a session that was begun with it.
//!
//! Neither is ever compared or kept as it is: of both the gate holds hashes. A token that is not the one is counted; too many within a minute
//! are told so. The right one passes all the same: nobody guesses 256 bits, and who floods the page is not to keep its operator out.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use crate::files::{Outlives, read_owned, replace};

/// How long a session lasts.
const SESSION: Duration = Duration::from_hours(12);
/// Most sessions at a time; the oldest gives way. Stops logins from filling memory.
const SESSIONS: usize = 32;
/// Wrong tokens within a minute before who sends them is told to wait.
const FAILURES: usize = 10;
const MINUTE: Duration = Duration::from_mins(1);
/// Bytes of a new token, and of a session.
const SECRET_BYTES: usize = 32;
/// Shortest token that is taken from the file, characters: an operator may write his own, and a short one could be guessed.
const TOKEN_CHARS: usize = 32;
/// Largest file of a token read.
const FILE_BYTES: u64 = 4096;

type Hash = [u8; 32];

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// It is the one.
    Right,
    /// It is not.
    Wrong,
    /// It is not, as many before it.
    TooMany,
}

/// The token and the sessions.
pub(super) struct Keys {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None`: the file cannot be used, and nobody gets in.
    token: Option<Hash>,
    sessions: VecDeque<(Hash, Instant)>,
    failures: VecDeque<Instant>,
    told: Option<Instant>,
}

impl Keys {
    /// The token of this file, which is made where there is none.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        if !path.try_exists().unwrap_or(true) {
            let token = secret()?;
            replace(path, format!("{token}\n").as_bytes(), 0o600, Outlives::Power).map_err(|error| error.to_string())?;
        }
        let state = State { token: Some(read(path)?), ..State::default() };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// Reads the file again: a new token ends all sessions, and one that cannot be read lets nobody in.
    pub(super) fn look(&self) {
        let read = read(&self.path);
        let mut state = self.lock();
        if state.token.is_some()
            && let Err(why) = &read
        {
            tracing::error!(why, "the page lets nobody in");
        }
        let token = read.ok();
        if state.token != token {
            state.token = token;
            state.sessions.clear();
        }
    }

    /// Whether this is the token.
    pub(super) fn is_token(&self, given: &str) -> Tried {
        let given = hash(given);
        let mut state = self.lock();
        if state.token.is_some_and(|token| verify_slices_are_equal(&token, &given).is_ok()) {
            return Tried::Right;
        }
        let now = Instant::now();
        state.failures.retain(|at| now.duration_since(*at) < MINUTE);
        if state.failures.len() < FAILURES {
            state.failures.push_back(now);
            return Tried::Wrong;
        }
        if state.told.is_none_or(|at| now.duration_since(at) >= MINUTE) {
            state.told = Some(now);
            tracing::warn!("the page is sent wrong tokens, more than {FAILURES} a minute");
        }
        Tried::TooMany
    }

    /// A new session, for who has shown the token; `None`: the host gives no chance.
    pub(super) fn begin(&self) -> Option<String> {
        let session = secret().ok()?;
        let mut state = self.lock();
        state.sessions.push_back((hash(&session), Instant::now()));
        while state.sessions.len() > SESSIONS {
            state.sessions.pop_front();
        }
        Some(session)
    }

    /// Whether this is a session.
    pub(super) fn knows(&self, session: &str) -> bool {
        let given = hash(session);
        let mut state = self.lock();
        state.sessions.retain(|(_, began)| began.elapsed() < SESSION);
        state.sessions.iter().any(|(known, _)| verify_slices_are_equal(known, &given).is_ok())
    }

    /// Ends a session.
    pub(super) fn end(&self, session: &str) {
        let given = hash(session);
        self.lock().sessions.retain(|(known, _)| *known != given);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hash of the token in a file that only its owner may read.
fn read(path: &Path) -> Result<Hash, String> {
    let told = |why: &dyn std::fmt::Display| format!("the token of the page, `{}`: {why}", path.display());
    let text = read_owned(path, FILE_BYTES).map_err(|error| told(&error))?;
    let mode = std::fs::symlink_metadata(path).map_err(|error| told(&error))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(told(&format!("it may be read by others (mode {:04o}): chmod 0600, with a new token in it", mode & 0o7777)));
    }
    let token = text.trim();
    if token.len() < TOKEN_CHARS || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(told(&format!(
            "it is not one word of at least {TOKEN_CHARS} characters; remove the file, and a new one is made"
        )));
    }
    Ok(hash(token))
}

fn hash(text: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

fn secret() -> Result<String, String> {
    let mut bytes = [0u8; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "this host gives no random numbers".to_owned())?;
    Ok(bytes.iter().fold(String::with_capacity(2 * SECRET_BYTES), |text, byte| text + &format!("{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (tempfile::TempDir, Keys, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web-token");
        let keys = Keys::open(&path).unwrap();
        let token = std::fs::read_to_string(&path).unwrap().trim().to_owned();
        (folder, keys, token)
    }

    #[test]
    fn the_token_lets_in_and_no_other_does_however_many_were_tried() {
        let (folder, keys, token) = keys();
        let mode = std::fs::metadata(folder.path().join("web-token")).unwrap().permissions().mode();
        assert_eq!((token.len(), mode & 0o777), (64, 0o600));
        assert_eq!(keys.is_token(&token), Tried::Right);
        for wrong in ["", "x", token.get(1..).unwrap(), &token.to_uppercase(), &format!("{token} ")] {
            assert_eq!(keys.is_token(wrong), Tried::Wrong, "{wrong}");
        }
        for _ in 0..FAILURES {
            keys.is_token("x");
        }
        assert_eq!(keys.is_token("x"), Tried::TooMany);
        assert_eq!(keys.is_token(&token), Tried::Right);
        assert!(keys.lock().failures.len() <= FAILURES);
    }

    #[test]
    fn a_session_is_no_token_is_made_here_alone_and_ends() {
        let (_folder, keys, token) = keys();
        let session = keys.begin().unwrap();
        assert!(keys.knows(&session) && !keys.knows(&token) && !keys.knows("mine"));
        assert_eq!(keys.is_token(&session), Tried::Wrong);
        keys.end("mine");
        assert!(keys.knows(&session));
        keys.end(&session);
        assert!(!keys.knows(&session));
        let first = keys.begin().unwrap();
        for _ in 0..SESSIONS {
            keys.begin().unwrap();
        }
        assert!(!keys.knows(&first), "the oldest gave way");
        assert_eq!(keys.lock().sessions.len(), SESSIONS);
    }

    #[test]
    fn a_new_token_ends_all_sessions_and_one_that_others_may_read_lets_nobody_in() {
        let (folder, keys, token) = keys();
        let path = folder.path().join("web-token");
        let session = keys.begin().unwrap();
        keys.look();
        assert!(keys.knows(&session), "nothing has changed");
        let mine = "m".repeat(TOKEN_CHARS);
        replace(&path, mine.as_bytes(), 0o600, Outlives::Process).unwrap();
        keys.look();
        assert!(!keys.knows(&session));
        assert_eq!([keys.is_token(&mine), keys.is_token(&token)], [Tried::Right, Tried::Wrong]);
        for (text, mode) in [(mine.as_str(), 0o640), ("short", 0o600), (&format!("{mine} {mine}"), 0o600)] {
            replace(&path, text.as_bytes(), mode, Outlives::Process).unwrap();
            keys.look();
            assert_ne!(keys.is_token(text), Tried::Right, "{text} {mode:o}");
            assert!(Keys::open(&path).is_err());
        }
        assert_ne!(keys.is_token(""), Tried::Right);
    }
}
