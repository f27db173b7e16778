//! Trust data by chance: documents changed anywhere and signed again, certificates with bits turned, servers that lie as they
//! please. Properties of the verifier that hold for all of them; each beside a case where the answer is yes.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use img_authz::image::{Repository, Tag};
use img_authz::trust::tuf::{Failure, Fetch, Knowledge, MetadataLimits, Pins, Subject, load, update};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::trust_repo::*;

const ROLES: [&str; 6] = ["root", "timestamp", "snapshot", "targets", "targets/releases", "targets/alice"];

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn learn<F: Fetch>(source: &F, known: Option<Arc<Knowledge>>) -> Result<Knowledge, Failure<F::Error>> {
    let subject =
        Subject { repository: GUN.parse().unwrap(), pins: Arc::<Pins>::default(), limits: MetadataLimits::default(), known };
    run(update(source, &subject, now()))
}

/// What the tag `1.0` is vouched to be; nothing, if anything is wrong.
fn vouched(files: &Files) -> Option<String> {
    let known = learn(&Served(Arc::new(files.clone())), None).ok()?;
    known.tag(&"1.0".parse::<Tag>().unwrap(), &[], now()).ok().map(|yes| yes.digest.to_string())
}

fn repo() -> Repo {
    Repo::docker(root_key(GUN))
}

/// Any JSON whose canonical form `serde_json` writes as well: whole numbers that are exact, no control characters.
fn value() -> impl Strategy<Value = Value> {
    const EXACT: i64 = (1 << 53) - 1;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-EXACT..=EXACT).prop_map(|number| json!(number)),
        "[ -~é\u{2028}😀]{0,12}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::btree_map("[ -~é]{0,6}", inner, 0..5).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// The same document in other words: white space, members the other way round, every character of a text escaped.
fn respelled(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            out.push_str("{ ");
            for (index, (name, value)) in members.iter().rev().enumerate() {
                out.push_str(if index == 0 { "\n" } else { " ,\t" });
                respelled(&Value::String(name.clone()), out);
                out.push_str(" :\r\n");
                respelled(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "\n, " });
                respelled(item, out);
            }
            out.push_str(" ]");
        }
        Value::String(text) => {
            out.push('"');
            text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// All places in a document, as pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| places(value, &format!("{at}/{}", escaped(name)), all)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), all)),
        _ => {}
    }
}

/// A publication in which the tag has the content of this name.
fn publication(repo: &mut Repo, content: &str) -> Files {
    repo.bump();
    for role in ["targets/releases", "targets/alice"] {
        repo.role(role)["targets"]["1.0"] = target(content);
    }
    repo.publish()
}

/// Four publications of one repository; the last two under a new root.
static HISTORY: LazyLock<Vec<Files>> = LazyLock::new(|| {
    let mut repo = repo();
    let mut all = vec![publication(&mut repo, "0"), publication(&mut repo, "1")];
    repo.rotate_root(&root_key(GUN));
    all.extend([publication(&mut repo, "2"), publication(&mut repo, "3")]);
    all
});

/// A server that shows one publication and lies now and then: with the file of another, another file, part of one, or nothing.
#[derive(Clone)]
struct Liar {
    shown: usize,
    /// One number per question, used again and again.
    chances: Arc<[u32]>,
    asked: Arc<Mutex<usize>>,
}

impl Fetch for Liar {
    type Error = ();
    const PARALLEL: bool = false;

    async fn fetch(&self, name: String, most: u64) -> Result<Option<Vec<u8>>, ()> {
        let chance = {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            self.chances[*asked % self.chances.len()] as usize
        };
        let role = name.split('.').next().unwrap();
        let (shown, other) = (&HISTORY[self.shown], &HISTORY[chance / 64 % HISTORY.len()]);
        let answer = match chance % 64 {
            0 | 1 => other.get(&name).or_else(|| other.get(&format!("{role}.json"))).cloned(),
            2 => other.values().nth(chance / 256 % other.len()).cloned(),
            3 => shown.get(&name).map(|raw| raw[..chance / 256 % raw.len()].to_vec()),
            4 => None,
            5 => return Err(()),
            _ => shown.get(&name).cloned(),
        };
        Ok(answer.filter(|raw| raw.len() as u64 <= most))
    }
}

/// The versions of what is known, by role.
fn versions(known: &Knowledge) -> BTreeMap<String, u64> {
    known.view(&[], now()).roles.into_iter().map(|role| (role.name, role.version)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..Default::default() })]

    /// A signature is over the canonical form: whatever the document holds and however it is spelled, it verifies; after any
    /// change of a value it does not.
    #[test]
    fn a_signature_holds_for_what_was_signed_and_for_nothing_else(
        role in 0usize..ROLES.len(), extra in value(), other in value(), reorder in any::<bool>()
    ) {
        // What alice signs alone answers nothing, so that it may be left out.
        let role = ROLES[role % (ROLES.len() - 1)];
        let mut good = repo();
        good.role(role)["x"] = extra.clone();
        if reorder {
            good.edit_bytes(role, |raw| {
                let mut out = String::new();
                respelled(&serde_json::from_slice(&raw).unwrap(), &mut out);
                out.into_bytes()
            });
        }
        prop_assert_eq!(vouched(&good.publish()), Some(digest("one")), "{} {}", role, extra);
        if other != extra {
            good.edit_envelope(role, move |envelope| envelope["signed"]["x"] = other.clone());
            prop_assert_eq!(vouched(&good.publish()), None);
        }
    }

    /// Any part of a role's file replaced by anything, and signed again by who may: an answer, whatever it is; and what verifies
    /// can be kept and shown.
    #[test]
    fn no_document_that_is_well_signed_makes_the_verifier_panic(
        role in 0usize..ROLES.len(), place in any::<proptest::sample::Index>(), new in proptest::option::of(value())
    ) {
        let mut repo = repo();
        let document = repo.role(ROLES[role]);
        let mut all = Vec::new();
        places(document, "", &mut all);
        // The whole is what the generator works on.
        all.remove(0);
        let at = place.get(&all).clone();
        let (parent, name) = at.rsplit_once('/').unwrap_or(("", ""));
        match (new, document.pointer_mut(parent)) {
            (None, Some(Value::Object(members))) => drop(members.remove(name)),
            (None, Some(Value::Array(items))) => drop(items.pop()),
            (Some(new), _) => *document.pointer_mut(&at).unwrap() = new,
            (None, _) => {}
        }
        let files = repo.publish();
        if let Ok(known) = learn(&Served(Arc::new(files)), None) {
            let repository: Repository = GUN.parse().unwrap();
            let again = run(load(&known.stored(), &repository));
            prop_assert!(again.is_ok_and(|again| versions(&again) == versions(&known)), "{}", at);
            let _ = known.tag(&"1.0".parse::<Tag>().unwrap(), &[], now());
        }
    }

    /// A root certificate with bytes changed, under the key id that belongs to it, signing with the same private key. It counts
    /// only while it names the repository.
    #[test]
    fn a_damaged_certificate_is_read_or_refused(changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4)) {
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut der = params(GUN).self_signed(&pair).unwrap().der().to_vec();
        for (at, byte) in &changes {
            let at = at.index(der.len());
            der[at] = *byte;
        }
        let key = Key::of_pair(&pair).certified(&pem(&der));
        let found = vouched(&Repo::docker(key).publish());
        let is_named = der.windows(GUN.len()).any(|window| window == GUN.as_bytes());
        prop_assert!(found.is_none() || (is_named && found == Some(digest("one"))));
        prop_assert!(!changes.is_empty() || found.is_some());
    }

    /// Whatever stands where the base64 of a key, a signature or a hash belongs: the one right text, or a refusal.
    #[test]
    fn base64_is_read_in_one_spelling(
        which in 0usize..3, noise in "[A-Za-z0-9+/=_\\- \\n\u{0}]{1,4}", at in any::<proptest::sample::Index>(), cut in any::<bool>()
    ) {
        let mut repo = repo();
        let edit = move |value: &mut Value| {
            let mut text = value.as_str().unwrap().to_owned();
            let at = at.index(text.len());
            if cut {
                text.truncate(at);
            } else {
                text.insert_str(at, &noise);
            }
            *value = json!(text);
        };
        match which {
            0 => repo.edit_envelope("targets", move |envelope| edit(&mut envelope["signatures"][0]["sig"])),
            1 => repo.edit_listing("snapshot", move |snapshot| edit(&mut snapshot["meta"]["targets"]["hashes"]["sha256"])),
            _ => {
                let root = repo.role("root");
                let id = root["roles"]["targets"]["keyids"][0].as_str().unwrap().to_owned();
                edit(&mut root["keys"][&id]["keyval"]["public"]);
            }
        }
        prop_assert_eq!(vouched(&repo.publish()), None);
    }

    /// A server that lies as it likes, over several questions: what is known never goes back, and a tag never gets content that
    /// the publication of its role did not have.
    #[test]
    fn a_lying_server_gets_nowhere(
        rounds in proptest::collection::vec((0..4usize, proptest::collection::vec(any::<u32>(), 8..24)), 1..6)
    ) {
        let mut known: Option<Arc<Knowledge>> = None;
        let repository: Repository = GUN.parse().unwrap();
        for (shown, chances) in rounds {
            let liar = Liar { shown, chances: chances.into(), asked: Arc::default() };
            let Ok(next) = learn(&liar, known.clone()) else { continue };
            let now_known = versions(&next);
            if let Some(known) = &known {
                for (role, version) in versions(known) {
                    prop_assert!(now_known[&role] >= version, "{} went back", role);
                }
            }
            let yes = next.tag(&"1.0".parse::<Tag>().unwrap(), &[], now());
            // `targets/releases` is at version 1 before the first of the publications.
            let content = (now_known["targets/releases"] - 2).to_string();
            prop_assert_eq!(yes.map(|yes| yes.digest.to_string()).ok(), Some(digest(&content)));
            // Through the disk, as a new process has it.
            known = Some(Arc::new(run(load(&next.stored(), &repository)).unwrap()));
        }
    }

    /// Taking signatures away from a delegation's file never turns a refusal into a yes, nor lets the parent answer instead.
    #[test]
    fn fewer_signatures_of_a_delegation_never_say_more(keep in any::<[bool; 3]>(), threshold in 1u64..4) {
        let keys = DELEGATES.clone();
        let mut repo = repo();
        let delegations = &mut repo.role("targets")["delegations"];
        for key in &keys {
            delegations["keys"][&key.id] = key.listed();
        }
        let entry = delegations["roles"].as_array_mut().unwrap().iter_mut().find(|role| role["name"] == "targets/releases").unwrap();
        entry["keyids"] = keys.iter().map(|key| json!(key.id)).collect();
        entry["threshold"] = json!(threshold);
        repo.role("targets")["targets"]["1.0"] = target("two");
        let kept: Vec<Key> = keys.iter().zip(keep).filter(|(_, keep)| *keep).map(|(key, _)| key.clone()).collect();
        let enough = kept.len() as u64 >= threshold;
        repo.signers.insert("targets/releases".into(), kept);
        prop_assert_eq!(vouched(&repo.publish()), enough.then(|| digest("one")));
    }
}

static DELEGATES: LazyLock<[Key; 3]> = LazyLock::new(|| [Key::ecdsa(), Key::ed25519(), Key::p521()]);

#[test]
fn a_server_that_says_the_truth_gets_every_publication_through() {
    let mut known = None;
    for (index, files) in HISTORY.iter().enumerate() {
        let next = learn(&Served(Arc::new(files.clone())), known).unwrap();
        let yes = next.tag(&"1.0".parse::<Tag>().unwrap(), &[], now()).unwrap();
        assert_eq!(yes.digest.to_string(), digest(&index.to_string()));
        known = Some(Arc::new(next));
    }
}
