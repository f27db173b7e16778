//! Role files, read strictly: envelope, structure, signatures, hashes (docs/notary-v1.md, sections 4 to 6).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256, Sha512};

use super::entries::Entries;
use super::json::{Document, Value};
use super::keys::Key;
use super::limits::MetadataLimits;
use super::role::RoleName;
use super::{Fault, FaultKind};
use crate::image::Digest;

/// One signature of an envelope.
#[derive(Debug, Clone)]
struct Signature {
    key: String,
    method: String,
    bytes: Vec<u8>,
}

/// Who may sign for a role, and how many must.
#[derive(Debug, Clone)]
pub(super) struct Signers {
    pub(super) threshold: u64,
    pub(super) keys: Vec<Arc<Key>>,
}

/// Signature checks that are left in this verification.
#[derive(Debug)]
pub(super) struct Work(u32);

impl Work {
    pub(super) const fn new(limits: &MetadataLimits) -> Self {
        Self(limits.work)
    }

    /// Takes what a check costs off what is left.
    pub(super) fn spend(&mut self, units: u32, role: &str) -> Result<(), Fault> {
        let left = self.0.checked_sub(units);
        self.0 = left.ok_or_else(|| RoleText(role).invalid("too many signatures would have to be checked"))?;
        Ok(())
    }
}

impl Signers {
    /// Whether somebody is among both.
    pub(super) fn share(&self, other: &Self) -> bool {
        let here: HashSet<_> = self.keys.iter().filter_map(|key| key.signer()).collect();
        other.keys.iter().filter_map(|key| key.signer()).any(|signer| here.contains(signer))
    }
}

/// What all files have in common, with the structure of one of them.
#[derive(Debug, Clone)]
pub(super) struct File<T> {
    /// As served; hashes are over these bytes. Empty once it is [`File::bare`].
    pub(super) raw: Arc<[u8]>,
    /// SHA-256 over the canonical form of `signed`: what tells two files of one version apart.
    pub(super) content: [u8; 32],
    pub(super) version: u64,
    pub(super) expires: Timestamp,
    pub(super) body: T,
    canonical: Vec<u8>,
    signatures: Vec<Signature>,
}

/// Hashes and length of another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) length: u64,
    pub(super) sha256: [u8; 32],
    sha512: Option<[u8; 64]>,
}

/// The root file's keys per role.
#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "the role of that name")]
pub(super) struct Root {
    pub(super) root: Signers,
    pub(super) targets: Signers,
    pub(super) snapshot: Signers,
    pub(super) timestamp: Signers,
}

/// The timestamp file.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    pub(super) snapshot: Meta,
}

/// The snapshot file.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) root: Meta,
    pub(super) targets: Meta,
    pub(super) delegations: BTreeMap<RoleName, Meta>,
}

/// A targets or delegation file.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    /// Without a digest where the entry has no SHA-256 of 32 bytes.
    pub(super) targets: Entries,
    pub(super) delegations: Vec<Delegation>,
}

/// Trust handed on to a child role.
#[derive(Debug, Clone)]
pub(super) struct Delegation {
    pub(super) name: RoleName,
    pub(super) signers: Signers,
    pub(super) paths: Vec<String>,
}

/// Reads the inside of one kind of file.
pub(super) trait Body: Sized {
    /// `_type`.
    const TYPE: &'static str;
    /// The members that the Go client knows; others must not differ from these in case alone.
    const MEMBERS: &'static [&'static str];
    fn read(signed: Value<'_>, of: &RoleText<'_>, limits: &MetadataLimits) -> Result<Self, Fault>;
}

/// The name of the role at hand, for faults.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoleText<'a>(pub(super) &'a str);

impl RoleText<'_> {
    pub(super) fn fault(self, kind: FaultKind, why: impl std::fmt::Display) -> Fault {
        Fault::new(kind, self.0, why.to_string())
    }

    fn invalid(self, why: impl std::fmt::Display) -> Fault {
        self.fault(FaultKind::Invalid, why)
    }
}

impl<T: Body> File<T> {
    /// Reads a file. Nothing is verified yet.
    pub(super) fn read(raw: Arc<[u8]>, role: &str, limits: &MetadataLimits) -> Result<Self, Fault> {
        let of = RoleText(role);
        let document = Document::read(&raw).map_err(|error| of.invalid(error))?;
        let envelope = document.value();
        exact(envelope, &["signed", "signatures"], of)?;
        let signed = envelope.member("signed").ok_or_else(|| of.invalid("`signed` is missing"))?;
        let Value::Object(_) = signed else { return Err(of.invalid("`signed` is not an object")) };
        exact(signed, T::MEMBERS, of)?;
        exact(signed, &["_type", "version", "expires"], of)?;
        let signatures = signatures(envelope, of, limits)?;
        if text(signed, "_type", of)? != T::TYPE {
            return Err(of.invalid(format!("`_type` is not `{}`", T::TYPE)));
        }
        let version = integer(signed, "version", of)?;
        if version == 0 {
            return Err(of.invalid("`version` is below 1"));
        }
        let expires = expiry(text(signed, "expires", of)?).ok_or_else(|| of.invalid("`expires` is not an RFC 3339 time"))?;
        let body = T::read(signed, &of, limits)?;
        let mut canonical = Vec::with_capacity(raw.len());
        signed.canonical(&mut canonical);
        let content = Sha256::digest(&canonical).into();
        drop(document);
        Ok(Self { raw, content, version, expires, body, canonical, signatures })
    }

    /// Whether as many distinct signers of `signers` as their threshold says signed this file (section 5).
    pub(super) fn signed_by(&self, signers: &Signers, role: &str, work: &mut Work) -> Result<(), Fault> {
        self.signed_by_those(signers, role, work, |_, _| Ok(true))
    }

    /// The same, of signers whose key passes; that is asked of those alone that have signed.
    pub(super) fn signed_by_those(
        &self,
        signers: &Signers,
        role: &str,
        work: &mut Work,
        mut passes: impl FnMut(&Key, &mut Work) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        let of = RoleText(role);
        if self.signatures.is_empty() {
            return Err(of.invalid("there are no signatures"));
        }
        let mut good = HashSet::new();
        for signature in &self.signatures {
            let Some(key) = signers.keys.iter().find(|key| key.id == signature.key) else { continue };
            let Some(signer) = key.signer() else { continue };
            if good.contains(signer) {
                continue;
            }
            work.spend(key.work(self.canonical.len()), role)?;
            if key.verifies(&signature.method, &self.canonical, &signature.bytes) && passes(key, work)? {
                good.insert(signer);
                if good.len() as u64 >= signers.threshold {
                    return Ok(());
                }
            }
        }
        let why = format!("{} of {} signers needed have signed", good.len(), signers.threshold);
        Err(of.fault(FaultKind::UnderSigned, why))
    }

    /// Whether the file is in date.
    pub(super) fn in_date(&self, role: &str, now: Timestamp) -> Result<(), Fault> {
        if now < self.expires {
            Ok(())
        } else {
            Err(RoleText(role).fault(FaultKind::Expired, format!("expired at {}", self.expires)))
        }
    }

    /// Drops what only signature checks need.
    pub(super) fn settled(mut self) -> Self {
        self.canonical = Vec::new();
        self.signatures = Vec::new();
        self
    }

    /// Keeps no more than what it says; and the bytes as served, apart.
    pub(super) fn bare(self) -> (Self, Arc<[u8]>) {
        let mut bare = self.settled();
        let raw = std::mem::replace(&mut bare.raw, Arc::from([]));
        (bare, raw)
    }
}

impl Meta {
    fn read(value: Value<'_>, of: RoleText<'_>, name: &str) -> Result<Self, Fault> {
        exact(value, &["hashes", "length"], of)?;
        let length = integer(value, "length", of)?;
        let Some(hashes @ Value::Object(_)) = value.member("hashes") else {
            return Err(of.invalid(format!("`hashes` of `{name}` are missing")));
        };
        exact(hashes, &["sha256", "sha512"], of)?;
        let hash = |algorithm: &str| match hashes.member(algorithm) {
            None => Ok(None),
            Some(Value::Text(text)) => STANDARD
                .decode(text.as_bytes())
                .map(Some)
                .map_err(|_| of.invalid(format!("{algorithm} of `{name}` is not base64"))),
            Some(_) => Err(of.invalid(format!("{algorithm} of `{name}` is not a text"))),
        };
        let malformed = |algorithm: &str| of.invalid(format!("{algorithm} of `{name}` is missing or malformed"));
        let sha256 = hash("sha256")?.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| malformed("sha256"))?;
        let sha512 = match hash("sha512")? {
            None => None,
            Some(bytes) => Some(bytes.try_into().map_err(|_| malformed("sha512"))?),
        };
        Ok(Self { length, sha256, sha512 })
    }

    /// Whether `raw` is the file: length and every hash.
    pub(super) fn fits(&self, raw: &[u8]) -> bool {
        self.length == raw.len() as u64
            && Sha256::digest(raw)[..] == self.sha256
            && self.sha512.as_ref().is_none_or(|hash| Sha512::digest(raw)[..] == hash[..])
    }
}

impl Body for Root {
    const TYPE: &'static str = "Root";
    const MEMBERS: &'static [&'static str] = &["keys", "roles", "consistent_snapshot"];

    fn read(signed: Value<'_>, of: &RoleText<'_>, limits: &MetadataLimits) -> Result<Self, Fault> {
        let of = *of;
        match signed.member("consistent_snapshot") {
            None | Some(Value::Bool(_)) => {}
            Some(_) => return Err(of.invalid("`consistent_snapshot` is not a boolean")),
        }
        let keys = keys(signed.member("keys"), of, limits)?;
        let Some(roles @ Value::Object(members)) = signed.member("roles") else {
            return Err(of.invalid("`roles` is missing"));
        };
        exact(roles, &["root", "targets", "snapshot", "timestamp"], of)?;
        let role = |name: &str| {
            let value = roles.member(name).ok_or_else(|| of.invalid(format!("role `{name}` is missing")))?;
            signers(value, &keys, of, limits)
        };
        // Roles we do not use are still read, so that none is malformed.
        for (_, value) in members.iter() {
            signers(value, &keys, of, limits)?;
        }
        Ok(Self { root: role("root")?, targets: role("targets")?, snapshot: role("snapshot")?, timestamp: role("timestamp")? })
    }
}

impl Body for Stamp {
    const TYPE: &'static str = "Timestamp";
    const MEMBERS: &'static [&'static str] = &["meta"];

    fn read(signed: Value<'_>, of: &RoleText<'_>, _limits: &MetadataLimits) -> Result<Self, Fault> {
        let Some(meta @ Value::Object(_)) = signed.member("meta") else { return Err(of.invalid("`meta` is missing")) };
        exact(meta, &["snapshot"], *of)?;
        let snapshot = meta.member("snapshot").ok_or_else(|| of.invalid("`meta` has no `snapshot`"))?;
        Ok(Self { snapshot: Meta::read(snapshot, *of, "snapshot")? })
    }
}

impl Body for Snapshot {
    const TYPE: &'static str = "Snapshot";
    const MEMBERS: &'static [&'static str] = &["meta"];

    fn read(signed: Value<'_>, of: &RoleText<'_>, limits: &MetadataLimits) -> Result<Self, Fault> {
        let Some(meta @ Value::Object(members)) = signed.member("meta") else { return Err(of.invalid("`meta` is missing")) };
        exact(meta, &["root", "targets"], *of)?;
        let base = |name: &str| {
            let value = meta.member(name).ok_or_else(|| of.invalid(format!("`meta` has no `{name}`")))?;
            Meta::read(value, *of, name)
        };
        let mut delegations = BTreeMap::new();
        for (name, value) in members.iter() {
            // Entries of other names are of no role we could be asked about.
            if let Some(role) = RoleName::delegation(name) {
                delegations.insert(role, Meta::read(value, *of, name)?);
            }
        }
        if delegations.len() > limits.roles {
            return Err(of.invalid("too many delegations"));
        }
        Ok(Self { root: base("root")?, targets: base("targets")?, delegations })
    }
}

impl Body for Targets {
    const TYPE: &'static str = "Targets";
    const MEMBERS: &'static [&'static str] = &["targets", "delegations"];

    fn read(signed: Value<'_>, of: &RoleText<'_>, limits: &MetadataLimits) -> Result<Self, Fault> {
        let of = *of;
        let targets = match signed.member("targets") {
            Some(Value::Object(members)) => {
                let mut targets = Entries::default();
                for (name, value) in members.iter() {
                    targets.push(name, target(value, of)?);
                }
                targets.shrunk()
            }
            None => return Err(of.invalid("`targets` is missing")),
            Some(_) => return Err(of.invalid("`targets` is not an object")),
        };
        let delegations = match signed.member("delegations") {
            None | Some(Value::Null) => Vec::new(),
            Some(value @ Value::Object(_)) => delegations(value, of, limits)?,
            Some(_) => return Err(of.invalid("`delegations` is not an object")),
        };
        Ok(Self { targets, delegations })
    }
}

impl Snapshot {
    /// What it lists of a role that holds targets.
    pub(super) fn of(&self, role: &RoleName) -> Option<&Meta> {
        if *role == RoleName::targets() { Some(&self.targets) } else { self.delegations.get(role) }
    }
}

impl Targets {
    /// Whether it hands trust on to this role.
    pub(super) fn delegates(&self, role: &RoleName) -> bool {
        self.delegations.iter().any(|delegation| delegation.name == *role)
    }
}

/// The digest of a tag's entry. An entry without one makes that tag unusable, one of another shape the whole file
/// (section 6).
fn target(value: Value<'_>, of: RoleText<'_>) -> Result<Option<Digest>, Fault> {
    let Value::Object(_) = value else { return Err(of.invalid("a target is not an object")) };
    exact(value, &["hashes", "length", "custom"], of)?;
    match value.member("length") {
        None | Some(Value::Integer(_)) => {}
        Some(_) => return Err(of.invalid("`length` of a target is not an integer")),
    }
    let hashes = match value.member("hashes") {
        None | Some(Value::Null) => return Ok(None),
        Some(hashes @ Value::Object(_)) => hashes,
        Some(_) => return Err(of.invalid("`hashes` of a target is not an object")),
    };
    exact(hashes, &["sha256", "sha512"], of)?;
    let mut digest = None;
    if let Value::Object(members) = hashes {
        for (name, value) in members.iter() {
            let bytes = match value {
                Value::Null => continue,
                Value::Text(text) => {
                    STANDARD.decode(text.as_bytes()).map_err(|_| of.invalid("a hash of a target is not base64"))?
                }
                _ => return Err(of.invalid("a hash of a target is not a text")),
            };
            if name == "sha256" {
                digest = bytes.try_into().ok().map(Digest::from_bytes);
            }
        }
    }
    Ok(digest)
}

fn delegations(value: Value<'_>, of: RoleText<'_>, limits: &MetadataLimits) -> Result<Vec<Delegation>, Fault> {
    exact(value, &["keys", "roles"], of)?;
    let parent = if of.0 == "targets" { Some(RoleName::targets()) } else { RoleName::delegation(of.0) };
    let parent = parent.ok_or_else(|| of.invalid("the role cannot delegate"))?;
    let keys = match value.member("keys") {
        None | Some(Value::Null) => HashMap::new(),
        keys => keys_of(keys, of, limits)?,
    };
    let roles = match value.member("roles") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(roles)) => roles,
        Some(_) => return Err(of.invalid("`roles` of the delegations is not a list")),
    };
    if roles.len() > limits.delegations {
        return Err(of.invalid(format!("more than {} delegations", limits.delegations)));
    }
    let mut found: Vec<Delegation> = Vec::with_capacity(roles.len());
    let mut names = HashSet::new();
    for role in roles.iter() {
        exact(role, &["name", "keyids", "threshold", "paths"], of)?;
        let name = text(role, "name", of)?;
        let name = RoleName::delegation(name)
            .filter(|name| name.is_child_of(&parent))
            .ok_or_else(|| of.invalid("a delegation's name is not that of a direct child"))?;
        if !names.insert(name.clone()) {
            return Err(of.invalid(format!("delegation `{name}` is there twice")));
        }
        let paths = match role.member("paths") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(paths)) => {
                let paths: Option<Vec<String>> = paths
                    .iter()
                    .map(|path| match path {
                        Value::Text(path) => Some(path.to_owned()),
                        _ => None,
                    })
                    .collect();
                paths.ok_or_else(|| of.invalid("a path of a delegation is not a text"))?
            }
            Some(_) => return Err(of.invalid("`paths` of a delegation is not a list")),
        };
        if paths.len() > limits.paths {
            return Err(of.invalid(format!("delegation `{name}` has more than {} paths", limits.paths)));
        }
        found.push(Delegation { name, signers: signers(role, &keys, of, limits)?, paths });
    }
    Ok(found)
}

fn keys(value: Option<Value<'_>>, of: RoleText<'_>, limits: &MetadataLimits) -> Result<HashMap<String, Arc<Key>>, Fault> {
    match value {
        Some(Value::Object(_)) => keys_of(value, of, limits),
        _ => Err(of.invalid("`keys` is missing")),
    }
}

/// Keys by id. A key that is not listed under its own id makes the file invalid.
fn keys_of(value: Option<Value<'_>>, of: RoleText<'_>, limits: &MetadataLimits) -> Result<HashMap<String, Arc<Key>>, Fault> {
    let Some(Value::Object(members)) = value else { return Err(of.invalid("`keys` is not an object")) };
    if members.len() > limits.keys {
        return Err(of.invalid(format!("more than {} keys", limits.keys)));
    }
    let mut keys = HashMap::with_capacity(members.len());
    for (id, value) in members.iter() {
        exact(value, &["keytype", "keyval"], of)?;
        let kind = text(value, "keytype", of)?;
        let Some(keyval @ Value::Object(_)) = value.member("keyval") else { return Err(of.invalid("a key has no `keyval`")) };
        exact(keyval, &["public", "private"], of)?;
        if keyval.member("private").is_some_and(|private| !matches!(private, Value::Null)) {
            return Err(of.invalid("a key's `private` is not null"));
        }
        let key = Key::read(kind, text(keyval, "public", of)?, limits)
            .ok_or_else(|| of.invalid("a public key is not base64, or is too long"))?;
        if key.id != id {
            return Err(of.invalid("a key is listed under an id that is not its own"));
        }
        keys.insert(id.to_owned(), Arc::new(key));
    }
    Ok(keys)
}

fn signers(
    value: Value<'_>,
    keys: &HashMap<String, Arc<Key>>,
    of: RoleText<'_>,
    limits: &MetadataLimits,
) -> Result<Signers, Fault> {
    exact(value, &["keyids", "threshold"], of)?;
    let threshold = integer(value, "threshold", of)?;
    if threshold == 0 {
        return Err(of.invalid("a threshold is below 1"));
    }
    let Some(Value::Array(ids)) = value.member("keyids") else { return Err(of.invalid("`keyids` is missing")) };
    if ids.len() > limits.keys {
        return Err(of.invalid(format!("more than {} keys", limits.keys)));
    }
    let mut found = Vec::with_capacity(ids.len());
    for id in ids.iter() {
        let Value::Text(id) = id else { return Err(of.invalid("a key id is not a text")) };
        let key = keys.get(id).ok_or_else(|| of.invalid("a key id is defined nowhere"))?;
        found.push(Arc::clone(key));
    }
    Ok(Signers { threshold, keys: found })
}

fn signatures(document: Value<'_>, of: RoleText<'_>, limits: &MetadataLimits) -> Result<Vec<Signature>, Fault> {
    let Some(Value::Array(items)) = document.member("signatures") else {
        return Err(of.invalid("`signatures` is missing"));
    };
    if items.len() > limits.signatures {
        return Err(of.invalid(format!("more than {} signatures", limits.signatures)));
    }
    items
        .iter()
        .map(|item| {
            exact(item, &["keyid", "method", "sig"], of)?;
            let bytes = STANDARD.decode(text(item, "sig", of)?).map_err(|_| of.invalid("a signature is not base64"))?;
            let method = text(item, "method", of)?.to_ascii_lowercase();
            Ok(Signature { key: text(item, "keyid", of)?.to_owned(), method, bytes })
        })
        .collect()
}

fn text<'v>(value: Value<'v>, name: &str, of: RoleText<'_>) -> Result<&'v str, Fault> {
    match value.member(name) {
        Some(Value::Text(text)) => Ok(text),
        Some(_) => Err(of.invalid(format!("`{name}` is not a text"))),
        None => Err(of.invalid(format!("`{name}` is missing"))),
    }
}

fn integer(value: Value<'_>, name: &str, of: RoleText<'_>) -> Result<u64, Fault> {
    match value.member(name) {
        Some(Value::Integer(number)) => u64::try_from(number).map_err(|_| of.invalid(format!("`{name}` is negative"))),
        Some(_) => Err(of.invalid(format!("`{name}` is not an integer"))),
        None => Err(of.invalid(format!("`{name}` is missing"))),
    }
}

/// Refuses members that differ from a known name in case alone: Go would take them for it (section 13, trap 3).
fn exact(value: Value<'_>, known: &[&str], of: RoleText<'_>) -> Result<(), Fault> {
    let Value::Object(members) = value else { return Err(of.invalid("an object is expected")) };
    for (name, _) in members.iter() {
        let folded = known.iter().any(|known| *known != name && same_but_for_case(name, known));
        if folded {
            return Err(of.invalid("a member's name differs from a known one in case alone"));
        }
    }
    Ok(())
}

/// Go's folding of member names: ASCII case, and the two letters outside ASCII that fold into it.
fn same_but_for_case(name: &str, known: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(known.chars().map(fold))
}

/// RFC 3339 as Go reads it: `2006-01-02T15:04:05[.fraction](Z|±hh:mm)`. Written out because general parsers take more.
fn expiry(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let at = |index: usize, byte: u8| bytes.get(index) == Some(&byte);
    let head = digits(0..4)
        && at(4, b'-')
        && digits(5..7)
        && at(7, b'-')
        && digits(8..10)
        && at(10, b'T')
        && digits(11..13)
        && at(13, b':')
        && digits(14..16)
        && at(16, b':')
        && digits(17..19)
        // A leap second is read by some and refused by others.
        && bytes.get(17..19) != Some(b"60");
    let mut rest = text.get(19..).filter(|_| head)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit())?;
        if end == 0 || end > 9 {
            return None;
        }
        rest = fraction.get(end..)?;
    }
    let zone = rest.as_bytes();
    let offset = match zone {
        b"Z" => true,
        [b'+' | b'-', a, b, b':', c, d] => {
            [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) && (*a, *b) < (b'2', b'4') && *c < b'6'
        }
        _ => false,
    };
    if !offset {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_rfc_3339_and_nothing_else() {
        for good in
            ["2030-01-02T03:04:05Z", "2030-01-02T03:04:05.123456789Z", "2030-01-02T03:04:05+02:00", "2030-01-02T03:04:05.1-23:59"]
        {
            assert!(expiry(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "2030-01-02",
            "2030-01-02 03:04:05Z",
            "2030-01-02T03:04:05",
            "2030-01-02t03:04:05z",
            "2030-13-02T03:04:05Z",
            "2030-02-30T03:04:05Z",
            "2030-01-02T24:04:05Z",
            "2030-01-02T03:04:60Z",
            "2030-01-02T03:04:05.Z",
            "+002030-01-02T03:04:05Z",
            "2030-01-02T03:04:05+0200",
            "2030-01-02T03:04:05Z[UTC]",
            "2030-01-02T03:04:05+24:00",
            "20300102T030405Z",
            " 2030-01-02T03:04:05Z",
            "2030-01-02T03:04:05é",
        ] {
            assert!(expiry(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_that_go_would_fold_are_told() {
        assert!(same_but_for_case("Signed", "signed"));
        assert!(same_but_for_case("\u{17f}igned", "signed"));
        assert!(same_but_for_case("\u{212a}eys", "keys"));
        assert!(!same_but_for_case("signed2", "signed"));
    }
}
