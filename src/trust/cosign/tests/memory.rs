//! What strangers' bundles cost in memory, before anybody is known to have signed them: each in a process of its own.

use std::process::Command;

use super::*;
use crate::trust::sigstore::fixture::{Instance, Version};

/// Set for the process that is measured: which bundle.
const MEASURE: &str = "COSIGN_MEMORY_MEASURE";
/// Most of memory beyond the bundle itself and its copy in the fake registry, MB. What is decoded of it, and what it is copied from, count.
const PEAK: u64 = 40;

/// Bundles of 8 MiB that are small things, many times.
fn bundle(which: &str) -> String {
    let instance = Instance::new();
    let good = instance.bundle(&instance.signer(), Version::V1, good_statement().as_bytes()).to_string();
    let room = (8 << 20) - good.len() - 16;
    match which {
        "members" => {
            let members: String = (0..).map(|number: u32| format!("\"{number:x}\":0,")).take(room / 10).collect();
            good.replacen('{', &format!("{{\"x\":{{{}}},", members.trim_end_matches(',')), 1)
        }
        "hashes" => good.replacen("\"hashes\":[", &format!("\"hashes\":[{}", "\"\",".repeat(room / 3)), 1),
        "entries" => good.replacen("\"tlogEntries\":[", &format!("\"tlogEntries\":[{}", "{},".repeat(room / 3)), 1),
        "number" => good.replacen("\"logIndex\":", &format!("\"logIndex\":[{}0],\"was\":", "0,".repeat(room / 2)), 1),
        _ => format!("{}{}", "[".repeat(room), good),
    }
}

/// A line of `/proc/self/status`, in MB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test in a process of its own")]
fn bundles_of_many_small_things_fill_no_memory() {
    let Ok(which) = std::env::var(MEASURE) else {
        for which in ["members", "hashes", "entries", "number", "brackets"] {
            let ran = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "trust::cosign::tests::memory::bundles_of_many_small_things_fill_no_memory", "--nocapture"])
                .env(MEASURE, which)
                .output()
                .unwrap();
            assert!(
                ran.status.success(),
                "{which}: {}{}",
                String::from_utf8_lossy(&ran.stdout),
                String::from_utf8_lossy(&ran.stderr)
            );
        }
        return;
    };
    let bundle = bundle(&which).into_bytes();
    assert!(bundle.len() <= 8 << 20, "{}", bundle.len());
    // What it took to make it does not count.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let offer = bundle::opened(&bundle, bundle::Proofs::Read);
    assert!(offer.is_err(), "{which}");
    let peak = memory("VmHWM").saturating_sub(before);
    println!("{which}: {peak} MB");
    assert!(peak <= PEAK, "{which}: {peak} MB");
}
