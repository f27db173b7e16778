//! Archives as engines write them, old and new; what is deleted and what stays; and no bytes do harm.

use std::io::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// An entry's header and its bytes.
fn entry(path: &str, kind: u8, mode: u32, body: &[u8], link: &str) -> Vec<u8> {
    let mut block = [0_u8; 512];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
    block[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..263].copy_from_slice(b"ustar\0");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = block.to_vec();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(path: &str, body: &[u8]) -> Vec<u8> {
    entry(path, b'0', 0o644, body, "")
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend([0; 1024]);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const CONFIG: &str = r#"{"config":{"User":"app"},"rootfs":{"diff_ids":[]},"history":[{"created_by":"x"}]}"#;

/// As 20.10 writes it: layers before the manifest, one of them a link to another.
fn docker_archive(layers: &[Vec<u8>]) -> Vec<u8> {
    let mut entries = vec![file("c.json", CONFIG.as_bytes())];
    let names: Vec<String> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    entries.extend(names.iter().zip(layers).map(|(name, layer)| file(name, layer)));
    let manifest = json!([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": names}]).to_string();
    entries.push(file("manifest.json", manifest.as_bytes()));
    tar_of(&entries)
}

fn found(layers: &[Vec<u8>]) -> Vec<(&'static str, String)> {
    let contents = read(docker_archive(layers).as_slice()).unwrap();
    assert_eq!(contents.unread, [""; 0]);
    assert_eq!((contents.config.user.as_str(), contents.config.history.as_ref().map(Vec::len)), ("app", Some(1)));
    contents.findings("x").into_iter().map(|finding| (finding.rule.about().id, finding.evidence)).collect()
}

fn ids(layers: &[Vec<u8>]) -> Vec<&'static str> {
    found(layers).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn what_the_layers_hold_is_found() {
    let layer = tar_of(&[
        entry("usr/bin/", b'5', 0o755, b"", ""),
        entry("usr/bin/su", b'0', 0o4755, b"x", ""),
        entry("./usr/bin/wget", b'2', 0o777, b"", "busybox"),
        entry("sbin/apk", b'0', 0o755, b"x", ""),
        entry("app/run", b'0', 0o777, b"x", ""),
        file("var/lib/apt/lists/x", b"x"),
        file("root/.ssh/id", b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
    ]);
    assert_eq!(
        ids(&[layer]),
        ["secret-files", "setuid-files", "world-writable", "network-tools", "package-manager", "package-cache"]
    );
    assert_eq!(ids(&[tar_of(&[file("app/run", b"x")])]), [""; 0]);
}

#[test]
fn what_a_later_layer_removes_is_gone_but_for_secrets() {
    let setuid = tar_of(&[entry("a/b/su", b'0', 0o4755, b"x", "")]);
    assert_eq!(ids(std::slice::from_ref(&setuid)), ["setuid-files"]);
    for later in [
        file("a/b/.wh.su", b""),
        file("a/.wh.b", b""),
        file(".wh.a", b""),
        file("a/b/.wh..wh..opq", b""),
        file(".wh..wh..opq", b""),
        entry("a/b/su", b'0', 0o755, b"x", ""),
        entry("a/b", b'2', 0o777, b"", "c"),
    ] {
        assert_eq!(
            ids(&[setuid.clone(), tar_of(std::slice::from_ref(&later))]),
            [""; 0],
            "{:?}",
            String::from_utf8_lossy(&later[..20])
        );
        assert_eq!(ids(&[tar_of(&[later]), setuid.clone()]), ["setuid-files"], "what lies above takes nothing away");
    }
    for other in [file("a/b/.wh.s", b""), file("a/.wh..wh..opq.x", b""), entry("a/b", b'5', 0o755, b"", "")] {
        assert_eq!(ids(&[setuid.clone(), tar_of(&[other])]), ["setuid-files"]);
    }
    let secret = tar_of(&[file("root/.npmrc", b"_authToken=hunter2")]);
    let found = found(&[secret, tar_of(&[file("root/.wh..npmrc", b"")])]);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].1.contains("layer 1") && found[0].1.contains("has it still") && !found[0].1.contains("hunter2"),
        "{found:?}"
    );
}

#[test]
fn archives_of_every_engine_are_read() {
    let layer = tar_of(&[entry("su", b'0', 0o4755, b"x", "")]);
    let contents = |bytes: &[u8]| read(bytes).unwrap().findings("x").len();
    // A layer that two layers share is a link.
    let manifest = json!([{"Config": "c.json", "Layers": ["1/layer.tar", "2/layer.tar"]}]).to_string();
    let shared = tar_of(&[
        file("c.json", CONFIG.as_bytes()),
        file("1/layer.tar", &layer),
        entry("2/layer.tar", b'2', 0o777, b"", "../1/layer.tar"),
        file("manifest.json", manifest.as_bytes()),
    ]);
    assert_eq!(contents(&shared), 1);
    assert_eq!(contents(&gzip(&shared)), 1);
    // An OCI layout without Docker's manifest, its layers packed; what is attached is no image.
    let blob = |name: &str| json!({ "digest": format!("sha256:{name}") });
    let index = json!({"manifests": [{"digest": "sha256:att", "platform": {"os": "unknown"}}, blob("index"), blob("absent")]});
    let inner = json!({"manifests": [blob("image")]});
    let image = json!({"config": blob("config"), "layers": [blob("layer")]});
    let oci = |layer: &[u8]| {
        tar_of(&[
            file("blobs/sha256/att", image.to_string().as_bytes()),
            file("blobs/sha256/config", CONFIG.as_bytes()),
            file("blobs/sha256/image", image.to_string().as_bytes()),
            file("blobs/sha256/index", inner.to_string().as_bytes()),
            file("blobs/sha256/layer", layer),
            file("index.json", index.to_string().as_bytes()),
        ])
    };
    assert_eq!(contents(&oci(&layer)), 1);
    assert_eq!(contents(&oci(&gzip(&layer))), 1);
    let packed = read(oci(&[0x28, 0xb5, 0x2f, 0xfd, 0]).as_slice()).unwrap();
    assert_eq!(packed.unread, ["layer 1: it is packed with zstd"]);
    let broken = read(oci(&layer[..600]).as_slice()).unwrap();
    assert_eq!(broken.unread.len(), 1, "a layer that breaks off is not one that was looked at");
}

#[test]
fn long_names_and_sizes_are_read_as_go_reads_them() {
    let long = format!("{}/su", "d".repeat(200));
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = rest.len() + 3;
        format!("{length}{rest}")
    };
    let body = entry("short", b'0', 0o4755, b"x", "");
    for begin in
        [entry("x", b'x', 0, record("path", &long).as_bytes(), ""), entry("x", b'L', 0, format!("{long}\0").as_bytes(), "")]
    {
        let found = found(&[tar_of(&[begin, body.clone()])]);
        assert!(found[0].1.contains("ddd/su") || found[0].1.contains('…'), "{found:?}");
    }
}

#[test]
fn what_is_no_image_says_so() {
    let two = json!([{"Config": "a"}, {"Config": "b"}]).to_string();
    for bytes in [
        Vec::new(),
        b"hello".to_vec(),
        tar_of(&[]),
        tar_of(&[file("a", b"b")]),
        tar_of(&[file("manifest.json", b"[]")]),
        tar_of(&[file("manifest.json", two.as_bytes())]),
        tar_of(&[file("manifest.json", br#"[{"Config":"c.json","Layers":[]}]"#)]),
        tar_of(&[
            file("index.json", br#"{"manifests":[{"digest":"sha256:x"}]}"#),
            file("blobs/sha256/x", br#"{"manifests":[{"digest":"sha256:x"}]}"#),
        ]),
        docker_archive(&[])[..700].to_vec(),
    ] {
        assert!(read(bytes.as_slice()).is_err(), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(20)]));
    }
}

#[test]
fn a_layer_that_unpacks_without_end_is_given_up() {
    let mut left = 1 << 20;
    let bomb = gzip(&vec![0; 8 << 20]);
    let mut packed = entry("x", b'0', 0o644, &[], "");
    packed[124..135].copy_from_slice(b"00040000000");
    packed[148..156].copy_from_slice(b"        ");
    let sum: u32 = packed.iter().map(|byte| u32::from(*byte)).sum();
    packed[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let layer = gzip(&packed).into_iter().chain(bomb).collect::<Vec<_>>();
    let begin = layer[..20].to_vec();
    let read = super::layer(&begin, layer.as_slice(), &mut Layers::default(), &mut left);
    assert!(read.unwrap().unwrap_err().contains("unpacks to more"));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read(bytes.as_slice());
    }

    /// A good archive with some of its bytes changed.
    #[test]
    fn no_change_does_harm(changes in proptest::collection::vec((0..6000_usize, any::<u8>()), 1..8), end in 0..6000_usize) {
        let layer = tar_of(&[entry("su", b'0', 0o4755, b"x", ""), file("root/.npmrc", b"_auth")]);
        let mut bytes = docker_archive(&[layer]);
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(bytes.len().min(end + 3000));
        if let Ok(contents) = read(bytes.as_slice()) {
            let _ = contents.findings("x");
        }
    }
}
