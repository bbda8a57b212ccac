//! Reads a system description and says where it is wrong.

mod elements;
mod links;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node, TextPos};

use crate::check::Element;
use crate::{Permissions, System, Target};

/// A system description that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// What is wrong, in the order of the file; at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong with a system description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// True for a part of Microkit's format that this crate does not support. It is no fault of the description.
    pub unsupported: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Reads a system description, and the lengths of the prefill files that it names.
///
/// Prefill files are looked for in the `search_paths`, as in Microkit's tool, whose first search
/// path is the current directory.
///
/// # Errors
/// Everything that is wrong with it: what cannot be read, or else what [`System::check`] finds.
pub fn parse(text: &str, target: &Target, search_paths: &[&Path]) -> Result<System, Error> {
    let Reading { system, problems } = read(text, target, search_paths);
    if problems.is_empty() {
        Ok(system)
    } else {
        Err(Error { problems })
    }
}

/// The result of reading a system description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The system. If there are problems, it lacks the parts that have them, and is unchecked.
    pub system: System,
    /// Errors and unsupported parts, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads as much of a system description as possible. Otherwise it works as [`parse`].
pub fn read(text: &str, target: &Target, search_paths: &[&Path]) -> Reading {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            return Reading {
                problems: vec![problem(error.pos(), error.to_string())],
                ..Reading::default()
            };
        }
    };
    let mut reader = Reader {
        document: &document,
        search_paths,
        domains: 0,
        prefills: HashMap::new(),
        positions: HashMap::new(),
        problems: Vec::new(),
    };
    let system = reader.document();
    if reader.problems.is_empty() {
        let violations = system.check_with(target, &reader.prefills);
        let positions = &reader.positions;
        reader.problems = violations
            .into_iter()
            .map(|violation| {
                let at = |element| positions.get(&element).copied();
                let message = match violation.other.and_then(at) {
                    Some(other) => format!("{}, at {other}", violation.message),
                    None => violation.message,
                };
                problem(at(violation.element).unwrap_or(TextPos::new(1, 1)), message)
            })
            .collect();
    }
    reader.problems.sort_by_key(|p| (p.line, p.column));
    Reading {
        system,
        problems: reader.problems,
    }
}

/// The first of the search paths under which this file exists; an absolute path stands for itself.
pub fn find(path: &Path, search_paths: &[&Path]) -> Option<PathBuf> {
    search_paths
        .iter()
        .map(|directory| directory.join(path))
        .chain(path.is_absolute().then(|| path.to_path_buf()))
        .find(|path| path.exists())
}

fn problem(at: TextPos, message: String) -> Problem {
    Problem {
        line: at.row,
        column: at.col,
        message,
        unsupported: false,
    }
}

/// Reads elements; what is wrong is collected, so that one run shows all of it.
struct Reader<'a> {
    document: &'a Document<'a>,
    search_paths: &'a [&'a Path],
    /// Number of protection domains read so far, which is the index of the next one.
    domains: usize,
    /// Length of the prefill file of each region that has one.
    prefills: HashMap<String, u64>,
    positions: HashMap<Element, TextPos>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn at(&self, node: Node<'_, '_>) -> TextPos {
        self.document.text_pos_at(node.range().start)
    }

    fn wrong(&mut self, node: Node<'_, '_>, message: impl Into<String>) {
        let problem = problem(self.at(node), message.into());
        self.problems.push(problem);
    }

    /// Reports an element of the format that the model does not support.
    fn unsupported(&mut self, node: Node<'_, '_>, message: impl Into<String>) {
        let at = self.at(node);
        self.problems.push(Problem {
            unsupported: true,
            ..problem(at, message.into())
        });
    }

    /// Reports attributes of the format that the model does not support.
    fn unsupported_attributes(&mut self, node: Node<'_, '_>, names: &[&str]) {
        for attribute in node.attributes() {
            if names.contains(&attribute.name()) {
                let at = self.document.text_pos_at(attribute.range().start);
                let message = format!("`{}` is not supported", attribute.name());
                self.problems.push(Problem {
                    unsupported: true,
                    ..problem(at, message)
                });
            }
        }
    }

    fn place(&mut self, element: Element, node: Node<'_, '_>) {
        let at = self.at(node);
        self.positions.insert(element, at);
    }

    /// The child elements; text between them is refused.
    fn elements(&mut self, node: Node<'a, 'a>) -> Vec<Node<'a, 'a>> {
        let mut elements = Vec::new();
        for child in node.children() {
            if child.is_element() {
                elements.push(child);
            } else if child.is_text() && !child.text().unwrap_or_default().trim().is_empty() {
                let name = node.tag_name().name();
                self.wrong(child, format!("text is not allowed in `{name}`"));
            }
        }
        elements
    }

    /// An element that has no child elements.
    fn leaf(&mut self, node: Node<'a, 'a>) {
        for child in self.elements(node) {
            self.unknown(child, node.tag_name().name());
        }
    }

    fn unknown(&mut self, node: Node<'_, '_>, parent: &str) {
        let name = node.tag_name().name();
        self.wrong(node, format!("`{name}` is not an element of `{parent}`"));
    }

    fn attributes(&mut self, node: Node<'_, '_>, allowed: &[&str]) {
        for attribute in node.attributes() {
            if !allowed.contains(&attribute.name()) {
                let at = self.document.text_pos_at(attribute.range().start);
                let (name, element) = (attribute.name(), node.tag_name().name());
                let message = format!("`{name}` is not an attribute of `{element}`");
                self.problems.push(problem(at, message));
            }
        }
    }

    /// An attribute's value as `read` understands it; `None` if it is not given.
    fn optional<T>(
        &mut self,
        node: Node<'_, '_>,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let attribute = node.attribute_node(name)?;
        match read(attribute.value()) {
            Ok(value) => Some(value),
            Err(message) => {
                let at = self.document.text_pos_at(attribute.range_value().start);
                self.problems
                    .push(problem(at, format!("`{name}`: {message}")));
                None
            }
        }
    }

    /// As [`optional`](Self::optional), for an attribute that must be given.
    fn required<T>(
        &mut self,
        node: Node<'_, '_>,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if node.attribute(name).is_none() {
            let element = node.tag_name().name();
            self.wrong(node, format!("`{element}` needs the attribute `{name}`"));
        }
        self.optional(node, name, read)
    }
}

/// The comment directly before an element.
fn comment(node: Node<'_, '_>) -> Option<String> {
    let mut before = node.prev_sibling();
    while let Some(sibling) = before {
        if sibling.is_comment() {
            return sibling.text().map(|text| dedent(text.trim()));
        }
        if !sibling.is_text() || !sibling.text().unwrap_or_default().trim().is_empty() {
            return None;
        }
        before = sibling.prev_sibling();
    }
    None
}

/// A comment without the indentation of its lines, which depends on where it stands.
fn dedent(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("\n")
}

fn text(value: &str) -> Result<String, String> {
    Ok(value.to_string())
}

fn path(value: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(value))
}

fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("`{value}` is neither `true` nor `false`")),
    }
}

/// A number in decimal, or in hexadecimal behind `0x`; `_` may separate digits.
fn number(value: &str) -> Result<u64, String> {
    let digits: String = value.chars().filter(|&c| c != '_').collect();
    let parsed = match digits.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    parsed
        .ok()
        .filter(|_| !digits.contains('+'))
        .ok_or_else(|| {
            format!("`{value}` is not a number of 64 bits in decimal or hexadecimal (0x)")
        })
}

/// A number in a range, in decimal or hexadecimal.
fn within(max: u64) -> impl FnOnce(&str) -> Result<u64, String> {
    move |value| {
        let number = number(value)?;
        if number > max {
            return Err(format!("{value} is out of range: it must be 0 to {max}"));
        }
        Ok(number)
    }
}

/// A number from `min` to `max` in decimal: Microkit's tool reads these with no other base.
fn decimal<T>(min: T, max: T) -> impl FnOnce(&str) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    move |value| {
        value
            .parse()
            .ok()
            .filter(|number| *number >= min && *number <= max && !value.starts_with('+'))
            .ok_or_else(|| {
                format!("`{value}` is out of range: it must be {min} to {max} in decimal")
            })
    }
}

fn permissions(value: &str) -> Result<Permissions, String> {
    let mut permissions = Permissions::default();
    for letter in value.chars() {
        match letter {
            'r' => permissions.read = true,
            'w' => permissions.write = true,
            'x' => permissions.execute = true,
            _ => return Err(format!("`{letter}` is none of `r`, `w` and `x`")),
        }
    }
    Ok(permissions)
}
