//! What the instructions of a Dockerfile come to: its stages, and the configuration that the last of them ends with. What another stage sets
//! counts only where the last one goes on from it.

use std::rc::Rc;

use super::parse::{Instruction, Parsed, words};
use super::variables::Variables;
use crate::image::ImageConfig;

/// Most stages. Stops a made-up file from filling memory: each may carry what the one before it has set.
const MOST: usize = 128;

/// A stage of the build.
#[derive(Debug, Clone)]
pub(super) struct Stage<'p> {
    /// Its FROM.
    pub(super) from: &'p Instruction,
    /// The image it begins with, as far as that is known; `None` where it goes on from another stage, or from nothing.
    pub(super) image: Option<String>,
    /// Its name in other FROMs and in COPY --from, in lower case.
    name: Option<String>,
    /// Its own instructions, and of the stages it goes on from, from the first.
    pub(super) instructions: Vec<&'p Instruction>,
    /// What it comes to.
    pub(super) state: Rc<State>,
}

/// What a stage ends with, and where that is written.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) config: ImageConfig,
    pub(super) user: Option<usize>,
    pub(super) healthcheck: Option<usize>,
    pub(super) ports: Option<usize>,
    pub(super) variables: Variables,
}

/// `NAME=value` of ENV, LABEL and ARG, and the older `NAME value`.
pub(super) fn pairs(instruction: &Instruction, variables: &Variables, escape: char) -> Vec<(String, Option<String>)> {
    let found = words(&instruction.args, escape);
    let is_older = instruction.keyword != "ARG" && found.first().is_some_and(|word| !word.contains('='));
    if is_older {
        let (name, value) = instruction.args.split_once(char::is_whitespace).unwrap_or((&instruction.args, ""));
        return vec![(name.to_owned(), variables.fill(value.trim(), escape))];
    }
    let pair = |word: &&str| {
        let (name, value) = word.split_once('=')?;
        let name = variables.fill(name, escape)?;
        Some((name, variables.fill(value, escape)))
    };
    found.iter().filter_map(pair).collect()
}

/// The stages, in their order.
pub(super) fn stages(parsed: &Parsed) -> Vec<Stage<'_>> {
    let escape = parsed.escape;
    let mut global = Variables::default();
    let mut stages: Vec<Stage<'_>> = Vec::new();
    for instruction in &parsed.instructions {
        if instruction.keyword == "FROM" && !instruction.on_build {
            if stages.len() == MOST {
                break;
            }
            let stage = begin(instruction, &global, &stages, escape);
            stages.push(stage);
        } else if let Some(stage) = stages.last_mut() {
            stage.instructions.push(instruction);
            if !instruction.on_build {
                Rc::make_mut(&mut stage.state).take(instruction, &global, escape);
            }
        } else if instruction.keyword == "ARG" {
            arguments(instruction, &mut global, None, escape);
        }
    }
    stages
}

fn begin<'p>(from: &'p Instruction, global: &Variables, stages: &[Stage<'p>], escape: char) -> Stage<'p> {
    let found = words(&from.args, escape);
    let base = found.first().and_then(|word| global.fill(word, escape));
    let name = match found.get(1..3) {
        Some([word, name]) if word.eq_ignore_ascii_case("as") => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    let lower = base.as_ref().map(|base| base.to_ascii_lowercase());
    match stages.iter().rev().find(|stage| stage.name.is_some() && stage.name == lower) {
        Some(stage) => Stage { from, image: None, name, ..stage.clone() },
        None => {
            let image = base.filter(|base| base != "scratch");
            Stage { from, image, name, instructions: Vec::new(), state: Rc::default() }
        }
    }
}

/// ARG: with its default, with the one that stands before the first FROM, or given at the build.
fn arguments(instruction: &Instruction, into: &mut Variables, global: Option<&Variables>, escape: char) {
    for word in words(&instruction.args, escape) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, into.fill(value, escape)),
            None => (word, global.and_then(|global| global.get(word)).map(str::to_owned)),
        };
        into.set(name, value);
    }
}

impl State {
    fn take(&mut self, instruction: &Instruction, global: &Variables, escape: char) {
        let line = Some(instruction.lines.0);
        // What is not known stays as it is written: it is nobody's name.
        let filled = |variables: &Variables, text: &str| variables.fill(text, escape).unwrap_or_else(|| text.to_owned());
        match instruction.keyword {
            "ARG" => arguments(instruction, &mut self.variables, Some(global), escape),
            "ENV" => {
                for (name, value) in pairs(instruction, &self.variables, escape) {
                    let begin = format!("{name}=");
                    self.config.env.retain(|own| !own.starts_with(&begin));
                    self.config.env.push(begin + value.as_deref().unwrap_or_default());
                    self.variables.set(&name, value);
                }
            }
            "USER" => {
                self.config.user = filled(&self.variables, &instruction.args);
                self.user = line;
            }
            "EXPOSE" => {
                let ports = words(&instruction.args, escape);
                self.config.ports.extend(ports.into_iter().filter_map(|port| self.variables.fill(port, escape)));
                self.ports = self.ports.or(line);
            }
            "HEALTHCHECK" => {
                let (kind, rest) = instruction.args.split_once(char::is_whitespace).unwrap_or((&instruction.args, ""));
                self.config.healthcheck = if kind.eq_ignore_ascii_case("CMD") {
                    let json: Option<Vec<String>> = serde_json::from_slice(rest.trim().as_bytes()).ok();
                    json.map_or_else(
                        || vec!["CMD-SHELL".to_owned(), rest.trim().to_owned()],
                        |words| std::iter::once("CMD".to_owned()).chain(words).collect(),
                    )
                } else {
                    vec!["NONE".to_owned()]
                };
                self.healthcheck = line;
            }
            _ => {}
        }
    }
}
