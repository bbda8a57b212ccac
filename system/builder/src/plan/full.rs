//! A description with nothing left out.

use std::fmt::Write as _;

use super::{Plan, Protection};
use crate::description::Written;
use crate::toml::{Entry, Kind, Node};

impl Plan {
    /// Returns the description with the PDs from the board file, in TOML. With the same files beside it, it makes the
    /// same system. Comments show the values that the builder chose for keys that are left out.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "# {} for the board {}, with nothing left out. Files are named from the folder of {}.\n\n[system]\nname = {}\n\
             complete = true # nothing is added from the board file\n",
            self.name,
            self.board.name,
            self.source.name,
            quoted(&self.name),
        );
        if !self.board.has_fixed_memory() {
            let memory = size(self.board.memory);
            let _ = writeln!(text, "memory = {memory}");
        }
        for (written, protection) in self.written.iter().zip(&self.protections) {
            text.push_str(&self.protection(written, protection));
        }
        text
    }

    fn protection(&self, written: &Written, protection: &Protection) -> String {
        let origin = match self.added.contains(&protection.name) {
            true => format!(" # from system/boards/{}.toml", self.board.name),
            false => String::new(),
        };
        let mut text = format!("\n[protection.{}]{origin}\n", protection.name);
        for entry in &written.entries {
            let _ = writeln!(text, "{}", pair(entry));
        }
        for (key, value) in self.decided(protection) {
            if written.entry(&key).is_none() {
                let _ = writeln!(text, "# {key} = {value}");
            }
        }
        text
    }

    /// Returns the keys that the builder decides if a description leaves them out, with their TOML values.
    fn decided(&self, protection: &Protection) -> Vec<(String, String)> {
        let mut decided = vec![
            ("priority".into(), protection.priority.to_string()),
            ("memory".into(), size(protection.memory)),
            ("stack".into(), size(protection.stack)),
            ("restart".into(), protection.restart.to_string()),
        ];
        let index = self
            .protections
            .iter()
            .position(|p| p.name == protection.name);
        let connections = self.connections.iter();
        for connection in connections.filter(|c| Some(c.consumer) == index) {
            let provider = &self.protections[connection.provider].name;
            decided.push((connection.consumer_port.clone(), quoted(provider)));
        }
        decided
    }
}

fn pair(entry: &Entry) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let key = match !entry.key.is_empty() && entry.key.chars().all(bare) {
        true => entry.key.clone(),
        false => quoted(&entry.key),
    };
    format!("{key} = {}", value(&entry.value))
}

fn value(node: &Node) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match &node.kind {
        Kind::Text(text) => quoted(text),
        Kind::Integer(number) => number.to_string(),
        Kind::Boolean(boolean) => boolean.to_string(),
        Kind::List(nodes) => format!("[{}]", joined(nodes.iter().map(value).collect())),
        Kind::Table(entries) if entries.is_empty() => "{}".into(),
        Kind::Table(entries) => format!("{{ {} }}", joined(entries.iter().map(pair).collect())),
        // No key of a description allows such a value: the plan would have been refused.
        Kind::Other(what) => quoted(what),
    }
}

/// Formats a basic string of TOML.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// Formats a size as in a description.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    let fitting = units
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match fitting {
        Some((unit, name)) => format!("\"{}{name}\"", bytes / unit),
        None => bytes.to_string(),
    }
}
