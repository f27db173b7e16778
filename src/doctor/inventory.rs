//! What is on the host already: containers and images that came before the gate, and would be refused now.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Finding, Place, Progress};
use crate::engine::{Api, Engine, Store};
use crate::gate::Gate;
use crate::gate::inventory::{Inventory, Kind, Says};
use crate::policy::{AllowlistSetting, quoted};
use crate::setup;
use crate::text::clean;
use crate::trust::allowlist::file::{Entry, ListFile};

/// How long the engine gets to say which image store it has.
const INFO_TIME: Duration = Duration::from_secs(30);
/// How long all judging may take. Stops a Notary out of reach from holding the answer up.
const JUDGE_TIME: Duration = Duration::from_mins(1);
/// How many are judged at a time.
const AT_ONCE: usize = 8;
/// How many remedies a finding has.
const REMEDIES: usize = 4;
/// How many are named in a finding.
const NAMED: usize = 6;

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
    let inventory = match judged(&gate, JUDGE_TIME, progress).await {
        Ok(inventory) => inventory,
        Err(why) => return vec![Finding::warning("content-unknown", why, "repeat this once the engine answers")],
    };
    let mut findings = tell(&inventory);
    if let AllowlistSetting::Required(path) | AllowlistSetting::IfPresent(path) = place.settings.allowlist()
        && let (Ok(list), Ok(info)) = (ListFile::read(&path), engine.info(Instant::now() + INFO_TIME).await)
    {
        findings.extend(ids_alone(&list, info.store));
    }
    findings
}

/// What is on the host, or why that is not known.
async fn judged(gate: &Arc<Gate>, time: Duration, progress: Progress<'_>) -> Result<Inventory, String> {
    let say = |done: usize, total: usize| progress(&format!("{done} of {total} containers and images judged …"));
    let found = gate.inventory(AT_ONCE, time, say).await;
    found.map_err(|error| format!("what is on this host is not known: {}", clean(&error.to_string())))
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

fn tell(Inventory { items, left }: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    let refused = |kind: Kind| -> (usize, usize, String) {
        let of_kind = || items.iter().filter(|item| item.kind == kind);
        let list: Vec<String> = of_kind()
            .filter_map(|item| match &item.says {
                Says::No(reason) | Says::Forgiven(reason) | Says::Superseded(reason) => {
                    Some(format!("{} ({})", quoted(&item.name), reason.code()))
                }
                Says::Yes | Says::CannotTell(_) => None,
            })
            .collect();
        let more = if list.len() > NAMED { ", …" } else { "" };
        let shown = list.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        (list.len(), of_kind().count(), format!("{shown}{more}"))
    };
    // Outcomes differ, and so does what there is to do: what the refusal itself would say, for each that was met.
    let remedies = |kind: Kind| {
        let mut by_code: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for item in items.iter().filter(|item| item.kind == kind) {
            if let Says::No(reason) | Says::Forgiven(reason) | Says::Superseded(reason) = &item.says
                && !by_code.iter().any(|(known, _)| *known == reason.code())
            {
                by_code.push((reason.code(), reason.remedy()));
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
    let unsure = items.iter().filter_map(|item| match &item.says {
        Says::CannotTell(reason) => Some(reason.code()),
        Says::Yes | Says::No(_) | Says::Forgiven(_) | Says::Superseded(_) => None,
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
            .push(Finding::ok("content", format!("all {} containers and images on this host would be let in now", items.len())));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Info, Ok as Good, Warning};
    use super::*;
    use crate::audit::MemoryJournal;
    use crate::engine::{Container, Fake, Image};
    use crate::gate::inventory::MOST;
    use crate::gate::{Approvals, Identity, Rules};
    use crate::image::{Digest, ImageConfig};
    use crate::policy::{Policy, Posture};
    use crate::trust::{Binding, Fake as Notary, TrustCode, TrustError, VerifierName};

    fn image(name: &str) -> Image {
        Image {
            id: Digest::of(format!("{name} config").as_bytes()),
            store: Some(crate::engine::Store::Classic),
            repo_tags: vec![format!("r.example/{name}:1").parse().unwrap()],
            repo_digests: vec![(format!("r.example/{name}").parse().unwrap(), Digest::of(name.as_bytes()))],
            config: ImageConfig::default(),
        }
    }

    fn container(id: char, image: &Image, running: bool) -> Container {
        Container {
            id: id.to_string().repeat(64).parse().unwrap(),
            name: format!("c{id}"),
            image: Some(image.id),
            manifest: None,
            platform: None,
            image_ref: String::new(),
            runs_as: crate::image::RunsAs::default(),
            mounts: Vec::new(),
            running,
            started_at: None,
        }
    }

    async fn found(engine: &Arc<Fake>, notary: Notary) -> Vec<(&'static str, Severity, String)> {
        let policy = Policy::of(Posture::Images, "r.example", &VerifierName::NOTARY, Binding::TagToDigest);
        let rules = Rules::Good { policy, verifiers: vec![Arc::new(notary)], registry: None };
        let gate = Arc::new(Gate::new(
            rules,
            engine.clone(),
            Arc::new(MemoryJournal::default()),
            Approvals::in_memory(),
            Identity::default(),
            tokio::runtime::Handle::current(),
        ));
        let findings = tell(&judged(&gate, Duration::from_millis(500), &|_| {}).await.unwrap());
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
        let list = ListFile { entries, ..ListFile::default() };
        let told = ids_alone(&list, Store::Containerd).unwrap();
        assert_eq!((told.id, told.severity), ("allowlist-ids-alone", Warning));
        assert!(
            told.evidence.starts_with("2 of 3 entries") && told.evidence.ends_with(": `r.example/app:1`"),
            "{}",
            told.evidence
        );
        assert!(ids_alone(&list, Store::Classic).is_none());
        let digests = ListFile { entries: vec![Entry { digest, ..Entry::default() }], ..ListFile::default() };
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
