//! Each rule with an image that keeps it and one that does not.

use std::collections::BTreeMap;

use super::*;
use crate::image::Digest;

const NOW: &str = "2026-11-30T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn good() -> ImageConfig {
    ImageConfig {
        created: Some(at("2026-11-20T00:00:00Z")),
        platform: "linux/amd64".parse().unwrap(),
        layers: vec![Digest::of(b"base 1"), Digest::of(b"base 2"), Digest::of(b"own")],
        user: "app".into(),
        env: vec!["PATH=/bin".into(), "PASSWORD_FILE=/run/secrets/db".into(), "TOKEN=".into()],
        labels: BTreeMap::from([("team".into(), "red".into())]),
        ports: vec!["8080/tcp".into()],
        healthcheck: vec!["CMD".into(), "true".into()],
        history: Some(vec!["COPY app /app".into()]),
        annotations: None,
        size: Some(100_000_000),
    }
}

fn subject(config: &ImageConfig) -> Subject<'_> {
    Subject {
        tag: None,
        is_tag_missing: false,
        vouched: &[],
        signed_at: None,
        built_at: None,
        config: Some(config),
        now: Some(at(NOW)),
        runs: true,
    }
}

/// What the check says of the good image after `change`.
fn says(check: &Check, change: impl FnOnce(&mut ImageConfig)) -> Result<(), Broken> {
    let mut config = good();
    change(&mut config);
    check.judge(&subject(&config))
}

fn is_broken(found: &Result<(), Broken>) -> bool {
    matches!(found, Err(Broken::By(_)))
}

fn refused(check: &Check, change: impl FnOnce(&mut ImageConfig)) -> String {
    match says(check, change) {
        Err(Broken::By(evidence)) => evidence,
        other => panic!("{check:?}: {other:?}"),
    }
}

fn default(id: ImageRuleId) -> Check {
    Check::default_of(id).unwrap()
}

#[test]
fn root_is_refused_in_every_spelling_and_another_user_is_not() {
    let check = default(ImageRuleId::UserRoot);
    let user = |text: &str| says(&check, |config| text.clone_into(&mut config.user));
    for text in ["", "root", "0", "00", "+0", "-0", "root:app", "0:1000", ":app", "0000:0"] {
        assert!(is_broken(&user(text)), "{text}");
    }
    for text in ["app", "1000", "1000:0", "app:root", "rooty", "0x0"] {
        assert_eq!(user(text), Ok(()), "{text}");
    }
}

#[test]
fn a_health_check_must_be_there() {
    let check = default(ImageRuleId::Healthcheck);
    assert_eq!(says(&check, |_| ()), Ok(()));
    assert!(is_broken(&says(&check, |config| config.healthcheck = vec!["NONE".into()])));
}

#[test]
fn secrets_are_found_by_name_and_by_look_and_never_shown() {
    let check = default(ImageRuleId::Secrets);
    assert_eq!(says(&check, |_| ()), Ok(()));
    let env = |text: &str| says(&check, |config| config.env.push(text.into()));
    for text in [
        "PASSWORD=hunter2",
        "DB_PASSWORD=hunter2",
        "dbPassword=hunter2",
        "MYSQL_ROOT_PASSWORD=hunter2",
        "db_pass=hunter2",
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "API_KEY=hunter2",
        "GITHUB_TOKEN=hunter2",
        "X=AKIAABCDEFGHIJKLMNOP",
        "X=-----BEGIN RSA PRIVATE KEY-----hunter2",
        "DATABASE=postgres://app:hunter2@db/app",
    ] {
        let found = env(text);
        assert!(is_broken(&found), "{text}");
        assert!(!format!("{found:?}").contains("hunter2") && !format!("{found:?}").contains("AKIA"), "{found:?}");
    }
    for text in ["GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568", "MAX_TOKENS=5", "COMPASS=x", "TOKEN_PATH=/x", "KEYBOARD=us"]
    {
        assert_eq!(env(text), Ok(()), "{text}");
    }
    assert!(is_broken(&says(&check, |config| drop(config.labels.insert("deploy-token".into(), "hunter2".into())))));
    let history = |line: &str| says(&check, |config| config.history = Some(vec!["COPY a b".into(), line.into()]));
    for line in [
        "/bin/sh -c #(nop)  ENV DB_PASSWORD=hunter2",
        "|1 NPM_TOKEN=hunter2 /bin/sh -c npm ci",
        "RUN |2 A=b API_KEY=\"hunter two\" /bin/sh -c make",
        "RUN curl --password hunter2 https://x",
        "RUN git clone https://me:hunter2@git.example/x",
    ] {
        let found = history(line);
        assert!(is_broken(&found) && !format!("{found:?}").contains("hunter"), "{line}: {found:?}");
        assert!(format!("{found:?}").contains("line 2"), "{found:?}");
    }
    for line in
        ["RUN --mount=type=secret,id=npm npm ci", "ENV TOKEN=", "RUN x --password $PASSWORD", "ARG API_KEY", "CMD [\"x\"]"]
    {
        assert_eq!(history(line), Ok(()), "{line}");
    }
    // What is known to be none.
    let allowed = Check::Secrets(Secrets { allow: ["DB_PASSWORD".to_owned()].into() });
    assert_eq!(says(&allowed, |config| config.env.push("DB_PASSWORD=x".into())), Ok(()));
    assert!(is_broken(&says(&allowed, |config| config.env.push("PASSWORD=x".into()))));
    // A history that nobody has looked at is not one without secrets.
    assert_eq!(says(&check, |config| config.history = None), Err(Broken::Unknown));
}

#[test]
fn forbidden_ports_are_found_in_ranges_and_whatever_the_protocol() {
    let check = default(ImageRuleId::ExposedPorts);
    assert_eq!(says(&check, |_| ()), Ok(()));
    for port in ["22/tcp", "22", "22/udp", "20-25/tcp", "x/tcp", "80-22/tcp", ""] {
        assert!(is_broken(&says(&check, |config| config.ports.push(port.into()))), "{port}");
    }
    assert_eq!(refused(&check, |config| config.ports.push("20-25/tcp".into())), "it exposes port 22");
}

#[test]
fn an_age_that_is_not_known_is_too_old() {
    let check = Check::MaxAge(MaxAge { days: 30, of: AgeOf::Created });
    let created = |text: Option<&str>| says(&check, |config| config.created = text.map(at));
    for good in ["2026-11-30T12:00:00Z", "2026-10-31T12:00:00Z"] {
        assert_eq!(created(Some(good)), Ok(()), "{good}");
    }
    for bad in
        [Some("2026-10-31T11:59:59Z"), Some("1970-01-01T00:00:00Z"), Some("1970-12-31T23:59:59Z"), Some("2026-11-30T12:00:01Z")]
    {
        assert!(is_broken(&created(bad)), "{bad:?}");
    }
    assert!(is_broken(&created(None)));
    assert_eq!(
        refused(&check, |config| config.created = Some(at("2026-10-01T00:00:00Z"))),
        "it was created 60 days ago, more than 30"
    );
    let config = good();
    assert_eq!(check.judge(&Subject { now: None, ..subject(&config) }), Err(Broken::Unknown));
    // Of the signature: what its maker says of itself does not count, and no configuration is needed.
    let check = Check::MaxAge(MaxAge { days: 30, of: AgeOf::Signature });
    let signed = |text: &str| check.judge(&Subject { config: None, signed_at: Some(at(text)), ..subject(&config) });
    assert_eq!(signed("2026-11-01T00:00:00Z"), Ok(()));
    assert!(is_broken(&signed("2026-10-01T00:00:00Z")) && is_broken(&signed("2026-12-01T00:00:00Z")));
    assert!(is_broken(&check.judge(&subject(&config))));
    // Of the build that is attested: neither the image's own word nor a signature's time stands in for it.
    let check = Check::MaxAge(MaxAge { days: 30, of: AgeOf::Provenance });
    let built = |text: &str| check.judge(&Subject { config: None, built_at: Some(at(text)), ..subject(&config) });
    assert_eq!(built("2026-11-01T00:00:00Z"), Ok(()));
    assert!(is_broken(&built("2026-10-01T00:00:00Z")) && is_broken(&built("2026-12-01T00:00:00Z")));
    assert!(is_broken(&check.judge(&Subject { signed_at: Some(at("2026-11-30T00:00:00Z")), ..subject(&config) })));
}

#[test]
fn tags_are_judged_as_they_are_written_and_digests_by_what_they_are_vouched_for_as() {
    let tags: Vec<Tag> = ["latest", "v1", "1.0"].iter().map(|tag| tag.parse().unwrap()).collect();
    let [latest, v1, other] = tags.as_slice() else { panic!() };
    let pattern = Check::TagPattern("^v\\d+".parse().unwrap());
    let says = |check: &Check, tag: Option<&Tag>, is_tag_missing: bool, vouched: &[&Tag]| {
        !is_broken(&check.judge(&Subject { tag, is_tag_missing, vouched, config: None, ..subject(&good()) }))
    };
    let (no_latest, no_missing) = (default(ImageRuleId::TagLatest), default(ImageRuleId::TagMissing));
    assert!(says(&no_latest, Some(v1), false, &[]) && !says(&no_latest, Some(latest), false, &[v1]));
    assert!(!says(&no_latest, Some(latest), true, &[]));
    assert!(says(&no_latest, None, false, &[]) && says(&no_latest, None, false, &[latest, v1]));
    assert!(!says(&no_latest, None, false, &[latest]));
    assert!(says(&no_missing, Some(latest), false, &[]) && !says(&no_missing, Some(latest), true, &[]));
    assert!(says(&no_missing, None, false, &[]));
    assert!(says(&pattern, Some(v1), false, &[]) && !says(&pattern, Some(other), false, &[v1]));
    assert!(
        says(&pattern, None, false, &[]) && says(&pattern, None, false, &[other, v1]) && !says(&pattern, None, false, &[other])
    );
    for wrong in ["(", "a{1000}{1000}{1000}", &"x".repeat(600)] {
        assert!(wrong.parse::<TagPattern>().is_err(), "{wrong}");
    }
}

#[test]
fn labels_must_be_there_with_a_value_that_they_may_have() {
    let labels = |values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Check::RequiredLabels(RequiredLabels { labels: BTreeMap::from([("team".into(), values)]) })
    };
    let is = |values: &[&str], value: &str| {
        !is_broken(&says(&labels(values), |config| drop(config.labels.insert("team".into(), value.into()))))
    };
    assert!(is(&["red", "blue"], "blue") && is(&["https://git.example/*"], "https://git.example/x") && is(&[], "any"));
    assert!(!is(&["red"], "reddish") && !is(&["https://git.example/*"], "https://git.example.evil/x") && !is(&[], " "));
    assert!(is_broken(&says(&labels(&["*"]), |config| config.labels.clear())));
    assert!(!refused(&labels(&["x"]), |_| ()).contains("red"));
}

#[test]
fn a_base_is_known_by_its_layers_or_by_what_the_image_says() {
    let digest = Digest::of(b"base");
    let base = |allow: &[&str], layers: &[&[u8]]| {
        let layers: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let layers = if layers.is_empty() { BTreeMap::new() } else { BTreeMap::from([("debian".to_owned(), layers)]) };
        Check::BaseImage(BaseImage { allow: allow.iter().map(|text| text.parse().unwrap()).collect(), layers })
    };
    // By layers: all of the base's, from the bottom.
    assert_eq!(says(&base(&[], &[b"base 1", b"base 2"]), |_| ()), Ok(()));
    for layers in [&[b"base 2".as_slice()][..], &[b"base 1", b"own"], &[b"base 1", b"base 2", b"own", b"more"]] {
        assert!(is_broken(&says(&base(&[], layers), |_| ())), "{layers:?}");
    }
    // By name.
    let by_name = base(&["r.example/base/*"], &[]);
    let label = |name: &str, value: &str| {
        let (name, value) = (format!("org.opencontainers.image.base.{name}"), value.to_owned());
        move |config: &mut ImageConfig| drop(config.labels.insert(name, value))
    };
    assert!(is_broken(&says(&by_name, |config| config.annotations = Some(BTreeMap::new()))));
    // Its manifest may say so.
    assert_eq!(says(&by_name, |_| ()), Err(Broken::Unknown));
    assert_eq!(says(&by_name, label("name", "r.example/base/debian:12")), Ok(()));
    for other in ["r.example/other", "r.example/base/a/b", "evil.example/base/debian", "r.example/base/", "debian"] {
        assert!(is_broken(&says(&by_name, label("name", other))), "{other}");
    }
    // What its own manifest says counts before labels, which it may have from its base.
    let both = |config: &mut ImageConfig| {
        label("name", "r.example/base/debian:12")(config);
        config.annotations = Some(BTreeMap::from([("org.opencontainers.image.base.name".into(), "r.example/other:1".into())]));
    };
    assert!(is_broken(&says(&by_name, both)));
    // With a digest.
    let pinned = base(&[&format!("r.example/base/debian@{digest}")], &[]);
    let with = |digest: String| {
        move |config: &mut ImageConfig| {
            label("name", "r.example/base/debian:12")(config);
            label("digest", &digest)(config);
        }
    };
    assert_eq!(says(&pinned, with(digest.to_string())), Ok(()));
    assert_eq!(says(&pinned, label("name", &format!("r.example/base/debian@{digest}"))), Ok(()));
    assert!(is_broken(&says(&pinned, with(Digest::of(b"x").to_string()))));
    assert!(is_broken(&says(&pinned, label("name", "r.example/base/debian:12"))));
}

#[test]
fn size_and_platform_are_bounded() {
    let size = Check::MaxSize(MaxSize { megabytes: 100 });
    assert_eq!(says(&size, |_| ()), Ok(()));
    assert!(is_broken(&says(&size, |config| config.size = Some(100_000_001))));
    assert_eq!(says(&size, |config| config.size = None), Err(Broken::Unknown));
    let platform = Check::Platform(Platforms { allow: vec!["linux/amd64".parse().unwrap()] });
    assert_eq!(says(&platform, |_| ()), Ok(()));
    assert!(is_broken(&says(&platform, |config| config.platform = "linux/arm64".parse().unwrap())));
    assert!(is_broken(&says(&platform, |config| config.platform = crate::image::Platform::default())));
}

#[test]
fn what_is_not_known_is_never_good() {
    for id in ImageRuleId::ALL {
        let check = match id {
            ImageRuleId::TagPattern | ImageRuleId::TagLatest | ImageRuleId::TagMissing => continue,
            ImageRuleId::MaxAge => Check::MaxAge(MaxAge { days: 1, of: AgeOf::Created }),
            ImageRuleId::RequiredLabels => Check::RequiredLabels(RequiredLabels { labels: BTreeMap::new() }),
            ImageRuleId::BaseImage => Check::BaseImage(BaseImage { allow: Vec::new(), layers: BTreeMap::new() }),
            ImageRuleId::MaxSize => Check::MaxSize(MaxSize { megabytes: 1 }),
            ImageRuleId::Platform => Check::Platform(Platforms { allow: Vec::new() }),
            id => default(id),
        };
        assert_eq!(check.judge(&Subject { config: None, ..subject(&good()) }), Err(Broken::Unknown), "{id}");
        assert!(check.looks().config, "{id}");
    }
}

/// The configuration that test/fixtures/dockerfiles/bad.Dockerfile comes to, and what is found in it: no more and no less.
#[test]
fn a_deliberately_bad_image_yields_exactly_its_findings() {
    let mut rules = ImageRules::default();
    for (id, level, check) in Preset::CisL2.rules() {
        let check = match check {
            Check::ExposedPorts(_) => Check::ExposedPorts(ExposedPorts { forbid: [22, 3306, 5432, 6379].into() }),
            check => check,
        };
        rules.set(id, ImageRule { level, check, position: None });
    }
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let bad = ImageConfig {
        user: String::new(),
        healthcheck: Vec::new(),
        env: list(&["PATH=/usr/local/bin:/usr/bin:/bin", "DB_PASSWORD=hunter2", "LANG=C.UTF-8"]),
        ports: list(&["22/tcp", "3306/tcp", "5432/tcp", "6379/tcp", "8080/tcp"]),
        labels: BTreeMap::new(),
        history: Some(list(&[
            "/bin/sh -c #(nop) ADD file:0 in / ",
            "WORKDIR /app",
            "ENV DB_PASSWORD=hunter2 LANG=C.UTF-8",
            "RUN /bin/sh -c apt-get update && apt-get install -y build-essential curl wget netcat-openbsd nmap # buildkit",
            "COPY . /app # buildkit",
            "RUN /bin/sh -c pip install --no-cache-dir -r requirements.txt && chmod -R 777 /app # buildkit",
            "EXPOSE map[22/tcp:{} 3306/tcp:{} 5432/tcp:{} 6379/tcp:{} 8080/tcp:{}]",
            "CMD [\"python\" \"app.py\"]",
        ])),
        ..good()
    };
    let latest = Tag::latest();
    let image = Subject { tag: Some(&latest), ..subject(&bad) };
    let found: Vec<String> = rules.judge(&image).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "tag-latest: `latest` can come to mean other content",
            "user-root: USER is not set, which is root",
            "healthcheck: it has no HEALTHCHECK",
            "secrets: ENV `DB_PASSWORD` looks like a secret",
            "exposed-ports: it exposes ports 22, 3306, 5432, 6379",
        ]
    );
    // What is mounted runs as nobody.
    let found: Vec<&str> = rules.judge(&Subject { runs: false, ..image }).iter().map(|finding| finding.rule.about().id).collect();
    assert_eq!(found, ["tag-latest", "secrets"]);
    assert_eq!(rules.judge(&subject(&good())), []);
}

#[test]
fn rules_answer_to_the_names_that_others_have_for_them() {
    for id in ImageRuleId::ALL {
        assert_eq!(ImageRuleId::named(id.about().id), Some(id));
        for name in id.about().refs {
            assert_eq!(ImageRuleId::named(name), Some(id), "{name}");
        }
    }
    for name in ["CIS-4.1", "CIS-DI-0001", "DL3002", "DS-0002", "DS002", "AVD-DS-0002"] {
        assert_eq!(ImageRuleId::named(name), Some(ImageRuleId::UserRoot), "{name}");
    }
    assert_eq!(ImageRuleId::named("cis-4.1"), None);
}
