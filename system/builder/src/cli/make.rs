//! From a description to bootable files, for the commands and for tests.

mod microkit;
mod pc99;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use microkit_sdf::{ProtectionDomain, System};
use selkie_qemu::{Boot, Forward, Machine, machine};
use serde_json::{Value, json};
use wiring::{Domain, Value as Configured};

use super::system_file::{self, SystemFile};
use super::{Endpoint, Protocol, led};
use crate::board::{Board, KernelKind};
use crate::compile::image::sha256;
use crate::flow::{self, Roles};
use crate::manifest::Holding;
use crate::programs::{self, Platform, Variant};
use crate::settings::{Configuration, Settings};
use crate::{Artefacts, Compiled, Plan};

/// What is to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// A system of `system/` by name, or a description (.toml), or a Microkit system file (.system).
    pub system: PathBuf,
    /// The board's name.
    pub board: String,
    /// How kernel and protection domains are configured.
    pub configuration: Configuration,
    /// The machine's memory in MiB; `None` for the amount in the description, or else in the board file.
    pub memory: Option<u32>,
}

/// A system that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The system's name.
    pub name: String,
    /// The board's name.
    pub board: String,
    /// How kernel and protection domains are configured.
    pub configuration: Configuration,
    /// The machine of QEMU's that is the board; none for a board that QEMU is not.
    pub machine: Option<&'static Machine>,
    /// The bootable files.
    pub boot: Boot,
    /// The folder of everything that was built.
    pub folder: PathBuf,
    /// The kernel with its symbols, for a debugger.
    pub symbols: PathBuf,
    /// Which kernel it is, with what of its configuration matters to those who rely on it.
    pub kernel_name: String,
    /// The memory of that machine in MiB.
    pub memory: u32,
    /// Bytes of all bootable files.
    pub image_size: u64,
    /// The protection domains, from the highest priority to the lowest.
    pub domains: Vec<wiring::Domain>,
    /// True if the system was built from a description (`.toml`). The programs of other systems are unknown.
    pub is_described: bool,
    /// The services, at their usual ports of this machine. A system file names none.
    pub endpoints: Vec<Endpoint>,
    /// The protection domain that serves at each of them.
    pub services: Vec<String>,
    /// TCP ports to which other services redirect clients.
    pub leads_to: Vec<u16>,
    /// What the board makes of the system that its reader might not expect.
    pub notes: Vec<String>,
    /// What its protection domains are to private keys. Only a description says so, here and below.
    pub roles: Roles,
    /// The protection domains that hold secrets, and which.
    pub holders: Vec<(String, Vec<Holding>)>,
}

/// What happens during a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next part of the work begins.
    Begin(&'a str),
    /// The part under way is at this.
    At(&'a str),
    /// The part under way is done, with this outcome.
    Done(&'a str),
}

/// Who is told what happens, from whatever thread it happens on.
pub type Observe<'a> = &'a (dyn Fn(Event<'_>) + Sync);

/// Builds a system.
///
/// # Errors
/// When the description is wrong, or a part does not build; the error's text is for people.
pub fn make(root: &Path, request: &Request, observe: Observe<'_>) -> anyhow::Result<Built> {
    make_for(root, request, observe, Purpose::Use, &[])
}

/// What a system is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be used.
    Use,
    /// To be looked at by `selkie audit secrets`: as for use, but keys of session tickets are changed every
    /// [`TICKET_PERIOD`] at least.
    Audit,
    /// The control of the audit. As for that, but the programs that hold secrets leave everywhere what they release.
    Control,
}

/// Seconds that a ticket key is in use during an audit. It is to be gone after two periods, which nobody wants to wait long
/// for; a session must be resumed within one.
pub(super) const TICKET_PERIOD: u32 = 10;

/// Builds a system as [`make`] does, for this purpose. A redirect to a guest port names the host port that is forwarded
/// to it.
///
/// # Errors
/// As [`make`].
pub(super) fn make_for(
    root: &Path,
    request: &Request,
    observe: Observe<'_>,
    purpose: Purpose,
    forwards: &[Forward],
) -> anyhow::Result<Built> {
    let board = board(root, &request.board)?;
    let file = find(root, &request.system)?;
    let work = Work {
        root,
        request,
        observe,
        settings: Settings::load(root).map_err(|wrong| anyhow!("{wrong}"))?,
        board,
        purpose,
        forwards,
    };
    if is_system_file(&file) {
        work.prepared(&file)
    } else {
        work.described(&file)
    }
}

/// Returns true if a file is a Microkit system file, by its extension.
pub(super) fn is_system_file(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "system")
}

/// The board of this name.
///
/// # Errors
/// What is wrong with its file; that there is none.
pub(super) fn board(root: &Path, name: &str) -> anyhow::Result<Board> {
    Board::load(root, name).map_err(|problems| {
        let wrong = crate::Diagnostics::new(problems);
        anyhow!("the board `{name}` cannot be used\n{wrong}")
    })
}

/// One build under way.
struct Work<'a> {
    root: &'a Path,
    request: &'a Request,
    observe: Observe<'a>,
    settings: Settings,
    board: Board,
    purpose: Purpose,
    /// Host ports that are forwarded to the guest.
    forwards: &'a [Forward],
}

/// What a system stands on, once it is built: the programs, and what makes an image of them.
struct Ground {
    /// The ELF file of each program.
    elfs: BTreeMap<String, PathBuf>,
    /// What they are built for.
    platform: Platform,
    kind: GroundKind,
}

enum GroundKind {
    Pc99(pc99::Ground),
    Microkit(microkit::Ground),
}

/// A system of which only the bootable files are missing.
struct Parts {
    name: String,
    /// The board, with the memory that the machine is to have.
    board: Board,
    folder: PathBuf,
    system: System,
    /// The system file.
    file: PathBuf,
    /// Folder that the paths in the system are relative to.
    base: PathBuf,
    /// Programs that do not lie there, by name.
    programs: BTreeMap<String, PathBuf>,
    /// What the system was compiled to, if it was described.
    compiled: Option<Compiled>,
    report: Value,
    domains: Vec<Domain>,
    endpoints: Vec<Endpoint>,
    services: Vec<String>,
    leads_to: Vec<u16>,
    notes: Vec<String>,
    roles: Roles,
    holders: Vec<(String, Vec<Holding>)>,
}

/// The bootable files.
struct Bootable {
    boot: Boot,
    /// Bytes of all of them.
    size: u64,
    /// What the report says of them.
    report: Value,
    /// What whoever builds the system should know.
    warnings: Vec<String>,
    kernel_name: String,
    /// The kernel with its symbols.
    symbols: PathBuf,
}

impl Work<'_> {
    fn described(&self, file: &Path) -> anyhow::Result<Built> {
        let memory = self.request.memory.map(|mib| u64::from(mib) << 20);
        let mut plan = crate::plan_with(self.root, file, &self.request.board, memory)
            .map_err(|wrong| anyhow!("the description is wrong\n{wrong}"))?;
        if self.purpose != Purpose::Use {
            shorten_ticket_period(&mut plan);
        }
        led::lead(&mut plan, self.forwards);
        let mut ground = self.ground(&plan.programs().into_iter().collect::<Vec<_>>())?;
        if self.purpose == Purpose::Control {
            let holders = plan
                .protections
                .iter()
                .filter(|p| !p.program.holds.is_empty());
            let names: BTreeSet<&str> = holders.map(|p| p.program.name.as_str()).collect();
            ground
                .elfs
                .extend(self.unwiped(&names.into_iter().collect::<Vec<_>>(), &ground.platform)?);
        }
        (self.observe)(Event::Begin("putting the system together"));
        let compiled = plan.compile(&Artefacts {
            symbols: symbols(&plan, &ground.elfs)?,
            elfs: ground.elfs,
        })?;
        let roles = Roles::of(&plan);
        let leaks = flow::leaks(&compiled.system, &roles);
        if !leaks.is_empty() {
            bail!(
                "private keys would not stay where they belong: {}",
                leaks.join("; ")
            );
        }
        let folder = self.folder(&plan.name);
        let listeners = listeners(&plan);
        compiled.write(&folder)?;
        let parts = Parts {
            name: plan.name.clone(),
            board: plan.board.clone(),
            file: folder.join(format!("{}.system", plan.name)),
            base: folder.clone(),
            folder,
            domains: domains(&plan, &compiled.report),
            endpoints: listeners.iter().map(|(_, endpoint)| *endpoint).collect(),
            services: listeners.into_iter().map(|(name, _)| name).collect(),
            leads_to: led::ports(&plan),
            report: serde_json::to_value(&compiled.report)?,
            system: compiled.system.clone(),
            programs: BTreeMap::new(),
            compiled: Some(compiled),
            roles,
            holders: holders(&plan),
            notes: plan.notes,
        };
        self.finish(parts, ground.kind)
    }

    fn prepared(&self, file: &Path) -> anyhow::Result<Built> {
        let read = SystemFile::read(file, &self.board)?;
        let notes = match self.board.kernel {
            KernelKind::Pc99 => {
                read.judge(&self.board)?;
                Vec::new()
            }
            KernelKind::Microkit => read.notes(),
        };
        let built_here = built_here(self.root, &read);
        let SystemFile {
            name, base, system, ..
        } = read;
        let names: Vec<&str> = built_here.iter().map(String::as_str).collect();
        let ground = self.ground(&names)?;
        (self.observe)(Event::Begin("putting the system together"));
        let folder = self.folder(&name);
        let parts = Parts {
            domains: self.domains_of(&system, &base, &ground.elfs),
            endpoints: Vec::new(),
            services: Vec::new(),
            leads_to: Vec::new(),
            report: json!({ "system": name, "board": self.request.board }),
            name,
            board: self.board_with_memory()?,
            folder,
            system,
            file: file.to_path_buf(),
            base,
            programs: ground.elfs,
            compiled: None,
            notes,
            roles: Roles::default(),
            holders: Vec::new(),
        };
        self.finish(parts, ground.kind)
    }

    /// Returns the PDs of a system file, from the highest priority to the lowest. Their memory is that of programs and
    /// stacks; 0 if a program is unknown.
    fn domains_of(
        &self,
        system: &System,
        base: &Path,
        elfs: &BTreeMap<String, PathBuf>,
    ) -> Vec<Domain> {
        let domain = |domain: &ProtectionDomain| {
            let image = &domain.program_image;
            let stem = image.file_stem().unwrap_or_default().to_string_lossy();
            let beside = base.join(image);
            let elf = match elfs.get(&*stem) {
                Some(own) if !beside.exists() => own.clone(),
                _ => beside,
            };
            let program = system_file::program_memory(&elf, &self.board);
            Domain {
                name: domain.name.clone(),
                program: stem.into_owned(),
                priority: domain.priority,
                memory: if program == 0 {
                    0
                } else {
                    program + domain.stack_size
                },
                child: None,
                entries: None,
                restart: false,
            }
        };
        let all = system.domains().into_iter();
        let mut domains: Vec<Domain> = all.map(|(described, _)| domain(described)).collect();
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.priority));
        domains
    }

    /// Returns the board of a hand-written system file, with the requested memory.
    fn board_with_memory(&self) -> anyhow::Result<Board> {
        let mut board = self.board.clone();
        if let Some(mib) = self.request.memory {
            board.set_memory(u64::from(mib) << 20).map_err(|least| {
                let least = least.div_ceil(1 << 20);
                anyhow!("{mib} MiB are too few for the board `{}`: it needs at least `--memory {least}`", board.name)
            })?;
        }
        Ok(board)
    }

    /// Returns the memory, in MiB, of the machine for this board.
    fn machine_memory(&self, board: &Board) -> u32 {
        match machine(&board.name) {
            Some(machine) if machine.has_fixed_memory => {
                self.request.memory.unwrap_or(machine.memory)
            }
            _ => board
                .memory
                .div_ceil(1 << 20)
                .try_into()
                .unwrap_or(u32::MAX),
        }
    }

    fn folder(&self, name: &str) -> PathBuf {
        let output = self.root.join("target/selkie");
        let output = match self.purpose {
            Purpose::Use => output,
            Purpose::Audit => output.join("audited"),
            Purpose::Control => output.join("unwiped"),
        };
        output.join(&self.request.board).join(name)
    }

    /// Builds the programs of these names, and what the board's image needs beside them.
    fn ground(&self, names: &[&str]) -> anyhow::Result<Ground> {
        match self.board.kernel {
            KernelKind::Pc99 => pc99::ground(self, names),
            KernelKind::Microkit => microkit::ground(self, names),
        }
    }

    /// Programs as they must never be used: they overwrite nothing. They are kept apart from all others.
    fn unwiped(
        &self,
        names: &[&str],
        platform: &Platform,
    ) -> anyhow::Result<BTreeMap<String, PathBuf>> {
        let platform = Platform {
            variant: Variant::Unwiped,
            ..platform.clone()
        };
        let mut output = self.root.join("target/unwiped");
        if self.board.kernel == KernelKind::Microkit {
            // As for other programs: boards of one architecture have headers and instructions of their own.
            output.push(&self.board.name);
        }
        (self.observe)(Event::Begin("building programs that do not wipe"));
        let elfs = programs::build(self.root, &output, names, &platform, &mut |line| {
            (self.observe)(Event::At(line.trim()));
        })?;
        (self.observe)(Event::Done(""));
        Ok(elfs)
    }

    /// Writes the bootable files and the report.
    fn finish(&self, mut parts: Parts, ground: GroundKind) -> anyhow::Result<Built> {
        let folder = parts.folder.clone();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let bootable = match ground {
            GroundKind::Pc99(ground) => pc99::image(&mut parts, &ground)?,
            GroundKind::Microkit(ground) => microkit::image(self, &parts, &ground)?,
        };
        parts.report["boot"] = bootable.report;
        parts.report["configuration"] = json!(self.request.configuration.name());
        write(
            &folder.join("report.json"),
            format!("{:#}\n", parts.report).as_bytes(),
        )?;
        (self.observe)(Event::Done(&bootable.warnings.join("; ")));
        Ok(Built {
            name: parts.name,
            board: self.request.board.clone(),
            configuration: self.request.configuration,
            machine: machine(&self.request.board),
            memory: self.machine_memory(&parts.board),
            boot: bootable.boot,
            folder,
            symbols: bootable.symbols,
            kernel_name: bootable.kernel_name,
            image_size: bootable.size,
            domains: parts.domains,
            is_described: parts.compiled.is_some(),
            endpoints: parts.endpoints,
            services: parts.services,
            leads_to: parts.leads_to,
            notes: parts.notes,
            roles: parts.roles,
            holders: parts.holders,
        })
    }
}

/// Returns the programs of a system file that are built from this repository, because no ELF file is beside it.
pub(super) fn built_here(root: &Path, file: &SystemFile) -> BTreeSet<String> {
    file.images()
        .filter(|image| !file.base.join(image).exists())
        .filter_map(|image| image.file_stem()?.to_str().map(str::to_string))
        .filter(|name| {
            let manifest = root.join("protections").join(name).join("Cargo.toml");
            manifest.is_file()
        })
        .collect()
}

/// The table by which the supervisor names the function of a fault.
fn symbols(plan: &Plan, elfs: &BTreeMap<String, PathBuf>) -> anyhow::Result<Vec<u8>> {
    let of = |protection: &'_ crate::Protection| {
        elfs.get(&protection.program.name)
            .map(|elf| (protection.name.clone(), elf.clone()))
    };
    let domains: Vec<(String, PathBuf)> = plan.protections.iter().filter_map(of).collect();
    let domains: Vec<(&str, &Path)> = domains
        .iter()
        .map(|(n, elf)| (n.as_str(), elf.as_path()))
        .collect();
    Ok(programs::symbols(&domains, plan.board.target.architecture)?)
}

fn shorten_ticket_period(plan: &mut Plan) {
    let protections = plan.protections.iter_mut();
    let sessions = protections.filter(|p| p.program.holds.contains(&Holding::Sessions));
    for (key, value) in sessions.flat_map(|protection| &mut protection.config) {
        if let ("ticket_period", Configured::Integer(period)) = (key.as_str(), value) {
            *period = (*period).min(TICKET_PERIOD.into());
        }
    }
}

/// The protection domains that hold secrets, and which.
fn holders(plan: &Plan) -> Vec<(String, Vec<Holding>)> {
    let protections = plan.protections.iter();
    protections
        .filter(|protection| !protection.program.holds.is_empty())
        .map(|protection| (protection.name.clone(), protection.program.holds.clone()))
        .collect()
}

/// The protection domains from the highest priority to the lowest.
fn domains(plan: &Plan, report: &crate::report::Report) -> Vec<Domain> {
    let mut domains: Vec<Domain> = report
        .protection_domains
        .iter()
        .map(|domain| Domain {
            name: domain.name.clone(),
            program: domain.program.clone(),
            priority: domain.priority,
            memory: domain.image + domain.stack + domain.heap,
            child: None,
            entries: None,
            restart: false,
        })
        .collect();
    let place = |name: &str| plan.protections.iter().position(|p| p.name == name);
    domains.sort_by_key(|domain| (std::cmp::Reverse(domain.priority), place(&domain.name)));
    domains
}

/// Returns the PDs that listen, each with its endpoint. The protocol follows from the program.
fn listeners(plan: &Plan) -> Vec<(String, Endpoint)> {
    let of = |connection: &crate::Connection| -> Vec<(String, Endpoint)> {
        let consumer = &plan.protections[connection.consumer];
        let protocol = match consumer.program.name.as_str() {
            "tls" if carries(plan, connection.consumer, "http") => Protocol::Https,
            "tls" => Protocol::Tls,
            "http" => Protocol::Http,
            "echo" => Protocol::Echo,
            _ => Protocol::Tcp,
        };
        let ports = connection.listens().into_iter();
        ports
            .filter_map(|port| u16::try_from(port).ok())
            .map(|port| (consumer.name.clone(), Endpoint::usual(port, protocol)))
            .collect()
    };
    plan.connections.iter().flat_map(of).collect()
}

/// Returns true if a consumer of a PD's `streams` runs this program.
fn carries(plan: &Plan, provider: usize, program: &str) -> bool {
    let mut connections = plan.connections.iter();
    connections.any(|connection| {
        connection.provider == provider
            && connection.interface.name == "streams"
            && plan.protections[connection.consumer].program.name == program
    })
}

/// Writes a file unless it holds this already.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
/// The file that a name or path means.
///
/// # Errors
/// When there is none, with what there is.
pub(super) fn find(root: &Path, system: &Path) -> anyhow::Result<PathBuf> {
    let known = ["toml", "system"];
    let is_file = |path: &Path| {
        path.extension()
            .is_some_and(|extension| known.iter().any(|known| extension == *known))
    };
    if is_file(system) {
        return system
            .canonicalize()
            .with_context(|| format!("there is no description {}", system.display()));
    }
    let file = root.join("system").join(system).with_extension("toml");
    if system.components().count() == 1 && file.is_file() {
        return Ok(file);
    }
    bail!(
        "there is no system `{}`; there are {}, or give a file that ends in .toml or .system",
        system.display(),
        names(root).join(", ")
    )
}

/// The systems that the repository describes.
pub(super) fn names(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("system")).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .filter(|name| name != "Cargo")
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_a_file_and_nothing() {
        let root = tempfile::tempdir().unwrap();
        let systems = root.path().join("system");
        std::fs::create_dir(&systems).unwrap();
        std::fs::write(systems.join("echo.toml"), "").unwrap();
        std::fs::write(systems.join("http.toml"), "").unwrap();
        let echo = systems.join("echo.toml");
        assert_eq!(find(root.path(), Path::new("echo")).unwrap(), echo);
        assert_eq!(
            find(root.path(), &echo).unwrap(),
            echo.canonicalize().unwrap()
        );
        let error = find(root.path(), Path::new("htpp")).unwrap_err();
        assert!(error.to_string().contains("there are echo, http,"));
        let error = find(root.path(), Path::new("gone.toml")).unwrap_err();
        assert!(error.to_string().contains("gone.toml"));
        assert!(find(root.path(), Path::new("../echo")).is_err());
    }
}
