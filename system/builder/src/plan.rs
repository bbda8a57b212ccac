//! From a description to a plan: everything is looked up, checked and decided, except what depends on
//! the program files.

mod authorities;
mod connections;
mod devices;
mod flow;
mod full;
mod infrastructure;
mod keys;
mod memory;
mod peers;
mod priorities;
mod scheduling;
mod settings;
mod site;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use wiring::Value;

use crate::board::{Board, Device};
use crate::description::{self, Description, Written};
use crate::diagnostics::{Diagnostics, Problem, Source, suggest};
use crate::interface::{Interface, Sizes};
use crate::manifest::{Manifests, Program};
use crate::toml::{self, Reader};

pub use devices::undriven;
pub(crate) use keys::KINDS as KEY_KINDS;
pub use memory::MAX_MEMORY;
pub(crate) use memory::larger_machine;
pub(crate) use scheduling::RANGE as TIME_RANGE;

/// The program whose protection is the Microkit parent of all others.
pub const SUPERVISOR: &str = "supervisor";

/// A system that is right, as far as that can be known before its programs are built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The system's name.
    pub name: String,
    /// The board that it is for.
    pub board: Board,
    /// The protections, in the order of the description.
    pub protections: Vec<Protection>,
    /// Who is connected to whom.
    pub connections: Vec<Connection>,
    /// What the board makes of the description that its reader might not expect.
    pub notes: Vec<String>,
    /// The names of the protections that the board file adds.
    pub added: Vec<String>,
    /// The description as it is written, with what the board file adds.
    pub(crate) written: Vec<Written>,
    /// The description.
    pub(crate) source: Arc<Source>,
}

/// A protection: a program with what it is given.
#[derive(Clone, Debug)]
pub struct Protection {
    /// Its name.
    pub name: String,
    /// The program it runs.
    pub program: Program,
    /// Priority, 0 to 254.
    pub priority: u8,
    /// How much of the processor it gets, and when.
    pub scheduling: Scheduling,
    /// Heap in bytes, whole pages.
    pub memory: u64,
    /// Stack in bytes, whole pages.
    pub stack: u64,
    /// The device it drives.
    pub device: Option<Device>,
    /// Its configuration, defaults filled in.
    pub config: Vec<(String, Value)>,
    /// The data it reads.
    pub data: Vec<(String, Content)>,
    /// Whether the supervisor has it start over after a fault.
    pub restart: bool,
    /// Where the description names it.
    pub(crate) span: Range<usize>,
}

/// What an MCS kernel is told of a protection's share of the processor. Other kernels know only priorities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Microseconds that it may run in each period; `None` for Microkit's default, 1000.
    pub budget: Option<u64>,
    /// The period in microseconds, at least the budget; `None` for the budget.
    pub period: Option<u64>,
    /// Whether it runs on its callers' time once it has started.
    pub passive: bool,
}

/// What a protection's data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The symbols of all programs.
    Symbols,
}

/// A connection between a consumer's port and a provider's.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Index of the consumer among the protections.
    pub consumer: usize,
    /// The consumer's port.
    pub consumer_port: String,
    /// Index of the provider among the protections.
    pub provider: usize,
    /// The provider's port.
    pub provider_port: String,
    /// What they speak.
    pub interface: &'static Interface,
    /// What the description says of the connection, defaults filled in.
    pub parameters: Vec<(String, Value)>,
    /// Sizes of the shared regions in bytes, whole pages.
    pub sizes: Sizes,
    /// Where the description says so.
    pub(crate) span: Range<usize>,
}

impl Connection {
    /// The ports that the consumer wants to listen on.
    pub fn listens(&self) -> Vec<i64> {
        let number = |value: &Value| match value {
            Value::Integer(port) => Some(*port),
            _ => None,
        };
        let found = self.parameters.iter().find(|(key, _)| key == "listen");
        match found {
            Some((_, Value::List(ports))) => ports.iter().filter_map(number).collect(),
            Some((_, port)) => number(port).into_iter().collect(),
            None => Vec::new(),
        }
    }
}

impl Plan {
    /// The programs, which are folders of `protections/`.
    pub fn programs(&self) -> BTreeSet<&str> {
        let programs = self.protections.iter();
        programs.map(|p| p.program.name.as_str()).collect()
    }

    /// Index of the protection that is the parent of the others.
    pub fn supervisor(&self) -> Option<usize> {
        self.protections
            .iter()
            .position(|protection| protection.program.name == SUPERVISOR)
    }
}

/// Reads and checks the description at `path` for a board; manifests and board files are those of the
/// workspace at `root`.
///
/// # Errors
/// Everything that is wrong with the description, or with a board file or manifest that it needs.
pub fn plan(root: &Path, path: &Path, board: &str) -> Result<Plan, Diagnostics> {
    plan_with(root, path, board, None)
}

/// Plans as [`plan`] does, for a machine with this much memory in bytes, if it is given. It overrides the description
/// and the board file.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(
    root: &Path,
    path: &Path,
    board: &str,
    memory: Option<u64>,
) -> Result<Plan, Diagnostics> {
    let mut problems = Vec::new();
    let board = Board::load(root, board).map_err(|found| problems.extend(found));
    let read = Source::read(path, root).and_then(|source| {
        let document = toml::parse(&source)?;
        Ok((source, document))
    });
    let (source, document) = match read {
        Ok(read) => read,
        Err(problem) => {
            problems.push(problem);
            return Err(Diagnostics::new(problems));
        }
    };
    let mut reader = Reader {
        source: &source,
        problems: &mut problems,
    };
    let description = description::read(&mut reader, &document);
    let (Some(mut description), Ok(mut board)) = (description, board) else {
        return Err(Diagnostics::new(problems));
    };
    let manifests = Manifests::find(root);
    let left_out = leave_out(root, &board, &manifests, &mut description);
    let added = infrastructure::add(root, &board, &manifests, &mut description, &source);
    let (source, added) = added.map_err(|problem| {
        problems.push(problem);
        Diagnostics::new(std::mem::take(&mut problems))
    })?;
    memory::set(&source, &mut board, &description, memory, &mut problems);
    let mut planner = Planner {
        root,
        folder: path.parent().unwrap_or(Path::new(".")),
        board: &board,
        manifests,
        programs: Vec::new(),
        description: &description,
        left_out,
        added,
        site_notes: Vec::new(),
        source: &source,
        problems,
        warnings: Vec::new(),
    };
    let plan = planner.plan();
    match plan {
        Some(plan) if planner.problems.is_empty() => Ok(plan),
        _ => Err(Diagnostics::new(planner.problems)),
    }
}

/// Takes the protections out of a description that exist only for devices of kinds that the board does without, such as
/// the owner of PCI configuration space on a board without PCI: so one description serves every board. Gives their names.
fn leave_out(
    root: &Path,
    board: &Board,
    manifests: &Manifests,
    description: &mut Description,
) -> Vec<String> {
    let absent = |written: &Written| match manifests.load(root, &written.program.value) {
        Some(Ok(program)) => {
            let mut kinds = program.devices.iter();
            !program.devices.is_empty() && kinds.all(|drives| board.without.contains(&drives.kind))
        }
        _ => false,
    };
    let (out, kept) = std::mem::take(&mut description.protections)
        .into_iter()
        .partition(absent);
    description.protections = kept;
    let out: Vec<Written> = out;
    out.into_iter().map(|written| written.name.value).collect()
}

/// Looks up and checks what a description says.
struct Planner<'a> {
    root: &'a Path,
    /// The folder of the description, which its paths are relative to.
    folder: &'a Path,
    board: &'a Board,
    manifests: Manifests,
    description: &'a Description,
    /// The program of each protection; `None` where there is something wrong with it.
    programs: Vec<Option<Program>>,
    /// The protections for which the board has no device.
    left_out: Vec<String>,
    /// The names of the protections that the board file adds.
    added: Vec<String>,
    /// Notes about the sites.
    site_notes: Vec<String>,
    source: &'a Arc<Source>,
    problems: Vec<Problem>,
    /// Warnings: notes that are no errors.
    warnings: Vec<String>,
}

impl<'a> Planner<'a> {
    fn plan(&mut self) -> Option<Plan> {
        self.programs = self.load_programs();
        self.check_supervisors();
        let connections = self.connections();
        let devices = self.devices();
        let priorities = self.priorities(&connections);
        let mut protections = Vec::new();
        for (index, device) in devices.into_iter().enumerate() {
            let written = self.written(index);
            let program = self.programs[index].clone();
            let protection = program.map(|program| Protection {
                name: written.name.value.clone(),
                priority: priorities[index],
                scheduling: self.scheduling(written, &program),
                memory: self.heap(index, &program, &connections),
                stack: self.stack(written, &program),
                device,
                config: self.config(written, &program),
                data: self.data(written, &program),
                span: written.name.span.clone(),
                restart: self.restart(written, &program),
                program,
            });
            protections.push(protection);
        }
        let protections: Vec<Protection> = protections.into_iter().collect::<Option<_>>()?;
        let plan = Plan {
            name: self.description.name.value.clone(),
            board: self.board.clone(),
            notes: self.notes(&protections),
            protections,
            connections,
            added: self.added.clone(),
            written: self.description.protections.clone(),
            source: self.source.clone(),
        };
        if self.problems.is_empty() {
            self.check_limits(&plan);
            self.check_memory(&plan);
            self.check_flow(&plan);
        }
        Some(plan)
    }

    /// Returns notes: differences from the description because of the board, consequences of keys in the image, and
    /// certificates that may not work as intended.
    fn notes(&self, protections: &[Protection]) -> Vec<String> {
        let board = &self.board.name;
        let left_out = self.left_out.iter().map(|name| {
            format!("`{name}` is left out: the board `{board}` has no device of its kind")
        });
        left_out
            .chain(self.ignored_scheduling())
            .chain(keys::notes(protections, self.board.kernel))
            .chain(authorities::notes(protections))
            .chain(self.site_notes.iter().cloned())
            .chain(self.warnings.iter().cloned())
            .collect()
    }

    /// Whether the board has no device for the protection of this name.
    fn is_left_out(&self, name: &str) -> bool {
        self.left_out.iter().any(|left_out| left_out == name)
    }

    fn written(&self, index: usize) -> &'a Written {
        &self.description.protections[index]
    }

    /// The name of a protection.
    fn name(&self, index: usize) -> &'a str {
        &self.written(index).name.value
    }

    fn wrong(&mut self, span: &Range<usize>, message: impl Into<String>) -> &mut Problem {
        let problem = Problem::at(self.source, span.clone(), message);
        self.problems.push(problem);
        self.problems.last_mut().expect("one was just pushed")
    }

    fn reader(&mut self) -> Reader<'_> {
        Reader {
            source: self.source,
            problems: &mut self.problems,
        }
    }

    fn load_programs(&mut self) -> Vec<Option<Program>> {
        let mut programs = Vec::new();
        for written in &self.description.protections {
            let name = &written.program.value;
            let loaded = match self.manifests.load(self.root, name) {
                Some(Ok(program)) => Some(program),
                Some(Err(problems)) => {
                    self.problems.extend(problems);
                    None
                }
                None => {
                    let help = suggest(name, "programs", self.manifests.names());
                    let message = format!("there is no program `{name}`");
                    let problem = Problem::at(self.source, written.program.span.clone(), message);
                    self.problems
                        .push(problem.label("no package of protections/").help(help));
                    None
                }
            };
            programs.push(loaded);
        }
        programs
    }

    fn check_supervisors(&mut self) {
        let mut first: Option<&Written> = None;
        for written in &self.description.protections {
            if written.program.value != SUPERVISOR {
                continue;
            }
            if let Some(first) = first {
                let problem = Problem::at(
                    self.source,
                    written.program.span.clone(),
                    "there are two supervisors",
                );
                self.problems.push(
                    problem
                        .label("the second")
                        .and(first.program.span.clone(), "the first")
                        .help("one protection is the parent of all others; leave one out"),
                );
            }
            first = Some(written);
        }
    }
}

impl Connection {
    /// Returns the number of connections of a `streams` port that can be open at once.
    fn open_at_once(&self) -> u64 {
        let parameters = self.parameters.iter();
        let mut numbers = parameters.filter_map(|(name, value)| match value {
            Value::Integer(number) if name == "connections" => u64::try_from(*number).ok(),
            _ => None,
        });
        numbers.next().unwrap_or(0)
    }

    /// Returns the heap, in bytes, that the program of this PD needs for each open connection.
    fn heap_for_each(&self, protection: usize, program: &Program) -> u64 {
        let ends = [
            (self.consumer, &self.consumer_port),
            (self.provider, &self.provider_port),
        ];
        let of_end = ends.into_iter().filter(|(index, _)| *index == protection);
        let ports = of_end.filter_map(|(_, name)| program.ports.iter().find(|p| p.name == *name));
        ports.map(|port| port.per_connection).sum()
    }
}

/// Rounds up to whole pages; the largest sizes, which fit nowhere, down.
pub(crate) fn pages(bytes: u64) -> u64 {
    bytes
        .checked_next_multiple_of(0x1000)
        .unwrap_or(u64::MAX - 0xfff)
}
