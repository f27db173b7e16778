//! An image as an archive: what `docker save` writes (docker-archive and OCI layout, of every engine), or a file of either kind. Read once from
//! the front, as it comes; nothing is unpacked to disk. Layers may come in any order and before the manifest that names them.

mod files;
mod layers;
mod tar;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::image::ImageConfig;
use files::Noticed;
use layers::{InImage, Layer, Layers};
use tar::{Kind, Tar, TarError, is_header, path};

use super::{Finding, OwnRule};
use crate::text::clean;

/// Bytes that layers may come to when they are unpacked. Stops an archive of megabytes from costing hours.
const UNPACKED_BYTES: u64 = 32 << 30;
/// Largest manifest or configuration, and all of them together. Stops an archive from filling memory.
const JSON_BYTES: u64 = 4 << 20;
const ALL_JSON_BYTES: u64 = 32 << 20;
/// Most files of an archive: layers, manifests, links. Stops a made-up one from filling memory.
const FILES: usize = 10_000;
/// Most layers. Engines stop at 127.
const LAYERS: usize = 256;
/// Links from one layer to another, and indexes in an index.
const HOPS: usize = 8;
/// Secrets that are named one by one, and files that a finding names.
const NAMED_SECRETS: usize = 20;
const NAMED: usize = 6;

/// Why an archive is no image.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read, or read on.
    #[error("{0}")]
    Unreadable(String),
    /// It holds none, or several.
    #[error("it does not hold one image: {0}")]
    NotOneImage(String),
}

/// An image out of an archive.
#[derive(Debug)]
pub struct Contents {
    /// What it says of itself.
    pub config: ImageConfig,
    found: Vec<InImage>,
    /// Layers that could not be looked at, and why.
    pub unread: Vec<String>,
}

#[derive(Default)]
struct Whole {
    json: BTreeMap<String, Vec<u8>>,
    layers: BTreeMap<String, Result<Layer, String>>,
    links: BTreeMap<String, String>,
}

/// Reads an archive, packed with gzip or not.
pub fn read(reader: impl Read) -> Result<Contents, ArchiveError> {
    let unreadable = |error: &dyn std::fmt::Display| ArchiveError::Unreadable(error.to_string());
    let (begin, reader) = peek(reader).map_err(|error| unreadable(&error))?;
    let mut left = UNPACKED_BYTES;
    let mut layers = Layers::default();
    let read = if is_gzip(&begin) {
        all(Bounded { reader: MultiGzDecoder::new(reader), left: &mut left }, &mut layers)
    } else {
        all(reader, &mut layers)
    };
    let read = read.map_err(|error| unreadable(&error))?;
    image(&read, &layers)
}

/// The first block, and a reader that begins with it.
fn peek<R: Read>(mut reader: R) -> std::io::Result<(Vec<u8>, impl Read)> {
    let mut begin = Vec::new();
    (&mut reader).take(512).read_to_end(&mut begin)?;
    Ok((begin.clone(), Cursor::new(begin).chain(reader)))
}

/// Whether a file that begins so may be an archive.
#[must_use]
pub fn is_archive(begin: &[u8]) -> bool {
    is_header(begin) || is_gzip(begin)
}

fn is_gzip(begin: &[u8]) -> bool {
    begin.starts_with(&[0x1f, 0x8b])
}

/// A reader that gives no more than may come of it.
struct Bounded<'b, R> {
    reader: R,
    left: &'b mut u64,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if *self.left == 0 {
            return Err(std::io::Error::other(format!("it unpacks to more than {} GiB", UNPACKED_BYTES >> 30)));
        }
        let read = (&mut self.reader).take(*self.left).read(buffer)?;
        *self.left -= read as u64;
        Ok(read)
    }
}

fn all(reader: impl Read, layers: &mut Layers) -> Result<Whole, TarError> {
    let mut archive = Tar::new(reader);
    let mut found = Whole::default();
    let (mut json_left, mut unpacked_left) = (ALL_JSON_BYTES, UNPACKED_BYTES);
    while let Some(entry) = archive.entry()? {
        if found.json.len() + found.layers.len() + found.links.len() >= FILES {
            return Err(TarError::Malformed("it has too many files for an image"));
        }
        if matches!(entry.kind, Kind::SymbolicLink | Kind::HardLink) {
            let folder = entry.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = if entry.kind == Kind::HardLink { path(&entry.link) } else { path(&format!("{folder}/{}", entry.link)) };
            found.links.insert(entry.path, target);
            continue;
        }
        if entry.kind != Kind::File {
            continue;
        }
        let (begin, mut body) = peek(archive.body())?;
        if matches!(begin.first(), Some(b'{' | b'[')) && entry.size <= JSON_BYTES.min(json_left) {
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes)?;
            json_left -= entry.size;
            found.json.insert(entry.path, bytes);
        } else if let Some(layer) = layer(&begin, body, layers, &mut unpacked_left) {
            found.layers.insert(entry.path, layer);
        }
    }
    Ok(found)
}

/// A file's layer; `None`: it is none.
fn layer(begin: &[u8], body: impl Read, layers: &mut Layers, left: &mut u64) -> Option<Result<Layer, String>> {
    let read = if is_header(begin) {
        layers.read(Bounded { reader: body, left })
    } else if is_gzip(begin) {
        layers.read(Bounded { reader: MultiGzDecoder::new(body), left })
    } else if begin.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Some(Err("it is packed with zstd".to_owned()));
    } else if !begin.is_empty() && begin.iter().all(|byte| *byte == 0) {
        Ok(Layer::default())
    } else {
        return None;
    };
    Some(read.map_err(|error| clean(&error.to_string())))
}

/// The one image, by `manifest.json` or, in an OCI layout without it, by `index.json`.
fn image(read: &Whole, layers: &Layers) -> Result<Contents, ArchiveError> {
    let json = |name: &str| read.json.get(&path(name)).and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let not_one = |what: &str| ArchiveError::NotOneImage(what.to_owned());
    let (config, names) = match json("manifest.json") {
        Some(Value::Array(images)) => {
            let [image] = images.as_slice() else { return Err(not_one(&format!("manifest.json names {}", images.len()))) };
            let layers = image["Layers"].as_array().into_iter().flatten().filter_map(Value::as_str).map(path).collect();
            (image["Config"].as_str().map(path), layers)
        }
        _ => {
            let index = json("index.json").ok_or_else(|| not_one("neither manifest.json nor index.json is there"))?;
            let mut found = Vec::new();
            images(&index, &json, HOPS, &mut found);
            let [manifest] = found.as_slice() else { return Err(not_one(&format!("index.json leads to {}", found.len()))) };
            let layers = manifest["layers"].as_array().into_iter().flatten().filter_map(blob).collect();
            (blob(&manifest["config"]), layers)
        }
    };
    let names: Vec<String> = names;
    if names.len() > LAYERS {
        return Err(not_one("it has too many layers"));
    }
    let config = config.and_then(|config| read.json.get(&config)).ok_or_else(|| not_one("its configuration is not there"))?;
    let config = crate::registry::read_configuration(config).map_err(|why| not_one(&why))?;
    let (mut stack, mut unread) = (Vec::new(), Vec::new());
    let none = Layer::default();
    for (at, name) in names.iter().enumerate() {
        let mut name = name;
        for _ in 0..HOPS {
            name = read.links.get(name).unwrap_or(name);
        }
        match read.layers.get(name) {
            Some(Ok(layer)) => stack.push(layer),
            other => {
                let why = other.and_then(|other| other.as_ref().err()).map_or("it is not there", String::as_str);
                unread.push(format!("layer {}: {why}", at + 1));
                stack.push(&none);
            }
        }
    }
    let found = layers.stacked(&stack);
    Ok(Contents { config, found, unread })
}

/// Where an OCI layout has what a descriptor names.
fn blob(descriptor: &Value) -> Option<String> {
    let (algorithm, hex) = descriptor["digest"].as_str()?.split_once(':')?;
    Some(path(&format!("blobs/{algorithm}/{hex}")))
}

/// The manifests of images that an index leads to, of those that are there. What is attached to an image runs nowhere.
fn images(index: &Value, json: &dyn Fn(&str) -> Option<Value>, hops: usize, found: &mut Vec<Value>) {
    for descriptor in index["manifests"].as_array().into_iter().flatten() {
        if descriptor.pointer("/platform/os").is_some_and(|os| os == "unknown") || found.len() > NAMED {
            continue;
        }
        let Some(manifest) = blob(descriptor).and_then(|blob| json(&blob)) else { continue };
        if manifest.get("layers").is_some_and(Value::is_array) {
            found.push(manifest);
        } else if hops > 0 {
            images(&manifest, json, hops - 1, found);
        }
    }
}

impl Contents {
    /// What is weak about the files of its layers.
    pub(super) fn findings(&self, target: &str) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for found in &self.found {
            let Noticed::Secret(what) = found.what else { continue };
            let gone = if found.is_gone { "; a later layer removes it, and whoever has the image has it still" } else { "" };
            let evidence = format!("`/{}` in layer {} holds {what}{gone}", clean(&found.path), found.layer);
            if findings.len() < NAMED_SECRETS {
                findings.push(Finding::new(OwnRule::SecretFiles, target, None, &evidence));
            }
        }
        for (what, rule) in [
            (Noticed::Setuid, OwnRule::SetuidFiles),
            (Noticed::ForAll, OwnRule::WorldWritable),
            (Noticed::NetworkTool, OwnRule::NetworkTools),
            (Noticed::PackageManager, OwnRule::PackageManager),
            (Noticed::PackageCache, OwnRule::PackageCache),
        ] {
            let mut paths: Vec<&str> =
                self.found.iter().filter(|found| found.what == what && !found.is_gone).map(|found| found.path.as_str()).collect();
            paths.sort_unstable();
            paths.dedup();
            if paths.is_empty() {
                continue;
            }
            let mut evidence = paths.iter().take(NAMED).map(|path| format!("/{path}")).collect::<Vec<_>>().join(", ");
            if paths.len() > NAMED {
                evidence.push_str(&format!(" and {} more", paths.len() - NAMED));
            }
            findings.push(Finding::new(rule, target, None, &evidence));
        }
        findings
    }
}

#[cfg(test)]
mod tests;
