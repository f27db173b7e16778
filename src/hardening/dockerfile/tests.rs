//! Each rule with a Dockerfile that breaks it and one that does not; the course's bad one; and no bytes do harm.

use proptest::prelude::*;

use super::*;

const BAD: &str = include_str!("../../../test/fixtures/dockerfiles/bad.Dockerfile");
const GOOD: &str = include_str!("../../../test/fixtures/dockerfiles/good.Dockerfile");

/// A last stage that keeps every rule, with more before its end.
fn good(lines: &str) -> String {
    format!("FROM a:1\n{lines}\nHEALTHCHECK CMD [\"x\"]\nUSER app\n")
}

fn found(text: &str) -> Vec<(&'static str, usize)> {
    let audited = audit(text, "Dockerfile");
    assert_eq!(audited.faults, [], "{text}");
    audited.findings.iter().map(|finding| (finding.rule.about().id, finding.line.unwrap())).collect()
}

fn ids(text: &str) -> Vec<&'static str> {
    found(text).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn the_deliberately_bad_dockerfile_yields_exactly_its_findings() {
    let audited = audit(BAD, "Dockerfile");
    let found: Vec<_> = audited.findings.iter().map(|finding| (finding.rule.about().id, finding.line.unwrap())).collect();
    assert_eq!(
        found,
        [
            ("tag-latest", 2),
            ("user-root", 2),
            ("healthcheck", 2),
            ("secrets", 5),
            ("network-tools", 7),
            ("package-cache", 7),
            ("copy-all", 11),
            ("world-writable", 12),
            ("exposed-ports", 14),
        ]
    );
    let ports = &audited.findings[8].evidence;
    assert_eq!(ports, "it exposes ports 22, 3306, 5432, 6379");
    assert!(!format!("{:?}", audited.findings).contains("hunter2"), "a secret is never shown");
    assert_eq!(found, super::tests::found(BAD), "and nothing of it is a fault");
}

#[test]
fn the_good_one_yields_none() {
    assert_eq!(found(GOOD), []);
    assert_eq!(found(&good("")), []);
}

#[test]
fn the_changed_lines_keep_the_rules() {
    let changes = fixed(BAD, &audit(BAD, "x").findings);
    let mut lines: Vec<String> = BAD.lines().map(str::to_owned).collect();
    for change in changes.iter().rev() {
        let at = change.line - 1;
        assert_eq!(lines[at..at + change.old.len()], change.old);
        lines.splice(at..at + change.old.len(), change.new.clone());
    }
    let text = lines.join("\n");
    assert_eq!(found(&text), [], "{text}");
    assert!(
        text.contains("FROM python:VERSION") && text.contains("chmod -R 755 /app") && text.contains("COPY WHAT-IT-NEEDS/ /app")
    );
    assert!(text.contains("EXPOSE 8080\n") && !text.contains("hunter2"), "{text}");
    assert_eq!(fixed(GOOD, &audit(GOOD, "x").findings), []);
}

#[test]
fn each_rule_has_a_dockerfile_that_breaks_it_and_one_that_does_not() {
    for (rule, breaks, keeps) in [
        ("secrets", "ENV API_KEY=abc", "ENV API_KEY_FILE=/run/secrets/key"),
        ("secrets", "ENV DB_PASSWORD abc", "ENV DB_PASSWORD $GIVEN"),
        ("secrets", "ARG TOKEN=abc", "ARG TOKEN"),
        ("secrets", "LABEL deploy-token=abc", "LABEL team=abc"),
        ("secrets", "RUN curl --password abc https://x", "RUN --mount=type=secret,id=x curl --password $(cat /run/secrets/x) y"),
        ("secrets", "RUN <<E\nexport TOKEN=abc\nE", "RUN <<E\nexport A=abc\nE"),
        ("exposed-ports", "EXPOSE 80 22/tcp", "EXPOSE 80 8022/tcp"),
        ("exposed-ports", "ARG P=3306\nEXPOSE $P", "ARG P\nEXPOSE $P"),
        ("world-writable", "COPY --chmod=777 a /b", "COPY --chmod=755 a /b"),
        ("world-writable", "RUN [\"chmod\", \"777\", \"/x\"]", "RUN [\"echo\", \"chmod\", \"777\"]"),
        ("world-writable", "RUN <<E\nset -e\nchmod 777 /x\nE", "RUN <<E python3\nchmod 777 /x\nE"),
        ("network-tools", "RUN apk add --no-cache curl", "RUN apk add --no-cache tini"),
        (
            "package-cache",
            "RUN apt-get update && apt-get install x",
            "RUN --mount=type=cache,target=/var/lib/apt apt-get update && apt-get install x",
        ),
        ("copy-all", "COPY . /app", "COPY src /app"),
        ("copy-all", "COPY [\"./\", \"/app\"]", "COPY --from=x . /app"),
        ("add-not-copy", "ADD a /b", "ADD a.tar.gz /b"),
        ("add-not-copy", "ADD https://x.example/a /b", "ADD --checksum=sha256:00 https://x.example/a /b"),
        (
            "update-alone",
            "RUN apt-get update && rm -r /var/lib/apt/lists",
            "RUN apt-get update && apt-get install x && rm -r /var/lib/apt/lists",
        ),
        ("sudo", "RUN sudo make", "RUN make"),
        ("setuid-files", "RUN chmod u+s /x", "RUN chmod u-s /x"),
        ("system-folder", "VOLUME [\"/etc/app\"]", "VOLUME /data"),
        ("system-folder", "WORKDIR /proc", "WORKDIR /"),
    ] {
        assert_eq!(ids(&good(breaks)), [rule], "{breaks}");
        assert_eq!(ids(&good(keeps)), [""; 0], "{keeps}");
    }
}

#[test]
fn bases_count_by_their_tags_in_every_stage() {
    let of = |from: &str| ids(&format!("{from}\nHEALTHCHECK CMD x\nUSER app"));
    for from in [
        "FROM a",
        "FROM a:latest",
        "FROM --platform=linux/amd64 r.example:5000/a",
        "ARG V=latest\nFROM a:$V",
        "FROM a AS b\nFROM c:1",
    ] {
        assert_eq!(of(from), ["tag-latest"], "{from}");
    }
    let digest = "0".repeat(64);
    for from in [
        "FROM a:1",
        "FROM scratch",
        "ARG V\nFROM a:$V",
        "ARG V=1\nFROM a:${V}",
        "FROM a:1 AS b\nFROM b",
        &format!("FROM a@sha256:{digest}"),
    ] {
        assert_eq!(of(from), [""; 0], "{from}");
    }
}

#[test]
fn only_the_last_stage_has_a_user_and_a_health_check() {
    for (text, expected) in [
        ("FROM a:1\nUSER app\nHEALTHCHECK CMD x\nFROM b:1", &["user-root", "healthcheck"][..]),
        ("FROM a:1 AS one\nUSER app\nHEALTHCHECK CMD x\nFROM One", &[]),
        ("FROM a:1\nUSER app\nHEALTHCHECK CMD x\nUSER 0\nHEALTHCHECK NONE", &["user-root", "healthcheck"]),
        ("FROM a:1\nONBUILD USER app\nONBUILD HEALTHCHECK CMD x", &["user-root", "healthcheck"]),
        ("FROM a:1\nENV U=root\nUSER $U\nHEALTHCHECK CMD x", &["user-root"]),
        ("FROM a:1\nARG U\nUSER $U\nHEALTHCHECK CMD x", &[]),
        ("FROM a:1\nUSER ${U:-0}:0\nHEALTHCHECK CMD x", &["user-root"]),
        ("FROM a:1\nRUN chmod 777 /x && sudo y\nCOPY . /z\nFROM b:1\nUSER app\nHEALTHCHECK CMD x", &[]),
        ("FROM a:1\nENV TOKEN=abc\nFROM b:1\nUSER app\nHEALTHCHECK CMD x", &["secrets"]),
    ] {
        assert_eq!(ids(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_dockerfile_is_a_fault_with_its_line() {
    for (text, line) in [("", 1), ("hello", 1), ("FROM a:1\nUSER app\nHEALTHCHECK CMD x\nRUNN x", 4), ("RUN x", 1)] {
        let faults = audit(text, "x").faults;
        assert_eq!(faults.first().map(|fault| fault.line), Some(line), "{text}: {faults:?}");
    }
}

#[test]
fn rules_answer_to_the_names_that_others_have_for_them() {
    for rule in RuleName::all() {
        let about = rule.about();
        assert_eq!(RuleName::named(about.id), Some(rule));
        for name in about.refs {
            assert!(RuleName::named(name).is_some(), "{name}");
        }
        assert!(!about.means.is_empty() && !about.remedy.is_empty() && !about.finds.is_empty(), "{rule}");
    }
    for (name, id) in
        [("DL3002", "user-root"), ("AVD-DS-0026", "healthcheck"), ("DS005", "add-not-copy"), ("DL3006", "tag-latest")]
    {
        assert_eq!(RuleName::named(name).unwrap().about().id, id);
    }
    assert_eq!(RuleName::named("x"), None);
}

#[test]
fn a_large_file_made_to_be_slow_is_read_at_once() {
    let many = |line: &str| format!("FROM a:1\n{}", line.repeat(usize::try_from(DOCKERFILE_BYTES).unwrap() / line.len()));
    for text in [
        many("ENV A=$A$A$A$A\n"),
        many("FROM a AS a\nENV A=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"),
        many("RUN <<A\n"),
        many("\\\n"),
        many("RUN apt-get install curl;"),
        many("${A:-"),
        many("EXPOSE 1-65535\n"),
        many("ENV \"'"),
        many("# escape=`\n"),
    ] {
        let audited = audit(&text, "x");
        let _ = fixed(&text, &audited.findings);
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let audited = audit(&text, "x");
        let _ = fixed(&text, &audited.findings);
    }

    #[test]
    fn no_pieces_do_harm(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "FROM ", "a", ":latest", "\n", "\\\n", "# escape=`\n", "`\n", "RUN ", "<<E", "E\n", "[\"", "\"]", "$", "${", "}", ":-", "'", "\"", "ENV ", "=",
        "ONBUILD ", "USER ", "root", " ", "HEALTHCHECK ", "--", "COPY ", ".", "apt-get install curl", "chmod 777", "&&", "sudo ", "\t", "\r\n", "é", "\u{feff}",
    ]), 0..60)) {
        let text: String = pieces.concat();
        let audited = audit(&text, "x");
        let _ = fixed(&text, &audited.findings);
    }
}
