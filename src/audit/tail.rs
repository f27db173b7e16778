//! The newest entries of the log, read back for those who look at the gate and not at its files.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Event;
use super::verify::parts;

/// How much of the end of each file is read, bytes: some hundred entries. Bounds what a look costs.
const TAIL_BYTES: u64 = 256 << 10;

/// An entry as it is told: what people look at of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// When.
    pub timestamp: Timestamp,
    /// What happened, as [`super::Event::as_str`] has it.
    pub event: String,
    /// Who made the call.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// What the call would do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// The container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// What it is called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_name: String,
    /// The image that it was asked for with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_image: String,
    /// The image as named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The digest vouched for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Who vouched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verifiers: Vec<String>,
    /// Who signed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// The refusal's code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The refusal's line, or what else there is to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether a refusal was carried out.
    pub enforced: bool,
    /// For how many refusals or calls it stands.
    pub count: u64,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            timestamp: Timestamp::UNIX_EPOCH,
            event: String::new(),
            user: String::new(),
            action: String::new(),
            container_id: String::new(),
            container_name: String::new(),
            container_image: String::new(),
            image: String::new(),
            digest: String::new(),
            verifiers: Vec::new(),
            signers: Vec::new(),
            code: String::new(),
            message: String::new(),
            enforced: true,
            count: 1,
        }
    }
}

/// Most entries about images that arrived among those that are told. There is a list of them elsewhere, and whoever loads images could push
/// all others out.
const AUDITED: usize = 20;

/// At most so many of the newest entries of the log at `path`, the newest first, across its rotated files. Lines that are no entries are
/// left out, and so are entries about images that arrived beyond the newest few.
pub fn newest(path: &Path, most: usize) -> io::Result<Vec<Told>> {
    let (mut told, mut audited) = (Vec::new(), 0);
    for mut part in parts(path)?.into_iter().rev() {
        let length = part.file.metadata()?.len();
        let begin = length.saturating_sub(TAIL_BYTES);
        part.file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        part.file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        // The first line of what was cut has no beginning, and is no JSON.
        let lines = bytes.rsplit(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Told>(line).ok());
        let lines = lines.filter(|told| {
            let is_audited = told.event == Event::Audited.as_str();
            audited += usize::from(is_audited);
            !is_audited || audited <= AUDITED
        });
        told.extend(lines.take(most.saturating_sub(told.len())));
        // Of a file that was cut the earlier ones are no continuation.
        if told.len() >= most || begin > 0 {
            break;
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_come_first_across_files_and_what_is_no_entry_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        assert_eq!(newest(&path, 5).unwrap(), []);
        let line = |n: u32| {
            format!("{{\"timestamp\":\"2030-01-01T00:00:0{n}Z\",\"event\":\"BLOCKED\",\"enforced\":false,\"message\":\"{n}\"}}\n")
        };
        std::fs::write(folder.path().join("audit.jsonl.1"), line(1) + &line(2)).unwrap();
        std::fs::write(&path, format!("{}no entry\n{}{{\"torn", line(3), line(4))).unwrap();
        let messages = |most| newest(&path, most).unwrap().into_iter().map(|told| told.message).collect::<Vec<_>>();
        assert_eq!(messages(9), ["4", "3", "2", "1"]);
        assert_eq!(messages(3), ["4", "3", "2"]);
        let told = &newest(&path, 1).unwrap()[0];
        assert_eq!((told.event.as_str(), told.enforced, told.count), ("BLOCKED", false, 1));
    }

    #[test]
    fn a_crowd_of_images_that_arrive_pushes_no_refusal_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let line = |event: &str| format!("{{\"event\":\"{event}\"}}\n");
        std::fs::write(&path, line("BLOCKED") + &line("AUDITED").repeat(200)).unwrap();
        let events: Vec<String> = newest(&path, 100).unwrap().into_iter().map(|told| told.event).collect();
        assert_eq!((events.len(), events.last().map(String::as_str)), (AUDITED + 1, Some("BLOCKED")));
    }

    #[test]
    fn a_long_log_costs_no_more_than_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let line = format!("{{\"event\":\"ALLOWED\",\"message\":\"{}\"}}\n", "x".repeat(1000));
        std::fs::write(folder.path().join("audit.jsonl.1"), &line).unwrap();
        std::fs::write(&path, line.repeat(1000)).unwrap();
        let found = newest(&path, usize::MAX).unwrap().len();
        assert!((250..270).contains(&found), "{found}");
    }
}
