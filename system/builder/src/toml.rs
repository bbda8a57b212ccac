//! TOML as a tree in which every key and value knows its place.

use std::ops::Range;
use std::sync::Arc;

use toml_edit::{Document, Item, TableLike, Value};

use crate::diagnostics::{Problem, Source, suggest};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub span: Range<usize>,
    pub kind: Kind,
}

/// The value itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A floating-point number or a date, which no description uses.
    Other(&'static str),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub value: Node,
}

/// A value that was read, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// Reads a TOML file as one table.
pub(crate) fn parse(source: &Arc<Source>) -> Result<Node, Problem> {
    match Document::parse(source.text.as_str()) {
        Ok(document) => Ok(Node {
            span: 0..0,
            kind: Kind::Table(entries(document.as_table())),
        }),
        Err(error) => {
            let message = error.message().lines().next().unwrap_or("not TOML");
            let span = error.span().unwrap_or(0..0);
            Err(
                Problem::at(source, span, format!("this is not TOML: {message}"))
                    .label("here")
                    .help("https://toml.io/en/v1.0.0 describes the format"),
            )
        }
    }
}

fn entries(table: &dyn TableLike) -> Vec<Entry> {
    table
        .iter()
        .filter_map(|(name, item)| {
            let key_span = table.key(name).and_then(|key| key.span());
            let value = node(item)?;
            Some(Entry {
                key: name.to_string(),
                key_span: key_span.unwrap_or_else(|| value.span.clone()),
                value,
            })
        })
        .collect()
}

fn node(item: &Item) -> Option<Node> {
    let span = item.span().unwrap_or(0..0);
    let kind = match item {
        Item::None => return None,
        Item::Value(value) => return Some(value_node(value)),
        Item::Table(table) => Kind::Table(entries(table)),
        Item::ArrayOfTables(tables) => Kind::List(
            tables
                .iter()
                .map(|table| Node {
                    span: table.span().unwrap_or(0..0),
                    kind: Kind::Table(entries(table)),
                })
                .collect(),
        ),
    };
    Some(Node { span, kind })
}

fn value_node(value: &Value) -> Node {
    let kind = match value {
        Value::String(text) => Kind::Text(text.value().clone()),
        Value::Integer(number) => Kind::Integer(*number.value()),
        Value::Boolean(boolean) => Kind::Boolean(*boolean.value()),
        Value::Float(_) => Kind::Other("a floating-point number"),
        Value::Datetime(_) => Kind::Other("a date"),
        Value::Array(values) => Kind::List(values.iter().map(value_node).collect()),
        Value::InlineTable(table) => Kind::Table(entries(table)),
    };
    Node {
        span: value.span().unwrap_or(0..0),
        kind,
    }
}

impl Entry {
    /// The value, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Entry {
    /// Returns the same, with every place moved by this many bytes.
    pub fn shifted(&self, by: usize) -> Self {
        Self {
            key: self.key.clone(),
            key_span: shifted(&self.key_span, by),
            value: self.value.shifted(by),
        }
    }
}

/// Returns a place, moved by this many bytes.
pub(crate) fn shifted(span: &Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

impl Node {
    /// Returns the same, with every place moved by this many bytes.
    fn shifted(&self, by: usize) -> Self {
        let kind = match &self.kind {
            Kind::List(nodes) => Kind::List(nodes.iter().map(|node| node.shifted(by)).collect()),
            Kind::Table(entries) => {
                Kind::Table(entries.iter().map(|entry| entry.shifted(by)).collect())
            }
            other => other.clone(),
        };
        Self {
            span: shifted(&self.span, by),
            kind,
        }
    }

    /// What kind of value it is, in words.
    pub fn described(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "text",
            Kind::Integer(_) => "a number",
            Kind::Boolean(_) => "a truth value",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::Other(what) => what,
        }
    }
}

/// Reads tables by their keys, and collects what is wrong with them.
pub(crate) struct Reader<'a> {
    pub source: &'a Arc<Source>,
    pub problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn wrong(&mut self, span: &Range<usize>, message: impl Into<String>) -> &mut Problem {
        let problem = Problem::at(self.source, span.clone(), message);
        self.problems.push(problem);
        self.problems.last_mut().expect("one was just pushed")
    }

    fn mistyped(&mut self, name: &str, node: &Node, expected: &str) {
        let problem = Problem::at(
            self.source,
            node.span.clone(),
            format!("`{name}` is {}", node.described()),
        );
        self.problems
            .push(problem.label(format!("expected {expected}")));
    }

    /// The entries of a table.
    pub fn table<'n>(&mut self, name: &str, node: &'n Node) -> Option<&'n [Entry]> {
        match &node.kind {
            Kind::Table(entries) => Some(entries),
            _ => {
                self.mistyped(name, node, "a table, such as { key = \"value\" }");
                None
            }
        }
    }

    pub fn text(&mut self, entry: &Entry) -> Option<Spanned<String>> {
        match &entry.value.kind {
            Kind::Text(text) => Some(spanned(text.clone(), &entry.value)),
            _ => {
                self.mistyped(&entry.key, &entry.value, "text in quotation marks");
                None
            }
        }
    }

    pub fn boolean(&mut self, entry: &Entry) -> Option<bool> {
        match entry.value.kind {
            Kind::Boolean(value) => Some(value),
            _ => {
                self.mistyped(&entry.key, &entry.value, "true or false");
                None
            }
        }
    }

    pub fn list<'n>(&mut self, entry: &'n Entry) -> Option<&'n [Node]> {
        match &entry.value.kind {
            Kind::List(values) => Some(values),
            _ => {
                self.mistyped(&entry.key, &entry.value, "a list, such as [\"a\", \"b\"]");
                None
            }
        }
    }

    pub fn texts(&mut self, entry: &Entry) -> Option<Vec<String>> {
        let values = self.list(entry)?;
        let mut texts = Vec::new();
        for value in values {
            match &value.kind {
                Kind::Text(text) => texts.push(text.clone()),
                _ => self.mistyped(&format!("a part of {}", entry.key), value, "text"),
            }
        }
        Some(texts)
    }

    /// A whole number from `min` to `max`.
    pub fn number(&mut self, entry: &Entry, min: i64, max: i64) -> Option<Spanned<i64>> {
        let Kind::Integer(value) = entry.value.kind else {
            self.mistyped(&entry.key, &entry.value, "a whole number");
            return None;
        };
        if !(min..=max).contains(&value) {
            let message = format!("`{}` is out of range", entry.key);
            let problem = Problem::at(self.source, entry.value.span.clone(), message);
            self.problems
                .push(problem.label(format!("must be {min} to {max}")));
            return None;
        }
        Some(spanned(value, &entry.value))
    }

    /// A number of bytes: a whole number, or text such as `"64K"` or `"2M"`.
    pub fn size(&mut self, entry: &Entry) -> Option<Spanned<u64>> {
        let size = match &entry.value.kind {
            Kind::Integer(value) => u64::try_from(*value).ok(),
            Kind::Text(text) => parse_size(text),
            _ => None,
        };
        if size.is_none() {
            let message = format!("`{}` is not a size", entry.key);
            let problem = Problem::at(self.source, entry.value.span.clone(), message);
            self.problems.push(
                problem
                    .label("expected bytes, or a whole number with K, M or G")
                    .help(format!("for example {} = \"64K\"", entry.key)),
            );
        }
        Some(spanned(size?, &entry.value))
    }
}

fn spanned<T>(value: T, node: &Node) -> Spanned<T> {
    Spanned {
        value,
        span: node.span.clone(),
    }
}

/// The entries of a table, each taken by its key; what is left has unknown keys.
pub(crate) struct Fields<'n> {
    entries: &'n [Entry],
    known: Vec<String>,
}

impl<'n> Fields<'n> {
    pub fn new(entries: &'n [Entry]) -> Self {
        Self {
            entries,
            known: Vec::new(),
        }
    }

    /// The entry of this key, which is known from now on.
    pub fn take(&mut self, key: &str) -> Option<&'n Entry> {
        self.known.push(key.to_string());
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Reports the keys that were never asked for.
    pub fn finish(self, reader: &mut Reader<'_>, what: &str) {
        for entry in self.entries {
            if !self.known.contains(&entry.key) {
                let problem = Problem::at(
                    reader.source,
                    entry.key_span.clone(),
                    format!("`{}` is not a key of {what}", entry.key),
                );
                let known = self.known.iter().map(String::as_str);
                let help = suggest(&entry.key, "its keys", known);
                reader
                    .problems
                    .push(problem.label("unknown key").help(help));
            }
        }
    }
}

/// A number of bytes from text: digits, then nothing or K, M or G for 2^10, 2^20 or 2^30.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().next_back()? {
        (at, 'K') => (&text[..at], 1 << 10),
        (at, 'M') => (&text[..at], 1 << 20),
        (at, 'G') => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A number of bytes as people write it: in the largest unit that divides it.
pub(crate) fn show_size(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_nothing_else() {
        assert_eq!(parse_size("4096"), Some(4096));
        assert_eq!(parse_size("64K"), Some(65536));
        assert_eq!(parse_size("3G"), Some(3 << 30));
        for wrong in [
            "",
            "K",
            "64k",
            "64 K",
            "-1",
            "+1",
            "1.5M",
            "64KiB",
            "99999999999999G",
            "é",
        ] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
        assert_eq!(show_size(65536), "64 KiB");
        assert_eq!(show_size(1 << 20), "1 MiB");
        assert_eq!(show_size(1025), "1025 bytes");
    }
}
