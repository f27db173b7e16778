//! `register --compose`: the images that a compose file names. The file is read as YAML events, and no tree is made of it: an alias costs nothing
//! here. Only what stands at `services.NAME.image` is looked at; what compose alone could tell (variables, `extends`, `include`, merged
//! keys) is a fault that names `docker compose config`, which prints the file with all of it filled in.

use std::path::Path;

use saphyr_parser::{Event, Parser};

use crate::files::read_text;
use crate::image::ImageName;
use crate::text::fit;

/// Largest file, bytes. Stops a wrong path from filling memory.
const FILE_BYTES: u64 = 1 << 20;
/// Most services. Stops a file from making a registry be asked for hours.
const SERVICES: usize = 500;
/// Deepest nesting.
const DEPTH: usize = 64;

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Composed {
    /// The images, in the file's order, each once.
    pub(super) images: Vec<String>,
    /// Services that name none: what they are made of is built.
    pub(super) built: Vec<String>,
}

/// A service as far as it has been read.
#[derive(Default)]
struct Service {
    name: String,
    image: Option<String>,
    is_built: bool,
}

/// Where in the file an event is: the keys of the mappings around it, and whether a key or a value comes next.
struct Level {
    key: Option<String>,
    is_mapping: bool,
}

/// Reads the file at `path`; `-`: standard input.
pub(super) fn read(path: &Path) -> Result<Composed, String> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        let read = std::io::Read::read_to_string(&mut std::io::Read::take(std::io::stdin().lock(), FILE_BYTES + 1), &mut text);
        match read {
            Ok(read) if read as u64 > FILE_BYTES => Err(std::io::ErrorKind::FileTooLarge.into()),
            other => other.map(|_| text),
        }
    } else {
        read_text(path, FILE_BYTES)
    };
    let shown = path.display();
    let text = text.map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    parse(&text).map_err(|why| format!("`{shown}`: {why}"))
}

fn parse(text: &str) -> Result<Composed, String> {
    let mut composed = Composed::default();
    let mut levels: Vec<Level> = Vec::new();
    let mut service: Option<Service> = None;
    let mut has_services = false;
    for event in Parser::new_from_str(text) {
        let (event, at) = event.map_err(|error| format!("it is not YAML: {}", fit(&error.to_string(), 160)))?;
        let line = at.start.line();
        let scalar = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if levels.len() >= DEPTH {
                    return Err(format!("line {line}: it is nested deeper than {DEPTH}"));
                }
                begin(&mut levels, matches!(event, Event::MappingStart(..)), line)?;
                has_services |= path(&levels) == ["services"];
                if let [_, name] = path(&levels).as_slice()
                    && is_services(&levels)
                {
                    service = Some(Service { name: (*name).to_owned(), ..Service::default() });
                }
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                if levels.len() == 3
                    && is_services(&levels)
                    && let Some(service) = service.take()
                {
                    composed.take(service)?;
                }
                levels.pop();
                done(&mut levels);
                continue;
            }
            Event::Scalar(text, ..) => Some(text.into_owned()),
            Event::Alias(_) => None,
            Event::DocumentStart(_) if has_services => return Err(format!("line {line}: a second document begins")),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => continue,
        };
        let Some(level) = levels.last_mut() else { continue };
        if level.is_mapping && level.key.is_none() {
            let key = scalar.ok_or_else(|| filled_in(line, "a key is an alias"))?;
            level.key = Some(key);
            match path(&levels).as_slice() {
                ["include"] => return Err(filled_in(line, "it includes other files")),
                ["services", _, "extends"] => return Err(filled_in(line, "a service extends another")),
                ["<<"] | ["services", "<<"] | ["services", _, "<<"] => return Err(filled_in(line, "keys are merged")),
                ["services", _, "build"] => {
                    if let Some(service) = &mut service {
                        service.is_built = true;
                    }
                }
                _ => {}
            }
            continue;
        }
        match (path(&levels).as_slice(), scalar, &mut service) {
            (["services", _, "image"], Some(image), Some(service)) => {
                if image.contains('$') {
                    return Err(filled_in(line, "an image has a variable in its name"));
                }
                if service.image.replace(image).is_some() {
                    return Err(format!("line {line}: a service has two images"));
                }
            }
            (["services", _, "image"] | ["services"] | ["services", _], None, _) => {
                return Err(filled_in(line, "it has an alias there"));
            }
            _ => {}
        }
        done(&mut levels);
    }
    if has_services { Ok(composed) } else { Err("it has no `services`".to_owned()) }
}

impl Composed {
    fn take(&mut self, service: Service) -> Result<(), String> {
        if self.images.len() + self.built.len() >= SERVICES {
            return Err(format!("it has more than {SERVICES} services"));
        }
        let name = fit(&service.name, 64);
        match service.image {
            // An image that is built is named for what is made here: no registry need hold it.
            Some(_) | None if service.is_built => self.built.push(service.name),
            Some(image) => {
                ImageName::parse(&image).map_err(|error| format!("service `{name}`: {error}"))?;
                if !self.images.contains(&image) {
                    self.images.push(image);
                }
            }
            None => return Err(format!("service `{name}` names no image")),
        }
        Ok(())
    }
}

/// A mapping or sequence begins, as the value of the key before it.
fn begin(levels: &mut Vec<Level>, is_mapping: bool, line: usize) -> Result<(), String> {
    if let Some(level) = levels.last()
        && level.is_mapping
        && level.key.is_none()
    {
        return Err(format!("line {line}: a key is not a text"));
    }
    levels.push(Level { key: None, is_mapping });
    Ok(())
}

/// The value of a key has ended.
fn done(levels: &mut [Level]) {
    if let Some(level) = levels.last_mut() {
        level.key = None;
    }
}

/// The keys on the way; those of sequences are none, so that nothing in a list is taken for a service.
fn path(levels: &[Level]) -> Vec<&str> {
    levels.iter().map(|level| if level.is_mapping { level.key.as_deref() } else { Some("[]") }).map_while(|key| key).collect()
}

/// Whether the innermost mapping is a service.
fn is_services(levels: &[Level]) -> bool {
    levels.len() == 3 && levels.iter().all(|level| level.is_mapping) && path(levels).first() == Some(&"services")
}

fn filled_in(line: usize, what: &str) -> String {
    format!("line {line}: {what}; give what compose makes of it: docker compose config | img-authz register --compose -")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str) -> Result<Vec<String>, String> {
        parse(text).map(|composed| composed.images)
    }

    #[test]
    fn the_images_of_services_are_found_and_nothing_else_is_taken_for_one() {
        let text = "
name: shop
x-image: {image: evil:1}
services:
  web:
    image: r.example/web:1.0
    environment: {image: evil:2}
    labels: [image, evil:3]
    deploy: {resources: {image: evil:4}}
  db: {image: 'postgres@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}
  again:
    image: r.example/web:1.0
  own:
    build: .
    image: own:dev
networks: {image: {image: evil:5}}
volumes:
  image:
";
        let composed = parse(text).unwrap();
        assert_eq!(composed.images, ["r.example/web:1.0".to_owned(), format!("postgres@sha256:{}", "a".repeat(64))]);
        assert_eq!(composed.built, ["own"]);
        // As `docker compose config --format json` prints it.
        assert_eq!(images(r#"{"name":"x","services":{"a":{"command":null,"image":"b:1"}}}"#), Ok(vec!["b:1".to_owned()]));
    }

    #[test]
    fn what_compose_alone_can_tell_is_a_fault_that_says_how_it_tells() {
        for (text, told) in [
            ("services: {a: {image: 'b:${TAG:-1}'}}", "a variable"),
            ("services: {a: {extends: {service: c}, image: b}}", "extends"),
            ("include: [other.yaml]\nservices: {a: {image: b}}", "includes"),
            ("x: &x {image: b}\nservices: {a: {<<: *x}}", "merged"),
            ("x: &x b\nservices: {a: {image: *x}}", "an alias"),
            ("x: &x {image: b}\nservices: {a: *x}", "an alias"),
            ("x: &x {a: {image: b}}\nservices: *x", "an alias"),
        ] {
            let why = images(text).unwrap_err();
            assert!(why.contains(told) && why.contains("docker compose config |"), "{text}: {why}");
        }
    }

    #[test]
    fn a_file_that_is_none_is_a_fault_and_costs_nothing() {
        let deep = format!("services: {}", "[".repeat(100_000));
        let many = (0..600).map(|n| format!("  s{n}: {{image: i{n}}}\n")).collect::<Vec<_>>().concat();
        // Ten levels of ten aliases each: no tree is made of them.
        let mut laughs = "a0: &a0 lol\n".to_owned();
        for n in 1..40 {
            laughs.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(",")));
        }
        for (text, told) in [
            ("", "no `services`"),
            ("services:", "no `services`"),
            ("- services", "no `services`"),
            ("{", "not YAML"),
            ("services: {a: {}}", "names no image"),
            ("services: {a: {image: 'A B'}}", "service `a`"),
            ("services: {a: {image: b, image: c}}", "two images"),
            ("services: {a: {image: b}}\n---\nservices: {a: {image: c}}", "second document"),
            ("services: {[a]: {image: b}}", "not a text"),
            (deep.as_str(), "recursion limit"),
            (&format!("services: {}1", "{a: ".repeat(80)), "deeper than 64"),
            (&format!("services:\n{many}"), "more than 500"),
            (laughs.as_str(), "no `services`"),
        ] {
            let why = images(text).unwrap_err();
            assert!(why.contains(told), "{}: {why}", fit(text, 60));
        }
    }
}
