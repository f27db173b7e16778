//! Lists that must be signed, through their histories: each start is an [`Allowlist`] with nothing but the folder to remember by.

use super::super::kept::{Keeping, Shelf};
use super::super::signed::{ListKey, sign};
use super::super::{Allowlist, Signing};
use super::*;

/// As `openssl genpkey -algorithm ed25519` writes them.
const ONE: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINETWJpsUagly8UqddBoWoqRCx+/TCzzu1C8/QBHSSDn\n-----END PRIVATE KEY-----\n";
const TWO: &str =
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDSC2IoSXHaH9t7m31WANDfDxTQw7pT4wyQdKJ+PrtLv\n-----END PRIVATE KEY-----\n";

fn text(private: &str, serial: u64, byte: u8) -> String {
    let entry = Entry { digest: Some(digest(byte)), ..Entry::default() };
    let list = ListFile { entries: vec![entry], serial: Some(serial), ..ListFile::default() };
    sign(&list, private).unwrap().0
}

fn key(private: &str) -> ListKey {
    sign(&ListFile { serial: Some(1), ..ListFile::default() }, private).unwrap().1
}

/// A gate's start with this key.
fn start(disk: &OnDisk, key: ListKey) -> Allowlist {
    let shelf = Shelf::new(Some(disk.folder.path().to_owned()), Keeping::Keeps);
    Allowlist::load_signed(disk.path(), Signing { key, shelf })
}

/// What is in force: the serial, and whether the entry of it is.
fn in_force(list: &Allowlist) -> (Option<u64>, Vec<u8>) {
    let listed = (1..=9).filter(|byte| any_of(list, "a", &[*byte]).is_ok()).collect();
    (list.status().serial, listed)
}

fn fault(list: &Allowlist) -> String {
    list.status().fault.map(|fault| fault.to_string()).unwrap_or_default()
}

#[test]
fn a_signed_list_counts_and_is_json_that_reads_without_its_key_too() {
    let disk = OnDisk::new("");
    disk.write(&text(ONE, 7, 1));
    let list = start(&disk, key(ONE));
    assert_eq!((in_force(&list), fault(&list)), ((Some(7), vec![1]), String::new()));
    let json: serde_json::Value = serde_json::from_str(&text(ONE, 7, 1)).unwrap();
    assert_eq!((&json["serial"], json["signature"].as_str().unwrap().len()), (&7.into(), 88));
    let read = ListFile::read(&disk.path()).unwrap();
    assert_eq!((read.serial, read.is_signed, read.entries.len()), (Some(7), true, 1));
    assert!(any_of(&disk.load(), "a", &[1]).is_ok(), "without a key nobody must have signed");
}

#[test]
fn what_the_key_did_not_sign_is_refused_in_every_form() {
    let good = text(ONE, 7, 1);
    let (one, two) = (digest(1).to_string(), digest(2).to_string());
    let signature = good.get(good.len() - 92..good.len() - 4).unwrap();
    let body = good.replace(&format!(",\n  \"signature\": \"{signature}\""), "");
    let forged = body.replace(&one, &two);
    for (what, text, told) in [
        ("no signature", body.clone(), "is not signed, and must be"),
        ("another key", text(TWO, 7, 1), "not signed by key"),
        ("another digest", good.replace(&one, &two), "changed after it was signed"),
        ("another serial", good.replace("\"serial\": 7", "\"serial\": 8"), "changed after"),
        ("a signature of zeros", good.replace(signature, &format!("{}==", "A".repeat(86))), "not signed by key"),
        ("a second list before it", forged.clone() + &good, "not signed by key"),
        ("a second list behind it", good.clone() + &forged, "is not signed"),
        ("laid out anew", good.replace("\n  \"signature\"", "\n \"signature\""), "is not signed"),
        ("a space behind it", good.clone() + " ", "is not signed"),
        (
            "the signature as a member of its own in front",
            forged.replacen("{\n", &format!("{{\n  \"signature\": \"{signature}\",\n"), 1),
            "is not signed",
        ),
        ("nothing", String::new(), "is not signed"),
        ("half of it", good.get(..good.len() / 2).unwrap().to_owned(), "is not signed"),
    ] {
        let disk = OnDisk::new("");
        disk.write(&text);
        let list = start(&disk, key(ONE));
        assert_eq!(in_force(&list), (None, vec![]), "{what}");
        assert!(fault(&list).contains(told), "{what}: {}", fault(&list));
        assert_eq!(any_of(&list, "a", &[1]), Err(TrustCode::AllowlistUnavailable), "{what}");
        // Its twin, whole, is taken up by the same list.
        disk.write(&good);
        assert_eq!(in_force(&list), (Some(7), vec![1]), "{what}");
        disk.write(&text);
        assert_eq!(in_force(&list), (Some(7), vec![1]), "{what}: the last good one stays");
    }
}

#[test]
fn an_older_list_and_another_of_the_same_serial_are_refused_also_after_a_restart() {
    let disk = OnDisk::new("");
    disk.write(&text(ONE, 7, 1));
    let running = start(&disk, key(ONE));
    assert_eq!(in_force(&running), (Some(7), vec![1]));
    disk.write(&text(ONE, 8, 2));
    assert_eq!(in_force(&running), (Some(8), vec![2]));
    for (serial, byte, told) in [(7, 1, "its serial is 7, and a list with serial 8"), (8, 3, "another list with this serial")] {
        disk.write(&text(ONE, serial, byte));
        for list in [&running, &start(&disk, key(ONE))] {
            assert_eq!(in_force(list), (Some(8), vec![2]), "{told}");
            assert!(fault(list).contains(told), "{}", fault(list));
        }
    }
    // The same again, and a newer one, are no attacks.
    for (serial, byte) in [(8, 2), (12, 4)] {
        disk.write(&text(ONE, serial, byte));
        assert_eq!(in_force(&running), (Some(serial), vec![byte]));
        assert_eq!((in_force(&start(&disk, key(ONE))), fault(&running)), ((Some(serial), vec![byte]), String::new()));
    }
}

#[test]
fn a_list_that_is_taken_away_stays_in_force_also_after_a_restart() {
    let disk = OnDisk::new("");
    disk.write(&text(ONE, 7, 1));
    assert_eq!(in_force(&start(&disk, key(ONE))), (Some(7), vec![1]));
    fs::remove_file(disk.path()).unwrap();
    let list = start(&disk, key(ONE));
    assert_eq!((in_force(&list), fault(&list)), ((Some(7), vec![1]), "there is no such file".to_owned()));
    // An empty one with a higher serial is how everything is taken back.
    disk.write(&sign(&ListFile { serial: Some(8), ..ListFile::default() }, ONE).unwrap().0);
    assert_eq!(in_force(&list), (Some(8), vec![]));
}

#[test]
fn what_is_kept_is_believed_for_its_signature_and_its_loss_is_said() {
    let disk = OnDisk::new("");
    disk.write(&text(ONE, 8, 2));
    let first = start(&disk, key(ONE));
    let news = first.news();
    assert!(matches!(&news[..], [one] if one.contains("serial 8") && one.contains("no earlier serial")), "{news:?}");
    assert!(first.news().is_empty(), "said once");
    let kept = disk.folder.path().join(format!("signed-allowlist-{}.json", key(ONE).id()));
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(start(&disk, key(ONE)).news()[0].ends_with("is in force"), "it was known");
    // Somebody writes what they like into the state folder: it counts for nothing, and no list is refused for it.
    let forged = text(ONE, 8, 2).replace(&digest(2).to_string(), &digest(3).to_string());
    for other in [forged, text(TWO, 99, 3), "{".to_owned()] {
        fs::write(&kept, other).unwrap();
        disk.write("{");
        assert_eq!(in_force(&start(&disk, key(ONE))), (None, vec![]));
        disk.write(&text(ONE, 8, 2));
        assert_eq!(in_force(&start(&disk, key(ONE))), (Some(8), vec![2]));
    }
    // The state folder is new: an older list is believed, and that is said.
    fs::remove_file(&kept).unwrap();
    disk.write(&text(ONE, 7, 1));
    let list = start(&disk, key(ONE));
    assert_eq!(in_force(&list), (Some(7), vec![1]));
    assert!(list.news()[0].contains("no earlier serial of this key is known here"));
}

#[test]
fn a_running_gate_needs_no_kept_list_and_keeps_it_once_it_can() {
    let disk = OnDisk::new("");
    let state = disk.folder.path().join("state");
    let shelf = Shelf::new(Some(state.clone()), Keeping::Keeps);
    disk.write(&text(ONE, 8, 2));
    let list = Allowlist::load_signed(disk.path(), Signing { key: key(ONE), shelf: shelf.clone() });
    assert_eq!(in_force(&list), (Some(8), vec![2]), "there is no folder to keep it in");
    disk.write(&text(ONE, 7, 1));
    assert_eq!(in_force(&list), (Some(8), vec![2]));
    disk.write(&text(ONE, 9, 3));
    assert_eq!(in_force(&list), (Some(9), vec![3]));
    fs::create_dir(&state).unwrap();
    list.news();
    assert_eq!(shelf.newest(&key(ONE)).unwrap().unwrap().serial, 9);
    // A command looks, and writes nothing.
    disk.write(&text(ONE, 10, 4));
    let looks = Shelf::new(Some(state), Keeping::Looks);
    let command = Allowlist::load_signed(disk.path(), Signing { key: key(ONE), shelf: looks.clone() });
    assert_eq!((in_force(&command).0, looks.newest(&key(ONE)).unwrap().unwrap().serial), (Some(10), 9));
}

#[test]
fn another_key_begins_its_own_count_and_the_one_before_keeps_its() {
    let disk = OnDisk::new("");
    disk.write(&text(ONE, 40, 1));
    assert_eq!(in_force(&start(&disk, key(ONE))), (Some(40), vec![1]));
    // The key has changed and the list has not: nothing that the old key signed counts.
    assert_eq!(in_force(&start(&disk, key(TWO))), (None, vec![]));
    disk.write(&text(TWO, 1, 2));
    assert_eq!(in_force(&start(&disk, key(TWO))), (Some(1), vec![2]));
    assert_eq!(in_force(&start(&disk, key(ONE))), (Some(40), vec![1]), "the list of the new key is refused");
    disk.write(&text(ONE, 39, 3));
    assert_eq!(in_force(&start(&disk, key(ONE))), (Some(40), vec![1]));
    // One that was taken away signs nothing, also not what it signed before.
    disk.write(&text(ONE, 41, 1));
    assert_eq!(in_force(&start(&disk, ListKey::ended())), (None, vec![]));
}

#[test]
fn two_gates_that_share_a_folder_agree() {
    let disk = OnDisk::new("");
    disk.write(&text(ONE, 7, 1));
    let (a, b) = (start(&disk, key(ONE)), start(&disk, key(ONE)));
    disk.write(&text(ONE, 8, 2));
    assert_eq!(in_force(&a), (Some(8), vec![2]));
    disk.write(&text(ONE, 7, 1));
    // The other one has not seen the newer one itself.
    assert_eq!(in_force(&b), (Some(8), vec![2]));
}

#[test]
fn a_key_is_read_from_pem_and_base64_and_nothing_else() {
    let spki = key(ONE).to_base64();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----\n");
    // The last 43 characters hold the 32 bytes of it.
    for good in [spki.clone(), pem.clone(), format!("'{pem}'"), format!(" {spki}\n")] {
        assert_eq!(ListKey::read(&good), Ok(key(ONE)), "{good}");
    }
    for (bad, told) in [
        (ONE, "is a private key"),
        ("", "Ed25519"),
        ("listed.pub", "neither"),
        (&format!("{pem}{pem}"), "one public key"),
        ("AAAA", "not a public key"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "anybody can sign"),
        (include_str!("../../../../test/fixtures/cosign/keys/p256.pub"), "not an Ed25519 key"),
    ] {
        let why = ListKey::read(bad).unwrap_err();
        assert!(why.contains(told) || bad.is_empty(), "{bad}: {why}");
    }
}

#[test]
fn a_list_without_a_serial_is_not_signed_and_a_serial_is_a_number_from_one_on() {
    assert!(sign(&ListFile::default(), ONE).unwrap_err().contains("no serial"));
    assert!(sign(&ListFile { serial: Some(1), ..ListFile::default() }, "key").unwrap_err().contains("no private key"));
    for serial in ["0", "-1", "1.5", "\"1\"", "18446744073709551616"] {
        assert!(
            ListFile::parse(format!(r#"{{"version": 1, "serial": {serial}, "entries": []}}"#).as_bytes()).is_err(),
            "{serial}"
        );
    }
    assert_eq!(
        ListFile::parse(br#"{"version": 1, "serial": 18446744073709551615, "entries": []}"#).unwrap().serial,
        Some(u64::MAX)
    );
}

#[test]
fn a_signed_list_is_not_edited_here() {
    let disk = OnDisk::new("");
    disk.write(&text(ONE, 7, 1));
    let before = fs::read(disk.path()).unwrap();
    assert_eq!(edit(&disk.path(), |list| list.entries.clear()), Err(EditError::Signed));
    assert_eq!(fs::read(disk.path()).unwrap(), before);
}

/// One key, two lists: what is signed for one says nothing in the place of the other, here or on another host.
#[test]
fn a_list_counts_as_that_of_its_own_verifier_alone() {
    let of = |list: Option<&str>, serial, byte| {
        let entry = Entry { digest: Some(digest(byte)), ..Entry::default() };
        let list = ListFile { entries: vec![entry], serial: Some(serial), list: list.map(str::to_owned), ..ListFile::default() };
        sign(&list, ONE).unwrap().0
    };
    let prod = || key(ONE).of_list("prod".parse().unwrap());
    let disk = OnDisk::new("");
    disk.write(&of(Some("prod"), 12, 1));
    assert_eq!(in_force(&start(&disk, prod())), (Some(12), vec![1]));
    for (other, told) in [
        (Some("dev"), "signed as the list of verifier `dev`, and not as that of verifier `prod`"),
        (None, "verifier `allowlist`"),
    ] {
        disk.write(&of(other, 40, 2));
        let list = start(&disk, prod());
        assert_eq!(in_force(&list), (Some(12), vec![1]), "{other:?}");
        assert!(fault(&list).contains(told) && fault(&list).contains("allowlist sign --list prod"), "{}", fault(&list));
    }
    // The name is in what is signed.
    disk.write(&of(Some("dev"), 40, 2).replace("\"dev\"", "\"prod\""));
    assert!(fault(&start(&disk, prod())).contains("changed after it was signed"));
    disk.write(&of(Some("prod"), 13, 3));
    assert_eq!(in_force(&start(&disk, prod())), (Some(13), vec![3]));
    assert!(sign(&ListFile { serial: Some(1), list: Some("No Name".to_owned()), ..ListFile::default() }, ONE).is_err());
}
