//! What is on the host already: containers and images that came before the gate, and would be refused now.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Finding, Place, Progress};
use crate::engine::{Api, Engine, Store};
use crate::gate::Gate;
use crate::image::ImageName;
use crate::policy::{AllowlistSetting, Reason, Verdict, quoted};
use crate::request::{Create, Intent, Start, StartAction};
use crate::setup;
use crate::text::clean;
use crate::trust::allowlist::file::{Entry, ListFile};

/// How long the engine gets for its lists.
const LIST_TIME: Duration = Duration::from_secs(30);
/// How long all judging may take. Stops a Notary out of reach from holding the answer up.
const JUDGE_TIME: Duration = Duration::from_mins(1);
/// Most containers, and most images, that are judged. Stops a host with tens of thousands from taking for ever.
const MOST: usize = 500;
/// How many are judged at a time.
const AT_ONCE: usize = 8;
/// How many remedies a finding has.
const REMEDIES: usize = 4;
/// How many are named in a finding.
const NAMED: usize = 6;

/// One thing to judge.
struct Subject {
    name: String,
    kind: Kind,
    intent: Intent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Running,
    Stopped,
    Image,
}

/// What the gate would say now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Says {
    Yes,
    /// By this code, with this to be done about it.
    No(&'static str, Cow<'static, str>),
    CannotTell(&'static str),
}

/// Judges what is on the host.
pub(super) async fn judge(
    place: &Place,
    engine: &Engine,
    workers: tokio::runtime::Handle,
    progress: Progress<'_>,
) -> Vec<Finding> {
    let gate = match setup::asking(place, workers) {
        Ok(gate) => Arc::new(gate),
        Err(why) => return vec![Finding::warning("content-unknown", clean(&why), "see settings-fault")],
    };
    let subjects = match subjects(engine).await {
        Ok(subjects) => subjects,
        Err(why) => return vec![Finding::warning("content-unknown", why, "repeat this once the engine answers")],
    };
    let mut findings = tell(&judged(&gate, subjects, JUDGE_TIME, progress).await);
    if let AllowlistSetting::Required(path) | AllowlistSetting::IfPresent(path) = place.settings.allowlist()
        && let (Ok(list), Ok(info)) = (ListFile::read(&path), engine.info(Instant::now() + LIST_TIME).await)
    {
        findings.extend(ids_alone(&list, info.store));
    }
    findings
}

/// Entries of the allowlist that mean nothing where an image's id is its digest.
fn ids_alone(list: &ListFile, store: Store) -> Option<Finding> {
    let alone: Vec<&Entry> = list.entries.iter().filter(|entry| entry.digest.is_none()).collect();
    if alone.is_empty() || store != Store::Containerd {
        return None;
    }
    let firsts = alone.iter().filter_map(|entry| Some(quoted(&clean(&entry.references.first()?.to_string()))));
    let some: Vec<String> = firsts.take(NAMED).collect();
    let which = if some.is_empty() { String::new() } else { format!(": {}", some.join(", ")) };
    let evidence = format!(
        "{} of {} entries of the allowlist have an `image_id` and no `digest`, and count for nothing in the containerd store{which}",
        alone.len(),
        list.entries.len()
    );
    Some(Finding::warning("allowlist-ids-alone", evidence, "register these images again: img-authz register --from-host NAME"))
}

/// Containers first, running ones before others.
async fn subjects(engine: &dyn Api) -> Result<(Vec<Subject>, usize), String> {
    let deadline = Instant::now() + LIST_TIME;
    let failed = |error: crate::engine::EngineError| format!("what is on this host is not known: {}", clean(&error.to_string()));
    let mut containers = engine.containers(deadline).await.map_err(failed)?;
    let images = engine.images(deadline).await.map_err(failed)?;
    containers.sort_by_key(|container| container.state != "running");
    let left_out = containers.len().saturating_sub(MOST) + images.len().saturating_sub(MOST);
    let mut subjects = Vec::new();
    for container in containers.into_iter().take(MOST) {
        let start = Start { container: container.id.to_string(), action: StartAction::Start, extra: None };
        let name = container.names.into_iter().next().unwrap_or_else(|| container.id.to_string());
        let kind = if container.state == "running" { Kind::Running } else { Kind::Stopped };
        subjects.push(Subject { name, kind, intent: Intent::Start(start) });
    }
    for image in images.into_iter().take(MOST) {
        let create =
            Create { image: Some(ImageName::Id(image.id)), name: None, image_mounts: Vec::new(), host_access: Vec::new() };
        let name = image.repo_tags.first().map_or_else(|| image.id.to_string(), ToString::to_string);
        subjects.push(Subject { name, kind: Kind::Image, intent: Intent::Create(Box::new(create)) });
    }
    Ok((subjects, left_out))
}

/// Judged subjects, and how many were left.
type Judged = (Vec<(String, Kind, Says)>, usize);

async fn judged(gate: &Arc<Gate>, (subjects, left_out): (Vec<Subject>, usize), time: Duration, progress: Progress<'_>) -> Judged {
    let deadline = Instant::now() + time;
    let total = subjects.len();
    let mut waiting = subjects.into_iter();
    let mut running = JoinSet::new();
    let mut done = Vec::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(subject) = waiting.next()
        {
            let gate = Arc::clone(gate);
            running.spawn(async move {
                let says = says(&gate.judge(&subject.intent).await.verdict);
                (subject.name, subject.kind, says)
            });
        }
        match tokio::time::timeout_at(deadline, running.join_next()).await {
            Ok(Some(Ok(judged))) => done.push(judged),
            // A judgement that met a fault of its own counts as one left.
            Ok(Some(Err(_))) => {}
            Ok(None) | Err(_) => break,
        }
        if done.len().is_multiple_of(50) {
            progress(&format!("{} of {total} containers and images judged …", done.len()));
        }
    }
    let left = total - done.len() + left_out;
    (done, left)
}

fn says(verdict: &Verdict) -> Says {
    let reason = match verdict {
        Verdict::Allow(_) => return Says::Yes,
        Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason,
    };
    match reason {
        // Gone since it was listed.
        Reason::ContainerUnknown { .. } => Says::Yes,
        reason if reason.is_unsure() => Says::CannotTell(reason.code()),
        reason => Says::No(reason.code(), reason.remedy()),
    }
}

fn tell((judged, left): &Judged) -> Vec<Finding> {
    let mut findings = Vec::new();
    let refused = |kind: Kind| -> (usize, usize, String) {
        let of_kind = || judged.iter().filter(|(_, own, _)| *own == kind);
        let list: Vec<String> = of_kind()
            .filter_map(|(name, _, says)| match says {
                Says::No(code, _) => Some(format!("{} ({code})", quoted(name))),
                Says::Yes | Says::CannotTell(_) => None,
            })
            .collect();
        let more = if list.len() > NAMED { ", …" } else { "" };
        let shown = list.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        (list.len(), of_kind().count(), format!("{shown}{more}"))
    };
    // Outcomes differ, and so does what there is to do: what the refusal itself would say, for each that was met.
    let remedies = |kind: Kind| {
        let mut by_code: Vec<(&str, &str)> = Vec::new();
        for (_, own, says) in judged {
            if let (true, Says::No(code, remedy)) = (*own == kind, says)
                && !by_code.iter().any(|(known, _)| known == code)
            {
                by_code.push((code, remedy));
            }
        }
        by_code.iter().take(REMEDIES).map(|(code, remedy)| format!("{code}: {remedy}")).collect::<Vec<_>>().join(". ")
    };
    let of_containers =
        |kind: Kind, first: &str| format!("{first}; img-authz check --action start ID says why. {}", remedies(kind));
    let (count, total, names) = refused(Kind::Running);
    if count > 0 {
        let evidence = format!("{count} of {total} running containers would be refused now: {names}");
        let remedy = of_containers(Kind::Running, "stop and remove what should not run");
        findings.push(Finding::warning("running-unapproved", evidence, &remedy));
    }
    let (count, total, names) = refused(Kind::Stopped);
    if count > 0 {
        let evidence = format!("{count} of {total} stopped containers would be refused now: {names}");
        let remedy = of_containers(Kind::Stopped, "remove what is not needed");
        findings.push(Finding::info("stopped-unapproved", evidence, &remedy));
    }
    let (count, total, names) = refused(Kind::Image);
    if count > 0 {
        let evidence = format!("{count} of {total} images on this host would be refused now: {names}");
        let remedy = format!("remove what is not needed (docker rmi). {}", remedies(Kind::Image));
        findings.push(Finding::info("images-unapproved", evidence, &remedy));
    }
    let unsure = judged.iter().filter_map(|(_, _, says)| match says {
        Says::CannotTell(code) => Some(*code),
        Says::Yes | Says::No(..) => None,
    });
    let codes: Vec<&str> = unsure.collect();
    if let Some(first) = codes.first() {
        let evidence = format!("{} containers and images could not be judged, the first because of {first}", codes.len());
        findings.push(Finding::warning("content-unknown", evidence, "repair what cannot be reached, then repeat this"));
    } else if *left > 0 {
        let evidence = format!("{left} containers and images were not judged: there are too many, or it took too long");
        findings.push(Finding::info("content-unknown", evidence, "img-authz check says it of each"));
    }
    if findings.is_empty() {
        findings
            .push(Finding::ok("content", format!("all {} containers and images on this host would be let in now", judged.len())));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Info, Ok as Good, Warning};
    use super::*;
    use crate::audit::MemoryJournal;
    use crate::engine::{Container, Fake, Image, ImageConfig, Platform};
    use crate::gate::{Approvals, Identity, Rules};
    use crate::image::Digest;
    use crate::policy::{Policy, Posture};
    use crate::trust::{Binding, Fake as Notary, TrustCode, TrustError, VerifierName};

    fn image(name: &str) -> Image {
        Image {
            id: Digest::of(format!("{name} config").as_bytes()),
            store: Some(crate::engine::Store::Classic),
            repo_tags: vec![format!("r.example/{name}:1").parse().unwrap()],
            repo_digests: vec![(format!("r.example/{name}").parse().unwrap(), Digest::of(name.as_bytes()))],
            created: None,
            platform: Platform::default(),
            layers: Vec::new(),
            config: ImageConfig::default(),
        }
    }

    fn container(id: char, image: &Image, running: bool) -> Container {
        Container {
            id: id.to_string().repeat(64).parse().unwrap(),
            name: format!("c{id}"),
            image: Some(image.id),
            manifest: None,
            image_ref: String::new(),
            mounts: Vec::new(),
            running,
            started_at: None,
        }
    }

    async fn found(engine: &Arc<Fake>, notary: Notary) -> Vec<(&'static str, Severity, String)> {
        let policy = Policy::of(Posture::Images, "r.example", &VerifierName::NOTARY, Binding::TagToDigest);
        let rules = Rules::Good { policy, verifiers: vec![Arc::new(notary)] };
        let gate = Arc::new(Gate::new(
            rules,
            engine.clone(),
            Arc::new(MemoryJournal::default()),
            Approvals::in_memory(),
            Identity::default(),
            tokio::runtime::Handle::current(),
        ));
        let subjects = subjects(&**engine).await.unwrap();
        let findings = tell(&judged(&gate, subjects, Duration::from_millis(500), &|_| {}).await);
        findings.into_iter().map(|finding| (finding.id, finding.severity, finding.evidence)).collect()
    }

    fn signed() -> Notary {
        Notary::default().with("r.example/good:1", Digest::of(b"good"))
    }

    #[tokio::test]
    async fn what_is_signed_raises_nothing_and_what_is_not_is_told_by_how_much_it_matters() {
        let engine = Arc::new(Fake::new());
        let (good, evil) = (image("good"), image("evil"));
        engine.put_image(good.clone());
        engine.put_container(container('a', &good, true));
        assert_eq!(
            found(&engine, signed()).await,
            [("content", Good, "all 2 containers and images on this host would be let in now".into())]
        );
        engine.put_image(evil.clone());
        engine.put_container(container('b', &evil, true));
        engine.put_container(container('c', &evil, false));
        let told = found(&engine, signed()).await;
        let kinds: Vec<_> = told.iter().map(|(id, severity, _)| (*id, *severity)).collect();
        assert_eq!(kinds, [("running-unapproved", Warning), ("stopped-unapproved", Info), ("images-unapproved", Info)]);
        assert_eq!(told[0].2, "1 of 2 running containers would be refused now: `cb` (not-signed)");
    }

    #[test]
    fn entries_with_an_image_id_alone_are_told_where_they_count_for_nothing() {
        let (digest, id) = (Some(Digest::of(b"good")), Some(Digest::of(b"id")));
        let named = |name: &str| vec![name.parse().unwrap()];
        let entries = vec![
            Entry { digest, image_id: id, ..Entry::default() },
            Entry { image_id: id, references: named("r.example/app:1"), ..Entry::default() },
            Entry { image_id: id, ..Entry::default() },
        ];
        let list = ListFile { entries };
        let told = ids_alone(&list, Store::Containerd).unwrap();
        assert_eq!((told.id, told.severity), ("allowlist-ids-alone", Warning));
        assert!(
            told.evidence.starts_with("2 of 3 entries") && told.evidence.ends_with(": `r.example/app:1`"),
            "{}",
            told.evidence
        );
        assert!(ids_alone(&list, Store::Classic).is_none());
        let digests = ListFile { entries: vec![Entry { digest, ..Entry::default() }] };
        assert!(ids_alone(&digests, Store::Containerd).is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_judged_is_not_called_unapproved() {
        let engine = Arc::new(Fake::new());
        engine.put_image(image("good"));
        let failure = Some(TrustError::new(TrustCode::Unreachable, "no route"));
        let told = found(&engine, Notary { failure, ..signed() }).await;
        assert_eq!((told.len(), told[0].0, told[0].1), (1, "content-unknown", Warning));
        let told = found(&engine, Notary { hangs: true, ..signed() }).await;
        assert_eq!((told.len(), told[0].0, told[0].1), (1, "content-unknown", Info));
    }

    #[tokio::test]
    async fn a_crowded_host_is_judged_in_part_and_that_is_told() {
        let engine = Arc::new(Fake::new());
        let good = image("good");
        engine.put_image(good.clone());
        for number in 0..MOST + 5 {
            let mut one = container('a', &good, false);
            one.id = format!("{number:064x}").parse().unwrap();
            engine.put_container(one);
        }
        let told = found(&engine, signed()).await;
        assert_eq!((told.len(), told[0].0, told[0].1), (1, "content-unknown", Info));
        assert!(told[0].2.starts_with("5 "), "{}", told[0].2);
    }
}
