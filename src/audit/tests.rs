//! The chain through all of its life: rotation, restarts, commands beside the gate, writers that were killed; and what is done to it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::file::LogFile;
use super::{Begin, Entry, Event, FileJournal, Journal as _, JournalLimits, Verified, What, Wrong, parts};

/// The format as it is given to others.
static SCHEMA: LazyLock<(boon::Schemas, boon::SchemaIndex)> = LazyLock::new(|| {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../docs/audit-log.schema.json")).unwrap();
    let name = schema["$id"].as_str().unwrap().to_owned();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.enable_format_assertions();
    compiler.add_resource(&name, schema).unwrap();
    let index = compiler.compile(&name, &mut schemas).unwrap();
    (schemas, index)
});

/// Holds what any test records against the format.
pub(super) fn hold_against_the_schema(entry: &serde_json::Value) {
    let (schemas, index) = &*SCHEMA;
    if let Err(error) = schemas.validate(entry, *index) {
        panic!("docs/audit-log.schema.json does not describe {entry}\n{error}");
    }
}

/// Small files, so that a few entries fill several; a command never rotates.
const SMALL: JournalLimits = JournalLimits { file_bytes: 900, files: 8, age: None };
const OF_COMMANDS: JournalLimits = JournalLimits { file_bytes: u64::MAX, files: 0, age: None };

fn open(path: &Path, limits: JournalLimits) -> LogFile {
    let log = LogFile::new(path.to_owned(), limits);
    log.look().unwrap();
    log
}

fn entry(number: usize) -> Vec<u8> {
    let mut entry = Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Allowed);
    entry.message = format!("entry {number}");
    serde_json::to_vec(&entry).unwrap()
}

fn append(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn verify(path: &Path) -> Verified {
    super::verify("log", &parts(path).unwrap(), &[]).unwrap()
}

/// The files of a log, the oldest first, with what is in them.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = parts(path).unwrap().into_iter().map(|part| path.with_file_name(part.name));
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// A log of three files, and its folder.
fn three_files() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path, SMALL);
    let mut number = 0;
    while contents(&path).len() < 3 || lines(&fs::read(&path).unwrap()).len() < 2 {
        log.write(&entry(number)).unwrap();
        number += 1;
    }
    (dir, path)
}

#[test]
fn a_chain_goes_on_across_rotation_restarts_and_commands() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for restart in 0..4 {
        let gate = open(&path, SMALL);
        for number in 0..3 {
            gate.write(&entry(restart * 10 + number)).unwrap();
            open(&path, OF_COMMANDS).write(&entry(restart * 10 + number + 5)).unwrap();
        }
    }
    let verified = verify(&path);
    assert_eq!((verified.fault.clone(), verified.entries, verified.begin), (None, 24, Some(Begin::Start)), "{verified:?}");
    assert!(verified.remarks.is_empty());
    // What rotates away is the known beginning.
    let gate = open(&path, JournalLimits { files: 2, ..SMALL });
    for number in 0..20 {
        gate.write(&entry(number)).unwrap();
    }
    for number in 3..=8 {
        let _ = fs::remove_file(super::file::rotated(&path, number));
    }
    let verified = verify(&path);
    assert_eq!((verified.fault.clone(), verified.begin), (None, Some(Begin::Earlier)), "{verified:?}");
    assert!(verified.first.unwrap().file.ends_with("log.2"));
}

#[test]
fn a_command_that_was_opened_before_a_rotation_writes_to_the_file_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let gate = open(&path, SMALL);
    let command = open(&path, OF_COMMANDS);
    for number in 0..8 {
        gate.write(&entry(number)).unwrap();
    }
    command.write(&entry(8)).unwrap();
    gate.write(&entry(9)).unwrap();
    assert_eq!((verify(&path).fault, verify(&path).entries), (None, 10));
}

/// As rotation leaves the files before the first entry is written to the new one.
fn rotate_by_hand(path: &Path, with_new: bool) {
    for number in (1..8).rev() {
        let _ = fs::rename(super::file::rotated(path, number), super::file::rotated(path, number + 1));
    }
    fs::rename(path, super::file::rotated(path, 1)).unwrap();
    if with_new {
        append(path, b"");
    }
}

#[test]
fn who_comes_upon_a_rotation_half_done_follows_the_last_entry_of_all() {
    for (limits, rotations, with_new) in [
        (OF_COMMANDS, 1, true),
        (OF_COMMANDS, 1, false),
        (SMALL, 1, true),
        (SMALL, 1, false),
        (OF_COMMANDS, 2, true),
        (SMALL, 2, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let gate = open(&path, SMALL);
        gate.write(&entry(0)).unwrap();
        // It has seen one entry, and the gate goes on.
        let other = open(&path, limits);
        gate.write(&entry(1)).unwrap();
        for rotation in 0..rotations {
            if rotation > 0 {
                open(&path, SMALL).write(&entry(2)).unwrap();
            }
            rotate_by_hand(&path, with_new);
        }
        other.write(&entry(3)).unwrap();
        gate.write(&entry(4)).unwrap();
        let verified = verify(&path);
        assert_eq!((verified.fault.clone(), verified.entries), (None, 3 + rotations), "{rotations} {with_new} {verified:?}");
        assert_eq!(gate.look().unwrap(), None, "a rotation is no loss");
    }
}

#[test]
fn two_gates_that_write_and_rotate_at_once_make_one_chain() {
    // A gate that does not come to run while it holds the lock is waited for 20 ms, as decisions are not to wait: seldom, but a busy machine may
    // do that.
    let is_one_chain = (0..5).any(|_| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let limits = JournalLimits { file_bytes: 8000, files: 8, age: None };
        let gates = [open(&path, limits), open(&path, limits)];
        std::thread::scope(|scope| {
            for gate in &gates {
                scope.spawn(|| (0..150).for_each(|number| gate.write(&entry(number)).unwrap()));
            }
        });
        let verified = verify(&path);
        (verified.fault, verified.entries) == (None, 300)
    });
    assert!(is_one_chain);
}

#[test]
fn a_file_is_rotated_by_age_and_a_clock_that_is_set_back_holds_nothing_up() {
    const HOUR: i64 = 3600;
    let limits = JournalLimits { age: Some(std::time::Duration::from_hours(24)), ..JournalLimits::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let at = |hours: i64| {
        let time = jiff::Timestamp::from_second(1_800_000_000 + hours * HOUR).unwrap();
        serde_json::to_vec(&Entry::new(time, Event::Allowed)).unwrap()
    };
    let counts = || contents(&path).iter().map(|(_, bytes)| lines(bytes).len()).collect::<Vec<_>>();
    let gate = open(&path, limits);
    for hours in [0, 1, 23] {
        gate.write(&at(hours)).unwrap();
    }
    assert_eq!(counts(), [3]);
    // Also of a gate that was started meanwhile; and of what a command began.
    open(&path, limits).write(&at(24)).unwrap();
    assert_eq!(counts(), [3, 1]);
    open(&path, OF_COMMANDS).write(&at(60)).unwrap();
    assert_eq!(counts(), [3, 2], "a command never rotates");
    gate.write(&at(61)).unwrap();
    assert_eq!(counts(), [3, 2, 1]);
    // Set back by days, it counts from there.
    for hours in [-100, -90] {
        gate.write(&at(hours)).unwrap();
    }
    assert_eq!(counts(), [3, 2, 3]);
    gate.write(&at(-76)).unwrap();
    assert_eq!((counts(), verify(&path).fault), (vec![3, 2, 3, 1], None));
    // Without an age nothing is old.
    let gate = open(&path, JournalLimits::default());
    gate.write(&at(100_000)).unwrap();
    assert_eq!(counts(), [3, 2, 3, 2]);
}

#[test]
fn gate_and_commands_that_write_at_once_make_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let gate = open(&path, JournalLimits { file_bytes: 20_000, files: 8, age: None });
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for number in 0..100 {
                    open(&path, OF_COMMANDS).write(&entry(number)).unwrap();
                }
            });
        }
        for number in 0..400 {
            gate.write(&entry(number)).unwrap();
            gate.look().unwrap();
        }
    });
    let verified = verify(&path);
    assert_eq!((verified.fault.clone(), verified.entries), (None, 600), "{verified:?}");
    assert!(contents(&path).len() > 2);
}

#[test]
fn who_holds_the_lock_for_ever_holds_up_no_decision() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let gate = open(&path, SMALL);
    let file = fs::File::open(&path).unwrap();
    file.lock().unwrap();
    let begun = std::time::Instant::now();
    for number in 0..3 {
        gate.write(&entry(number)).unwrap();
    }
    assert!(begun.elapsed() < std::time::Duration::from_millis(500), "waited for once, not three times");
    assert_eq!((verify(&path).fault, verify(&path).entries), (None, 3));
}

#[test]
fn a_writer_killed_at_any_byte_leaves_a_log_that_goes_on_and_is_good() {
    let (_dir, path) = three_files();
    let whole = fs::read(&path).unwrap();
    let all = verify(&path).entries;
    let before = all - lines(&whole).len() as u64;
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let found = verify(&path);
        assert_eq!(found.fault, None, "cut at {length}");
        let kept =
            before + whole[..length].split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).count() as u64;
        // Killed once, and started again.
        open(&path, SMALL).write(&entry(100)).unwrap();
        let after = fs::read(&path).unwrap();
        let found = verify(&path);
        assert_eq!(found.fault, None, "cut at {length}, started again");
        assert!(found.entries == kept + 1 || found.entries == kept + 2, "cut at {length}: {} {kept}", found.entries);
        assert!(String::from_utf8_lossy(&after).lines().last().unwrap().contains("entry 100"), "the new one is a line");
        // Killed again while that one was written.
        if length % 37 == 0 {
            for again in (length..after.len()).step_by(3) {
                fs::write(&path, &after[..again]).unwrap();
                open(&path, SMALL).write(&entry(101)).unwrap();
                assert_eq!(verify(&path).fault, None, "cut at {length}, and at {again}");
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(verify(&path).entries, all);
}

#[test]
fn a_line_that_was_not_written_to_its_end_is_told_and_covered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    open(&path, SMALL).write(&entry(0)).unwrap();
    append(&path, b"{\"half");
    let remarks = |verified: &Verified| verified.remarks.iter().map(|remark| (remark.what, remark.at.line)).collect::<Vec<_>>();
    let found = verify(&path);
    assert_eq!((found.fault.clone(), remarks(&found)), (None, vec![(What::Unfinished, 2)]));
    open(&path, SMALL).write(&entry(1)).unwrap();
    let found = verify(&path);
    assert_eq!((found.fault.clone(), found.entries, remarks(&found)), (None, 2, vec![(What::Covered, 2)]));
    // What is covered is chained too.
    let text = fs::read_to_string(&path).unwrap();
    for (changed, line) in [(text.replace("half", "heil"), 2), (text.replace("{\"half\n", ""), 2)] {
        fs::write(&path, changed).unwrap();
        let fault = verify(&path).fault.unwrap();
        assert_eq!((fault.why, fault.at.line), (Wrong::Covered, line));
    }
}

#[test]
fn entries_from_before_the_chain_are_told_and_those_behind_it_are_a_fault() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let old = [entry(0), b"\n".to_vec(), entry(1), b"\n".to_vec()].concat();
    fs::write(super::file::rotated(&path, 1), &old).unwrap();
    fs::write(&path, &old).unwrap();
    let found = verify(&path);
    assert_eq!((found.fault.clone(), found.head, found.remarks.len()), (None, None, 2));
    open(&path, SMALL).write(&entry(2)).unwrap();
    let found = verify(&path);
    assert_eq!((found.fault.clone(), found.entries, found.begin), (None, 1, Some(Begin::Start)), "{found:?}");
    assert!(found.remarks.iter().all(|remark| remark.what == What::Old && remark.lines == 2));
    // One that is added without a link is none of them.
    append(&path, &[entry(3), b"\n".to_vec()].concat());
    let fault = verify(&path).fault.unwrap();
    assert_eq!((fault.why, fault.at.line), (Wrong::NoLink, 4));
    // Nor does a file become old by losing its links.
    let (_dir, path) = three_files();
    let oldest = super::file::rotated(&path, 2);
    let without: String = fs::read_to_string(&oldest)
        .unwrap()
        .lines()
        .fold(String::new(), |text, line| text + line.split(",\"chain").next().unwrap() + "}\n");
    fs::write(&oldest, without).unwrap();
    assert_eq!(verify(&path).fault.unwrap().why, Wrong::Gap);
}

#[test]
fn a_cut_end_shows_only_against_a_head_kept_elsewhere() {
    let (_dir, path) = three_files();
    let head = verify(&path).head.unwrap();
    let whole = lines(&fs::read(&path).unwrap());
    fs::write(&path, whole[..whole.len() - 1].concat()).unwrap();
    let found = super::verify("log", &parts(&path).unwrap(), &[head]).unwrap();
    assert_eq!((found.fault, found.found.len()), (None, 0));
    fs::write(&path, whole.concat()).unwrap();
    open(&path, SMALL).write(&entry(7)).unwrap();
    let found = super::verify("log", &parts(&path).unwrap(), &[head]).unwrap();
    assert_eq!((found.fault, found.found), (None, vec![(head, 1)]));
}

#[test]
fn a_file_that_was_moved_away_or_emptied_while_the_gate_writes_is_missed() {
    for emptied in [false, true] {
        let (_dir, path) = three_files();
        let gate = open(&path, SMALL);
        gate.write(&entry(8)).unwrap();
        if emptied {
            fs::write(&path, "").unwrap();
        } else {
            fs::rename(&path, path.with_file_name("elsewhere")).unwrap();
        }
        gate.look().unwrap();
        gate.write(&entry(9)).unwrap();
        let fault = verify(&path).fault.unwrap();
        assert_eq!((fault.why, fault.at.line), (Wrong::Gap, 1), "emptied: {emptied}");
    }
}

/// What happens to a log in its life.
#[derive(Debug, Clone)]
enum Step {
    Write,
    Command,
    /// One that was opened when the log was new.
    OldCommand,
    OtherGate,
    Restart,
    Killed(usize),
    /// The disk is full in the middle of a line; the gate goes on.
    Full(usize),
}

/// What somebody does to it.
#[derive(Debug, Clone)]
enum Deed {
    Edit(prop::sample::Index, u8),
    /// Bytes of one file, not lines.
    Bite(prop::sample::Index, prop::sample::Index, usize),
    Cut(prop::sample::Index, prop::sample::Index),
    /// Two files change places.
    Files(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Insert(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Write),
        1 => Just(Step::Command),
        1 => Just(Step::OldCommand),
        1 => Just(Step::OtherGate),
        1 => Just(Step::Restart),
        1 => (1usize..40).prop_map(Step::Killed),
        1 => (1usize..40).prop_map(Step::Full),
    ];
    prop::collection::vec(step, 2..14)
}

fn deed() -> impl Strategy<Value = Deed> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), 1u8..).prop_map(|(at, by)| Deed::Edit(at, by)),
        2 => (index(), index(), 1usize..400).prop_map(|(file, at, bytes)| Deed::Bite(file, at, bytes)),
        2 => (index(), index()).prop_map(|(from, to)| Deed::Cut(from, to)),
        1 => (index(), index()).prop_map(|(one, other)| Deed::Files(one, other)),
        2 => (index(), index()).prop_map(|(one, other)| Deed::Swap(one, other)),
        1 => (index(), index()).prop_map(|(what, to)| Deed::Repeat(what, to)),
        1 => index().prop_map(Deed::Insert),
    ]
}

/// A log that has lived so, at `path`; it ends with a whole line.
fn live(path: &Path, steps: &[Step]) {
    let mut gate = open(path, SMALL);
    let (other, command) = (open(path, SMALL), open(path, OF_COMMANDS));
    for (number, step) in steps.iter().chain([&Step::Write, &Step::Write]).enumerate() {
        match step {
            Step::Write => gate.write(&entry(number)).unwrap(),
            Step::Command => open(path, OF_COMMANDS).write(&entry(number)).unwrap(),
            Step::OldCommand => command.write(&entry(number)).unwrap(),
            Step::OtherGate => other.write(&entry(number)).unwrap(),
            Step::Full(bytes) => append(path, &entry(number)[..*bytes]),
            Step::Restart => gate = open(path, SMALL),
            Step::Killed(bytes) => {
                append(path, &entry(number)[..*bytes]);
                gate = open(path, SMALL);
            }
        }
    }
}

/// Does it, and says whether that changed anything that the chain must show.
fn is_done(path: &Path, deed: &Deed) -> bool {
    let files = contents(path);
    let texts: Vec<Vec<Vec<u8>>> = files.iter().map(|(_, bytes)| lines(bytes)).collect();
    let places: Vec<(usize, usize)> =
        texts.iter().enumerate().flat_map(|(file, lines)| (0..lines.len()).map(move |line| (file, line))).collect();
    let write = |texts: &[Vec<Vec<u8>>]| {
        for ((path, _), lines) in files.iter().zip(texts) {
            fs::write(path, lines.concat()).unwrap();
        }
    };
    let mut done = texts.clone();
    match deed {
        Deed::Edit(at, by) => {
            let all: Vec<(usize, usize)> =
                files.iter().enumerate().flat_map(|(file, (_, bytes))| (0..bytes.len()).map(move |byte| (file, byte))).collect();
            let (file, byte) = *at.get(&all);
            let mut bytes = files[file].1.clone();
            bytes[byte] ^= by;
            fs::write(&files[file].0, bytes).unwrap();
            return true;
        }
        Deed::Bite(file, at, bytes) => {
            let file = file.index(files.len());
            let mut text = files[file].1.clone();
            let from = at.index(text.len());
            let to = (from + bytes).min(text.len());
            let is_end = file + 1 == files.len() && to == text.len();
            // Without its last line's end a file still says the same.
            let is_told = text[from..to] == *b"\n" && to == text.len();
            if is_end || is_told || (file == 0 && (from, to) == (0, text.len())) {
                return false;
            }
            text.drain(from..to);
            fs::write(&files[file].0, text).unwrap();
            return true;
        }
        Deed::Files(one, other) => {
            let (one, other) = (one.index(files.len()), other.index(files.len()));
            done.swap(one, other);
        }
        // Not the end: that only a head kept elsewhere shows. Nor the whole of the oldest file, as if it had rotated away.
        Deed::Cut(from, to) => {
            let inner = &places[..places.len() - 1];
            let (from, to) = (from.index(inner.len()), to.index(inner.len()));
            let cut = &inner[from.min(to)..=from.max(to)];
            for (file, line) in cut {
                done[*file][*line].clear();
            }
            let first_left = done.iter().position(|lines| lines.iter().any(|line| !line.is_empty())).unwrap();
            let only_whole_files = cut.iter().all(|(file, _)| *file < first_left);
            if only_whole_files {
                return false;
            }
        }
        Deed::Swap(one, other) => {
            let ((one, a), (other, b)) = (*one.get(&places), *other.get(&places));
            let kept = done[one][a].clone();
            done[one][a] = done[other][b].clone();
            done[other][b] = kept;
        }
        Deed::Repeat(what, to) => {
            let ((what, a), (to, b)) = (*what.get(&places), *to.get(&places));
            let line = texts[what][a].clone();
            done[to].insert(b, line);
        }
        Deed::Insert(at) => {
            let (file, line) = *at.get(&places);
            done[file].insert(line, [entry(99), b"\n".to_vec()].concat());
        }
    }
    write(&done);
    done != texts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_edit_inner_cut_and_reorder_is_found(steps in steps(), deed in deed()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        live(&path, &steps);
        let before = verify(&path);
        prop_assert_eq!(&before.fault, &None);
        if is_done(&path, &deed) {
            let after = verify(&path);
            // A last line that has lost its end looks like one that is being written, and is told.
            let is_unfinished = after.remarks.last().is_some_and(|remark| remark.what == What::Unfinished);
            // And one that has lost all links looks like one from before there were any, which is told as well.
            let is_told = is_unfinished || (after.entries == 0 && after.remarks.iter().any(|remark| remark.what == What::Old));
            prop_assert!(after.fault.is_some() || is_told, "{:?}", after);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_log_of_any_life_that_is_cut_at_any_byte_goes_on_and_is_good(
        steps in steps(), at in any::<prop::sample::Index>(), more in steps()
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        live(&path, &steps);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..at.index(whole.len() + 1)]).unwrap();
        live(&path, &more);
        let verified = verify(&path);
        prop_assert_eq!(&verified.fault, &None, "{:?}", verified);
    }
}

#[test]
fn entries_of_every_kind_and_field_are_as_the_schema_says() {
    let mut entry = Entry::new(jiff::Timestamp::UNIX_EPOCH, Event::Gate);
    for event in Event::ALL {
        entry.event = event;
        assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        hold_against_the_schema(&serde_json::to_value(&entry).unwrap());
    }
    entry.decision_id = "1795318378-0".into();
    for text in [
        &mut entry.user,
        &mut entry.method,
        &mut entry.path,
        &mut entry.container_id,
        &mut entry.container_name,
        &mut entry.container_image,
        &mut entry.image,
        &mut entry.image_id,
        &mut entry.digest,
        &mut entry.message,
        &mut entry.sudo_user,
        &mut entry.settings,
    ] {
        "text".clone_into(text);
    }
    (entry.action, entry.right, entry.code, entry.version) = ("pull", "image_pull", "not-signed", "0.1.0");
    entry.shadow_code = "image-rule";
    entry.verifiers = vec![crate::trust::VerifierName::NOTARY];
    (entry.signers, entry.warnings, entry.changed) = (vec!["a".into()], vec!["b".into()], vec!["c".into()]);
    entry.rules = vec!["no-root"];
    entry.exceptions = vec![crate::policy::ExceptionUse {
        id: "x0".into(),
        owner: "alice".into(),
        ticket: Some("OPS-1".into()),
        expires: entry.timestamp,
        vouches: true,
        lifts: vec!["no-root"],
    }];
    (entry.stale_since, entry.stale_until) = (Some(entry.timestamp), Some(entry.timestamp));
    (entry.login_uid, entry.count) = (Some(1000), 2);
    (entry.mode, entry.posture) = (Some(crate::policy::Mode::Permissive), Some(crate::policy::Posture::Lockdown));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path, SMALL);
    append(&path, b"half");
    log.write(&serde_json::to_vec(&entry).unwrap()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    hold_against_the_schema(&line);
    // It describes these and no other.
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../docs/audit-log.schema.json")).unwrap();
    let described: std::collections::BTreeSet<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(described, line.as_object().unwrap().keys().collect());
}

/// Kilobytes that this process holds.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "a measurement: cargo test --lib audit::tests::a_million -- --ignored --nocapture"]
fn a_million_lines_are_verified_within_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let gate = open(&path, JournalLimits { file_bytes: 64 << 20, ..JournalLimits::default() });
    let line = entry(0);
    (0..1_000_000).for_each(|_| gate.write(&line).unwrap());
    let held = resident();
    let begun = std::time::Instant::now();
    let verified = verify(&path);
    let more = resident().saturating_sub(held);
    println!("verified {} entries in {:.2} s, {more} kB more", verified.entries, begun.elapsed().as_secs_f64());
    assert_eq!((verified.fault, verified.entries), (None, 1_000_000));
    assert!(more < 4096);
}

#[test]
#[ignore = "a measurement: cargo test --lib audit::tests::entries_a_second -- --ignored --nocapture"]
fn entries_a_second() {
    const ENTRIES: u32 = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let mut entry = Entry::new(crate::clock::now(), Event::Allowed);
    entry.decision_id = "1795318378-2".into();
    entry.method = "POST".into();
    entry.path = "/v1.41/containers/create".into();
    entry.action = "create";
    entry.image = "registry.example:5000/app:1.0".into();
    (entry.image_id, entry.digest) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
    entry.verifiers = vec![crate::trust::VerifierName::NOTARY];
    entry.signers = vec!["maker".into()];
    let per = |took: std::time::Duration| took.as_secs_f64() * 1e6 / f64::from(ENTRIES);
    // As it was: the same line without a link, one write each.
    let mut plain = fs::OpenOptions::new().append(true).create(true).open(dir.path().join("plain")).unwrap();
    let begun = std::time::Instant::now();
    for _ in 0..ENTRIES {
        let mut line = serde_json::to_vec(&entry).unwrap();
        line.push(b'\n');
        plain.write_all(&line).unwrap();
    }
    println!("without a chain: {:.1} µs an entry", per(begun.elapsed()));
    let path = dir.path().join("audit.jsonl");
    let journal = FileJournal::open(&path, JournalLimits::default()).unwrap();
    let held = resident();
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ENTRIES / 2 {
                    journal.record(&entry);
                }
            });
        }
    });
    let took = begun.elapsed();
    let rate = f64::from(ENTRIES) / took.as_secs_f64();
    println!("with it: {:.1} µs an entry, {rate:.0} entries a second from two threads; lost {}", per(took), journal.lost());
    println!("memory: {} kB more", resident().saturating_sub(held));
    let begun = std::time::Instant::now();
    let verified = verify(&path);
    println!("verified {} entries in {:.2} s", verified.entries, begun.elapsed().as_secs_f64());
    assert_eq!((verified.fault, journal.lost()), (None, 0));
    assert!(rate > 20_000.0);
}
