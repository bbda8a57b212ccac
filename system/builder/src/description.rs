//! A system description as it is written: `system/NAME.toml`, before anything in it is looked up.

use std::ops::Range;

use crate::diagnostics::Problem;
use crate::toml::{Entry, Fields, Node, Reader, Spanned};

/// A system description.
pub(crate) struct Description {
    pub name: Spanned<String>,
    /// Memory of the machine in bytes, if the description asks for more or less than the board has.
    pub memory: Option<Spanned<u64>>,
    /// True if the builder adds nothing from the board file.
    pub complete: bool,
    pub protections: Vec<Written>,
}

/// A protection as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    pub name: Spanned<String>,
    pub program: Spanned<String>,
    pub entries: Vec<Entry>,
}

impl Written {
    /// The value of a key that every protection has.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The place of a key's value, or else of the protection's name.
    pub fn span(&self, key: &str) -> Range<usize> {
        match self.entry(key) {
            Some(entry) => entry.value.span.clone(),
            None => self.name.span.clone(),
        }
    }
}

/// Reads the outline of a description; `None` if there is nothing to go on with.
pub(crate) fn read(reader: &mut Reader<'_>, document: &Node) -> Option<Description> {
    let mut fields = Fields::new(reader.table("the description", document)?);
    let (system, protections) = (fields.take("system"), fields.take("protection"));
    fields.finish(reader, "a description");
    let header = match system {
        Some(entry) => header(reader, entry),
        None => {
            let problem = reader.wrong(&(0..0), "the table [system] is missing");
            problem.help = Some("a description begins with\n[system]\nname = \"…\"".into());
            Header::default()
        }
    };
    let Some(protections) = protections else {
        let problem = reader.wrong(&(0..0), "the description has no protection");
        problem.help = Some("add one:\n[protection.NAME]\nprogram = \"…\"".into());
        return None;
    };
    Some(Description {
        name: header.name.unwrap_or_else(|| Spanned {
            value: String::new(),
            span: 0..0,
        }),
        memory: header.memory,
        complete: header.complete,
        protections: self::protections(reader, protections)?,
    })
}

/// Reads the table `protection`, of a description or of a board file.
pub(crate) fn protections(reader: &mut Reader<'_>, entry: &Entry) -> Option<Vec<Written>> {
    let entries = reader.table("protection", &entry.value)?;
    let written = entries.iter();
    Some(
        written
            .filter_map(|entry| protection(reader, entry))
            .collect(),
    )
}

/// The table `system`.
#[derive(Default)]
struct Header {
    name: Option<Spanned<String>>,
    memory: Option<Spanned<u64>>,
    complete: bool,
}

fn header(reader: &mut Reader<'_>, entry: &Entry) -> Header {
    let mut header = Header::default();
    let Some(entries) = reader.table("system", &entry.value) else {
        return header;
    };
    let mut fields = Fields::new(entries);
    let name = fields.take("name");
    let (memory, complete) = (fields.take("memory"), fields.take("complete"));
    fields.finish(reader, "[system]");
    header.memory = memory.and_then(|entry| reader.size(entry));
    header.complete = complete.and_then(|entry| reader.boolean(entry)) == Some(true);
    let Some(name) = name else {
        let problem = reader.wrong(&entry.key_span, "the system has no name");
        problem.help = Some("add: name = \"…\"".into());
        return header;
    };
    header.name = reader.text(name);
    if let Some(name) = &header.name {
        check_name(reader, name, "a system");
    }
    header
}

fn protection(reader: &mut Reader<'_>, entry: &Entry) -> Option<Written> {
    let entries = reader.table(&entry.key, &entry.value)?;
    let name = Spanned {
        value: entry.key.clone(),
        span: entry.key_span.clone(),
    };
    check_name(reader, &name, "a protection");
    let Some(program) = entries.iter().find(|entry| entry.key == "program") else {
        let message = format!("the protection `{}` has no program", name.value);
        let problem = Problem::at(reader.source, name.span, message);
        reader
            .problems
            .push(problem.help("add: program = \"…\", the name of a package in protections/"));
        return None;
    };
    Some(Written {
        name,
        program: reader.text(program)?,
        entries: entries.to_vec(),
    })
}

fn check_name(reader: &mut Reader<'_>, name: &Spanned<String>, what: &str) {
    let text = &name.value;
    let length = text.len();
    if length > microkit_sdf::MAX_NAME_LENGTH {
        let problem = reader.wrong(&name.span, format!("this name is {length} bytes long"));
        problem.help = Some(format!(
            "{what} has a name of at most {} bytes (a limit of Microkit)",
            microkit_sdf::MAX_NAME_LENGTH
        ));
        return;
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(allowed) {
        let problem = reader.wrong(&name.span, format!("`{text}` is not a name of {what}"));
        problem.help =
            Some("a name begins with a small letter and has small letters, digits, - and _".into());
    } else if text == "monitor" {
        let problem = reader.wrong(&name.span, "`monitor` is the name of Microkit's own domain");
        problem.help = Some("choose another name".into());
    }
}
