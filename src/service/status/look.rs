//! A [`Snapshot`] is made: of the gate's own figures, of what it and the monitor say in the state folder, of the end of the audit log; and of
//! what is on the host, judged anew where the last judgement is old and somebody asks. Judging goes on beside the decisions, few at a time.

use crate::order::sort_by_key;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::troubles::{Facts, troubles};
use super::{Allowlist, Decided, ExceptionTold, Expiry, Host, Item, Page, PolicyTold, Running, Snapshot, TrustData, Verdict};
use crate::audit::{self, Told};
use crate::clock;
use crate::gate::inventory::{self, Kind, Says};
use crate::gate::{Figures, Gate};
use crate::monitor::{Arrived, Picture};
use crate::policy::{Mode, Posture, Reason, Settings};
use crate::setup::{self, InForce};
use crate::text::{clean, fit, shortened};
use crate::trust::notary::RepositoryStatus;

/// How long what is on the host counts as judged. Stops who asks often from keeping the gate busy.
const FRESH: Duration = Duration::from_secs(20);
/// How long an answer waits for it; an older judgement is shown then, or none.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long judging may take as a whole.
const JUDGE_TIME: Duration = Duration::from_secs(30);
/// How many are judged at a time: few, since calls of clients are judged beside.
const AT_ONCE: usize = 2;
/// Most entries of the audit log that are told.
const EVENTS: usize = 100;
/// Most findings of the monitor that are told, of each kind.
const FINDINGS: usize = 100;
/// Most repositories whose trust data is told.
const REPOSITORIES: usize = 200;
/// Most exceptions that are told: all that a policy may have.
const EXCEPTIONS: usize = 256;
/// Longest name or reference, characters.
const NAME_CHARS: usize = 256;
/// Longest line of a reason, characters, and most lines.
const LINE_CHARS: usize = 600;
const LINES: usize = 12;
/// Longest text of a policy, characters.
const POLICY_CHARS: usize = 64 << 10;

/// Looks at the gate that serves.
pub(in super::super) struct Look {
    gate: Arc<Gate>,
    state: PathBuf,
    page: ArcSwap<Page>,
    /// Where images are judged: connections to engine and servers that are made there serve decisions too.
    workers: tokio::runtime::Handle,
    judged: watch::Sender<Option<(Instant, Arc<Host>)>>,
    judging: Arc<Mutex<()>>,
}

/// What lies in the state folder.
struct Files {
    said: Option<InForce>,
    picture: Option<Picture>,
    arrived: Option<Arrived>,
    events: Vec<Told>,
}

impl Look {
    pub(in super::super) fn new(gate: Arc<Gate>, state: PathBuf, workers: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self {
            gate,
            state,
            page: ArcSwap::default(),
            workers,
            judged: watch::Sender::default(),
            judging: Arc::default(),
        })
    }

    /// Says what became of the page.
    pub(in super::super) fn page_is(&self, page: Page) {
        self.page.store(Arc::new(page));
    }

    /// How the gate is doing now.
    pub(in super::super) async fn snapshot(self: &Arc<Self>) -> Snapshot {
        let host = self.host().await;
        let this = Arc::clone(self);
        let files = tokio::task::spawn_blocking(move || this.files()).await;
        self.told(files.unwrap_or(Files { said: None, picture: None, arrived: None, events: Vec::new() }), host.as_deref())
    }

    /// The gate's figures for programs, in the OpenMetrics text format.
    pub(in super::super) fn metrics(&self) -> String {
        self.gate.metrics()
    }

    fn files(&self) -> Files {
        Files {
            said: InForce::read(&self.state),
            picture: Picture::read(&self.state.join(setup::MONITOR)).ok(),
            arrived: Arrived::read(&self.state.join(setup::ARRIVED), clock::now()),
            events: audit::newest(&self.state.join(setup::AUDIT_LOG), EVENTS).unwrap_or_default(),
        }
    }

    /// What is on the host, judged not long ago, or as it was judged last.
    async fn host(&self) -> Option<Arc<Host>> {
        let mut judged = self.judged.subscribe();
        let is_fresh = judged.borrow_and_update().as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH);
        if !is_fresh {
            self.judge();
            // In time or not: what is known then is told.
            let _ = tokio::time::timeout(PATIENCE, judged.changed()).await;
        }
        judged.borrow().as_ref().map(|(_, host)| Arc::clone(host))
    }

    /// Begins to judge, unless that is under way.
    fn judge(&self) {
        let Ok(turn) = Arc::clone(&self.judging).try_lock_owned() else { return };
        let (gate, state, judged) = (Arc::clone(&self.gate), self.state.clone(), self.judged.clone());
        self.workers.spawn(async move {
            let read = tokio::task::spawn_blocking(move || InForce::read(&state)).await.ok().flatten();
            let host = judge(&gate, read.and_then(|said| said.settings)).await;
            judged.send_replace(Some((Instant::now(), Arc::new(host))));
            drop(turn);
        });
    }

    fn told(&self, files: Files, host: Option<&Host>) -> Snapshot {
        let Files { said, picture, arrived, events } = files;
        let (figures, page) = (self.gate.figures(), self.page.load_full());
        let Figures { started, mode, posture, decided, lost, approved, .. } = figures;
        let mut snapshot = Snapshot {
            at: clock::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            mode: match mode {
                Mode::Enforce => "enforce".to_owned(),
                Mode::Permissive => "permissive".to_owned(),
            },
            posture: match posture {
                Posture::Images => "images".to_owned(),
                Posture::Lockdown => "lockdown".to_owned(),
            },
            troubles: Vec::new(),
            decided: Decided { allowed: decided.allowed, blocked: decided.refused, would_block: decided.forgiven },
            entries_lost: lost,
            approved_ever: approved,
            host: host.cloned(),
            running: picture.map(running),
            arrived,
            events,
            policy: policy(said.as_ref()),
            exceptions: self.exceptions(),
            page: match &*page {
                Page::Served(address) => Some(address.clone()),
                Page::None | Page::Missing { .. } => None,
            },
        };
        let sinks = self.gate.carried();
        snapshot.troubles =
            troubles(&Facts { snapshot: &snapshot, figures: &figures, said: said.as_ref(), page: &page, sinks: &sinks });
        snapshot
    }

    fn exceptions(&self) -> Vec<ExceptionTold> {
        let of = |(exception, standing): (Arc<crate::policy::Exception>, crate::policy::Standing)| ExceptionTold {
            id: exception.id(),
            subject: fit(&exception.subject(), NAME_CHARS),
            lift: exception.lift.iter().map(|rule| (*rule).to_owned()).collect(),
            owner: fit(&exception.owner, NAME_CHARS),
            reason: fit(&exception.reason, LINE_CHARS),
            ticket: exception.ticket.as_ref().map(|ticket| fit(ticket, NAME_CHARS)),
            expires: exception.expires,
            standing: standing.as_str().to_owned(),
        };
        self.gate.excepted().into_iter().take(EXCEPTIONS).map(of).collect()
    }
}

/// Judges what is on the host, and looks at the trust data that is kept.
async fn judge(gate: &Arc<Gate>, settings: Option<Settings>) -> Host {
    let (trust, trust_left) = match settings {
        Some(settings) => trust(&settings).await,
        None => (Vec::new(), 0),
    };
    let at = clock::now();
    let inventory = match gate.inventory(AT_ONCE, JUDGE_TIME, |_, _| ()).await {
        Ok(inventory) => inventory,
        Err(error) => {
            let fault = Some(clean(&error.to_string()));
            return Host { at, fault, images: Vec::new(), containers: Vec::new(), left: 0, trust, trust_left };
        }
    };
    let (images, containers) = inventory.items.into_iter().partition::<Vec<_>, _>(|item| item.kind == Kind::Image);
    let told = |items: Vec<inventory::Item>| items.into_iter().map(|item| item_of(gate, item)).collect();
    Host { at, fault: None, images: told(images), containers: told(containers), left: inventory.left, trust, trust_left }
}

fn item_of(gate: &Gate, item: inventory::Item) -> Item {
    let (verdict, reason): (_, Option<Reason>) = match item.says {
        Says::Yes => (Verdict::Allowed, None),
        Says::No(reason) => (Verdict::Refused, Some(reason)),
        Says::Forgiven(reason) => (Verdict::Forgiven, Some(reason)),
        Says::Superseded(reason) => (Verdict::Superseded, Some(reason)),
        Says::CannotTell(reason) => (Verdict::CannotTell, Some(reason)),
    };
    let approved_by = match (item.kind, item.id.parse()) {
        (Kind::Image, Ok(id)) => gate.approved_by(&id),
        (Kind::Image | Kind::Running | Kind::Stopped, _) => Vec::new(),
    };
    Item {
        id: item.id,
        name: fit(&item.name, NAME_CHARS),
        image: fit(&item.image, NAME_CHARS),
        is_running: item.kind == Kind::Running,
        verdict,
        code: reason.as_ref().map(|reason| reason.code().to_owned()).unwrap_or_default(),
        message: reason.map(|reason| fit(&reason.message(), LINE_CHARS)).unwrap_or_default(),
        why: item.why.iter().take(LINES).map(|line| fit(line, LINE_CHARS)).collect(),
        approved_by: approved_by.into_iter().map(|(repository, digest)| format!("{repository}@{digest}")).collect(),
    }
}

/// The trust data that is kept, what is the matter first.
async fn trust(settings: &Settings) -> (Vec<TrustData>, usize) {
    let mut all = Vec::new();
    for (verifier, notary) in setup::notaries_kept(settings) {
        let Ok(notary) = notary else { continue };
        let statuses = notary.statuses().await;
        all.extend(statuses.into_iter().map(|status| repository(verifier.as_str(), &status)));
    }
    sort_by_key(&mut all, |one| (one.is_good, one.expires_first.as_ref().map(|expiry| expiry.at), one.repository.clone()));
    let left = all.len().saturating_sub(REPOSITORIES);
    all.truncate(REPOSITORIES);
    (all, left)
}

fn repository(verifier: &str, status: &RepositoryStatus) -> TrustData {
    let now = clock::now();
    let of = |expiry: &crate::trust::tuf::Expiry| Expiry { role: expiry.role.clone(), at: expiry.expires };
    let soon = status.soon(now).next();
    let state = match (&status.fault, soon) {
        (Some(fault), _) => format!("refused ({}): {}", status.code.unwrap_or_default(), clean(fault)),
        (None, Some(soon)) if soon.expires <= now => format!("expired: {}", soon.role),
        (None, Some(soon)) => format!("expires soon: {}", soon.role),
        (None, None) => "good".to_owned(),
    };
    TrustData {
        verifier: verifier.to_owned(),
        repository: fit(&status.repository, NAME_CHARS),
        checked: status.checked,
        expires_first: status.first().map(of),
        roles: status.roles.iter().take(LINES).map(of).collect(),
        is_good: status.fault.is_none() && soon.is_none(),
        state,
    }
}

fn running(picture: Picture) -> Running {
    let Picture {
        told,
        listed,
        unread,
        rule,
        paused_until,
        running,
        unapproved,
        mut findings,
        mut unsure,
        awaited,
        mut acts,
        ..
    } = picture;
    findings.truncate(FINDINGS);
    unsure.truncate(FINDINGS);
    acts.truncate(FINDINGS);
    Running {
        at: told,
        listed,
        rule,
        paused_until,
        count: running,
        unread,
        unapproved,
        findings,
        unsure,
        awaited: awaited.len(),
        acts,
    }
}

fn policy(said: Option<&InForce>) -> PolicyTold {
    let settings = said.and_then(|said| said.settings.as_ref());
    let file = settings.and_then(Settings::policy_file);
    let lists = said.map(|said| said.allowlists.as_slice()).unwrap_or_default();
    let text = match (settings, file) {
        (None, _) => None,
        (Some(_), Some(file)) => {
            let of = |(path, text): &(PathBuf, String)| format!("# {}\n{text}", path.display());
            Some(file.0.iter().map(of).collect::<Vec<_>>().join("\n"))
        }
        (Some(settings), None) => settings.resolve(!lists.is_empty()).ok().map(|resolved| resolved.to_toml()),
    };
    PolicyTold {
        place: file.map_or_else(|| "the gate's variables".to_owned(), |file| file.path().display().to_string()),
        digest: file.map(|file| file.digest().to_string()),
        read: said.map(|said| said.read),
        text: text.map(|text| shortened(&without_users(&text), POLICY_CHARS)),
        allowlists: lists
            .iter()
            .map(|list| Allowlist {
                verifier: list.verifier.clone(),
                path: list.path.display().to_string(),
                entries: list.entries,
                fault: list.fault.as_deref().map(clean),
                serial: list.serial,
            })
            .collect(),
    }
}

/// The text without user and password of the addresses in it.
fn without_users(text: &str) -> String {
    let mut parts = text.split("://");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#')).unwrap_or(part.len());
        let (authority, rest) = part.split_at_checked(end).unwrap_or((part, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        told.extend(["://", host, rest]);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_told_without_passwords() {
        let text = "server = \"https://user:p@ss@notary.example/x\"\n# see http://a.example and user@host\n";
        assert_eq!(without_users(text), "server = \"https://notary.example/x\"\n# see http://a.example and user@host\n");
    }
}
