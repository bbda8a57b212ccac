//! What a program says of itself: `[package.metadata.selkie]` in `protections/*/Cargo.toml`.

mod keys;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wiring::Role;

use crate::board::{BUSES, Device};
use crate::diagnostics::{Problem, Source, suggest};
use crate::interface::{INTERFACES, Interface};
use crate::toml::{self, Entry, Fields, Kind, Node, Reader};

pub(crate) use keys::value;
pub use keys::{Key, KeyKind};

/// Keys of a protection in a description that no port may be named after.
pub(crate) const PROTECTION_KEYS: [&str; 11] = [
    "program", "priority", "budget", "period", "passive", "memory", "stack", "device", "config",
    "data", "restart",
];

/// Stack in bytes of a program that names none.
const DEFAULT_STACK: u64 = 16 * 1024;

/// A kind of device that a program drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drives {
    /// The kind.
    pub kind: String,
    /// The only bus on which it drives them; none: wherever they are.
    pub bus: Option<String>,
}

impl Program {
    /// Whether it drives this device.
    pub fn drives(&self, device: &Device) -> bool {
        let same_bus = |drives: &Drives| drives.bus.as_ref().is_none_or(|bus| *bus == device.bus);
        let same = |drives: &Drives| drives.kind == device.kind && same_bus(drives);
        self.devices.iter().any(same)
    }
}

impl Drives {
    /// `KIND` or `KIND@BUS`.
    fn new(text: &str) -> Self {
        let (kind, bus) = match text.split_once('@') {
            Some((kind, bus)) => (kind, Some(bus.to_owned())),
            None => (text, None),
        };
        Self {
            kind: kind.to_owned(),
            bus,
        }
    }
}

impl fmt::Display for Drives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bus {
            Some(bus) => write!(f, "{}@{bus}", self.kind),
            None => f.write_str(&self.kind),
        }
    }
}

/// A program that protections run.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Its name, which is that of its folder and of its binary.
    pub name: String,
    /// The package that it is built from.
    pub package: String,
    /// What it does, in one line.
    pub description: String,
    /// Heap in bytes, without that of its connections ([`Port::per_connection`]).
    pub memory: u64,
    /// The least that a description may give in place of [`Program::memory`], in bytes.
    pub least_memory: u64,
    /// Stack in bytes, where a description gives none.
    pub stack: u64,
    /// The kinds of device it can drive; if there are any, it needs one, unless it can do without.
    pub devices: Vec<Drives>,
    /// Whether it can do without a device.
    pub device_optional: bool,
    /// Memory for its device's queues in bytes.
    pub dma: u64,
    /// Whether it is told of all protection domains.
    pub domains: bool,
    /// Whether it only answers, where a description does not say: on an MCS kernel it then runs on its callers'
    /// time.
    pub passive: bool,
    /// Whether it can start over after a fault, with its peers going on.
    pub restart: bool,
    /// The secrets that it holds.
    pub holds: Vec<Holding>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Its configuration.
    pub config: Vec<Key>,
    /// The data it reads.
    pub data: Vec<Data>,
}

/// Secrets that a program may hold. `selkie audit secrets` looks for all of them everywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holding {
    /// Long-term private keys.
    Keys,
    /// The secrets of TLS sessions.
    Sessions,
    /// What sessions carry: a service.
    Plaintext,
}

/// A port of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: &'static Interface,
    /// Which side of the interface it is.
    pub role: Role,
    /// Whether it takes several connections.
    pub many: bool,
    /// Whether it may stay unconnected; a provider's may always.
    pub optional: bool,
    /// Heap in bytes for each connection that a `streams` port can have open.
    pub per_connection: u64,
}

/// Read-only data of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Its name.
    pub name: String,
    /// What it is made from.
    pub kind: DataKind,
    /// Whether it may be left out.
    pub optional: bool,
}

/// What data is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// A folder of files, as a site bundle.
    Folder,
    /// The bytes of a file.
    File,
    /// The keys of a vault.
    Keys,
    /// Certificates of authorities.
    Authorities,
    /// The symbols of all programs.
    Symbols,
}

/// Where each program's manifest is: name, package and path.
#[derive(Debug, Default)]
pub(crate) struct Manifests(Vec<(String, String, PathBuf)>);

impl Manifests {
    /// Finds the packages in `protections/*` below `root` that say that they are programs.
    pub fn find(root: &Path) -> Self {
        let folders = std::fs::read_dir(root.join("protections"));
        let mut found: Vec<(String, String, PathBuf)> = folders
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|folder| {
                let name = folder.file_name().into_string().ok()?;
                let path = folder.path().join("Cargo.toml");
                let text = std::fs::read_to_string(&path).ok()?;
                let manifest = toml_edit::Document::parse(text).ok()?;
                let package = manifest.as_table().get("package")?;
                package.get("metadata")?.get("selkie")?;
                Some((name, package.get("name")?.as_str()?.to_string(), path))
            })
            .collect();
        found.sort();
        Self(found)
    }

    /// The names of all programs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _, _)| name.as_str())
    }

    /// The names of the programs that provide an interface.
    pub fn providers(&self, root: &Path, interface: &Interface) -> Vec<&str> {
        let provides = |name: &&str| {
            let Some(Ok(program)) = self.load(root, name) else {
                return false;
            };
            let mut ports = program.ports.iter();
            ports.any(|port| port.role == Role::Provider && port.interface == interface)
        };
        self.names().filter(provides).collect()
    }

    /// The program of this name; `None` if there is none.
    pub fn load(&self, root: &Path, name: &str) -> Option<Result<Program, Vec<Problem>>> {
        let (_, package, path) = self.0.iter().find(|(known, _, _)| known == name)?;
        let program = load(root, name, path).map(|program| Program {
            package: package.clone(),
            ..program
        });
        Some(program)
    }
}

fn load(root: &Path, name: &str, path: &Path) -> Result<Program, Vec<Problem>> {
    let source = Source::read(path, root).map_err(|problem| vec![problem])?;
    let document = toml::parse(&source).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let program = selkie_table(&document).and_then(|entry| {
        let mut reader = Reader {
            source: &source,
            problems: &mut problems,
        };
        program(&mut reader, name, entry)
    });
    match program {
        Some(program) if problems.is_empty() => Ok(program),
        _ if problems.is_empty() => Err(vec![unusable(&source)]),
        _ => Err(problems),
    }
}

fn unusable(source: &Arc<Source>) -> Problem {
    Problem::at(source, 0..0, "this manifest describes no program")
        .help("it needs a table [package.metadata.selkie]")
}

fn selkie_table(document: &Node) -> Option<&Entry> {
    let mut entry = None;
    let mut node = document;
    for key in ["package", "metadata", "selkie"] {
        let Kind::Table(entries) = &node.kind else {
            return None;
        };
        let found = entries.iter().find(|entry| entry.key == key)?;
        node = &found.value;
        entry = Some(found);
    }
    entry
}

fn program(reader: &mut Reader<'_>, name: &str, entry: &Entry) -> Option<Program> {
    let mut fields = Fields::new(reader.table("selkie", &entry.value)?);
    let (description, memory) = (fields.take("description"), fields.take("memory"));
    let least_memory = fields.take("least_memory");
    if let Some(given) = fields.take("program").and_then(|entry| reader.text(entry))
        && given.value != name
    {
        let problem = reader.wrong(&given.span, "a program has the name of its folder");
        problem.help = Some(format!("write `{name}`, or leave it out"));
    }
    let (stack, device) = (fields.take("stack"), fields.take("device"));
    let device_optional = fields.take("device_optional");
    let (dma, domains) = (fields.take("dma"), fields.take("domains"));
    let (passive, restart) = (fields.take("passive"), fields.take("restart"));
    let holds = fields.take("holds");
    let ports = fields.take("ports");
    let config = fields.take("config");
    let data = fields.take("data");
    fields.finish(reader, "[package.metadata.selkie]");
    if description.is_none() || memory.is_none() {
        reader.wrong(
            &entry.key_span,
            "a program has a `description` and `memory`",
        );
    }
    let devices = device.map_or_else(|| Some(Vec::new()), |entry| drives(reader, entry));
    let holds = holds.map_or_else(|| Some(Vec::new()), |entry| holdings(reader, entry));
    let ports: Vec<Port> = tables(reader, ports, port);
    check_ports(reader, entry, &ports);
    let memory = memory.and_then(|entry| reader.size(entry));
    let least_memory = match least_memory {
        Some(entry) => reader.size(entry),
        None => memory.clone(),
    };
    Some(Program {
        name: name.to_string(),
        package: String::new(),
        description: reader.text(description?)?.value,
        memory: memory?.value,
        least_memory: least_memory?.value,
        stack: match stack {
            Some(entry) => reader.size(entry)?.value,
            None => DEFAULT_STACK,
        },
        devices: devices?,
        device_optional: flag(reader, device_optional),
        dma: match dma {
            Some(entry) => reader.size(entry)?.value,
            None => 0,
        },
        domains: flag(reader, domains),
        passive: flag(reader, passive),
        restart: flag(reader, restart),
        holds: holds?,
        ports,
        config: tables(reader, config, keys::read),
        data: tables(reader, data, data_entry),
    })
}

fn drives(reader: &mut Reader<'_>, entry: &Entry) -> Option<Vec<Drives>> {
    let texts = reader.texts(entry)?;
    let drives: Vec<Drives> = texts.iter().map(|text| Drives::new(text)).collect();
    let buses = drives.iter().filter_map(|drives| drives.bus.as_deref());
    for bus in buses.filter(|bus| !BUSES.contains(bus)) {
        let problem = reader.wrong(&entry.value.span, format!("there is no bus `{bus}`"));
        problem.help = Some(suggest(bus, "buses", BUSES));
    }
    Some(drives)
}

fn holdings(reader: &mut Reader<'_>, entry: &Entry) -> Option<Vec<Holding>> {
    let names = reader.texts(entry)?;
    let holding = |name: &String| match name.as_str() {
        "keys" => Some(Holding::Keys),
        "sessions" => Some(Holding::Sessions),
        "plaintext" => Some(Holding::Plaintext),
        _ => None,
    };
    let known: Option<Vec<Holding>> = names.iter().map(holding).collect();
    if known.is_none() {
        let problem = reader.wrong(&entry.value.span, "a program holds no such secrets");
        problem.help = Some("secrets: `keys`, `sessions`, `plaintext`".into());
    }
    known
}

/// The entries of a table whose values are tables.
fn tables<T>(
    reader: &mut Reader<'_>,
    entry: Option<&Entry>,
    read: impl Fn(&mut Reader<'_>, &Entry) -> Option<T>,
) -> Vec<T> {
    let Some(entry) = entry else {
        return Vec::new();
    };
    let entries = reader.table(&entry.key, &entry.value).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| read(reader, entry))
        .collect()
}

fn check_ports(reader: &mut Reader<'_>, entry: &Entry, ports: &[Port]) {
    for (index, port) in ports.iter().enumerate() {
        if PROTECTION_KEYS.contains(&port.name.as_str()) {
            let message = format!("a port cannot be named `{}`", port.name);
            reader.wrong(&entry.key_span, message);
        }
        let provides =
            |other: &Port| other.role == Role::Provider && other.interface == port.interface;
        if provides(port) && ports[..index].iter().any(provides) {
            let message = format!("two ports provide `{}`", port.interface.name);
            reader.wrong(&entry.key_span, message);
        }
    }
}

fn port(reader: &mut Reader<'_>, entry: &Entry) -> Option<Port> {
    let mut fields = Fields::new(reader.table(&entry.key, &entry.value)?);
    let (interface, role) = (fields.take("interface"), fields.take("role"));
    let (many, optional) = (fields.take("many"), fields.take("optional"));
    let per_connection = fields.take("per_connection");
    fields.finish(reader, "a port");
    let (Some(interface), Some(role)) = (interface, role) else {
        reader.wrong(&entry.key_span, "a port has an `interface` and a `role`");
        return None;
    };
    let name = reader.text(interface)?;
    let Some(interface) = Interface::named(&name.value) else {
        let known = INTERFACES.iter().map(|interface| interface.name);
        let help = suggest(&name.value, "interfaces", known);
        let problem = reader.wrong(
            &name.span,
            format!("there is no interface `{}`", name.value),
        );
        problem.help = Some(help);
        return None;
    };
    if let Some(entry) = per_connection.filter(|_| interface.name != "streams") {
        let problem = reader.wrong(&entry.key_span, "only a `streams` port has connections");
        problem.help = Some("leave `per_connection` out".into());
    }
    let role_text = reader.text(role)?;
    let role = match role_text.value.as_str() {
        "provider" => Role::Provider,
        "consumer" => Role::Consumer,
        _ => {
            let problem = reader.wrong(&role_text.span, "there is no such role");
            problem.help = Some("roles: `provider`, `consumer`".into());
            return None;
        }
    };
    Some(Port {
        name: entry.key.clone(),
        interface,
        role,
        many: flag(reader, many),
        optional: flag(reader, optional),
        per_connection: match per_connection {
            Some(entry) => reader.size(entry)?.value,
            None => 0,
        },
    })
}

fn flag(reader: &mut Reader<'_>, entry: Option<&Entry>) -> bool {
    entry.is_some_and(|entry| reader.boolean(entry).unwrap_or(false))
}

fn data_entry(reader: &mut Reader<'_>, entry: &Entry) -> Option<Data> {
    let mut fields = Fields::new(reader.table(&entry.key, &entry.value)?);
    let (kind, optional) = (fields.take("kind"), fields.take("optional"));
    fields.finish(reader, "data");
    let Some(kind) = kind else {
        reader.wrong(&entry.key_span, "data has a `kind`");
        return None;
    };
    let name = reader.text(kind)?;
    let kind = match name.value.as_str() {
        "folder" => DataKind::Folder,
        "file" => DataKind::File,
        "keys" => DataKind::Keys,
        "authorities" => DataKind::Authorities,
        "symbols" => DataKind::Symbols,
        _ => {
            let problem = reader.wrong(&name.span, "there is no such kind of data");
            problem.help = Some("kinds: `folder`, `file`, `keys`, `authorities`, `symbols`".into());
            return None;
        }
    };
    Some(Data {
        name: entry.key.clone(),
        kind,
        optional: flag(reader, optional),
    })
}
