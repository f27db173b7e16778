//! The drop-in for docker's unit that switches cleartext HTTP/2 off in dockerd: engines from 29.2 on answer BuildKit over it, and ask no
//! plugin (docs/doctor.md, `grpc-unasked`).

use std::path::Path;

use crate::files::{read_text, replace_regular};

/// Where systemd looks for it.
pub(super) const PATH: &str = "/etc/systemd/system/docker.service.d/img-authz-http2.conf";
/// What dockerd's Go is told.
const SWITCH: &str = "http2server=0";
/// Largest file or environment read.
const BYTES: u64 = 64 << 10;

/// The file's text: with the switches that dockerd has in its environment already, since the variable is one.
pub(super) fn text(godebug: Option<&str>) -> Result<String, String> {
    let others =
        godebug.unwrap_or_default().split(',').filter(|switch| !switch.is_empty() && !switch.starts_with("http2server="));
    let all: Vec<&str> = others.chain([SWITCH]).collect();
    let all = all.join(",");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '=' | ',' | '_' | '-' | '.');
    if !all.chars().all(is_plain) {
        return Err("GODEBUG in dockerd's environment holds letters that it cannot mean; correct it first".to_owned());
    }
    Ok(format!(
        "# Written by `img-authz enable --close-http2`: no call reaches the engine over cleartext HTTP/2, where no plugin is asked.\n[Service]\n\
         Environment=GODEBUG={all}\n"
    ))
}

/// GODEBUG of a process.
pub(super) fn godebug(pid: u32) -> Option<String> {
    let environment = crate::files::read_bytes(Path::new(&format!("/proc/{pid}/environ")), BYTES).ok()?;
    let variable = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(b"GODEBUG="))?;
    Some(String::from_utf8_lossy(variable).into_owned())
}

/// Writes it; whether it had to.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<bool> {
    if read_text(path, BYTES).is_ok_and(|found| found == text) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    replace_regular(path, text.as_bytes(), 0o644)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_that_dockerd_has_stay_and_what_is_none_is_refused() {
        let line = |godebug| text(godebug).map(|text| text.lines().last().unwrap_or_default().to_owned());
        assert_eq!(line(None).unwrap(), "Environment=GODEBUG=http2server=0");
        assert_eq!(line(Some("madvdontneed=1,http2server=1")).unwrap(), "Environment=GODEBUG=madvdontneed=1,http2server=0");
        line(Some("x=1\nExecStart=/bin/sh")).unwrap_err();
        line(Some("x=%n")).unwrap_err();
    }

    #[test]
    fn it_is_written_once_and_nothing_else_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.service.d/x.conf");
        assert!(write(&path, "a\n").unwrap());
        assert!(!write(&path, "a\n").unwrap());
        assert!(write(&path, "b\n").unwrap());
        let link = folder.path().join("docker.service.d/link.conf");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, "c\n").unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b\n");
    }
}
