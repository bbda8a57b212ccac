//! Whether a system fits: Microkit's limits and the board's memory.

use std::sync::Arc;

use microkit_sdf::{Architecture, MAX_ID, MAX_PROTECTION_DOMAINS};

use super::{Plan, Planner};
use crate::board::Board;
use crate::description::Description;
use crate::diagnostics::{Problem, Source};
use crate::toml::show_size;

/// What the kernel needs for each protection domain beside its regions, in bytes: thread, capability
/// space, page tables of the upper levels, IPC buffer.
const OBJECTS: u64 = 64 * 1024;

/// Bytes of regions that one page table of 4 KiB maps.
const TABLE_REACH: u64 = 2 << 20;

/// The largest machine, in MiB.
pub const MAX_MEMORY: u32 = 65536;

/// Machines are suggested in multiples of this many bytes.
const STEP: u64 = 16 << 20;

/// Sets the memory of the board's machine to that of the command, or else of the description.
pub(super) fn set(
    source: &Arc<Source>,
    board: &mut Board,
    description: &Description,
    command: Option<u64>,
    problems: &mut Vec<Problem>,
) {
    if let Some(wanted) = &description.memory {
        let (span, wanted) = (wanted.span.clone(), wanted.value);
        if board.has_fixed_memory() {
            if wanted > board.memory {
                let message = format!(
                    "the system wants a machine with {}, the board `{}` has {}",
                    rounded(wanted),
                    board.name,
                    rounded(board.memory)
                );
                let problem = Problem::at(source, span, message);
                problems.push(problem.help("the kernel of this board is built for that memory"));
            }
        } else if let Err(least) = board.set_memory(wanted)
            && command.is_none()
        {
            let message = format!(
                "a machine with {} is too small for the board `{}`",
                rounded(wanted),
                board.name
            );
            let problem = Problem::at(source, span, message);
            problems.push(problem.help(format!("it needs at least {}", rounded(least))));
        }
    }
    if let Some(wanted) = command
        && let Err(least) = board.set_memory(wanted)
    {
        let message = format!(
            "a machine with {} is too small for the board `{}`",
            rounded(wanted),
            board.name
        );
        let help = format!("it needs at least `--memory {}`", least.div_ceil(1 << 20));
        problems.push(Problem::nowhere(message).help(help));
    }
}

/// One thing that needs memory.
struct Need {
    what: String,
    bytes: u64,
    protection: usize,
}

impl Planner<'_> {
    /// Checks the numbers of protections and channels.
    pub(super) fn check_limits(&mut self, plan: &Plan) {
        let count = plan.protections.len();
        if count > MAX_PROTECTION_DOMAINS {
            let span = self.written(MAX_PROTECTION_DOMAINS).name.span.clone();
            let message = format!("there are {count} protections");
            self.wrong(&span, message).help =
                Some(format!("Microkit allows {MAX_PROTECTION_DOMAINS}"));
        }
        let limit = usize::from(MAX_ID) + 1;
        for (index, protection) in plan.protections.iter().enumerate() {
            let interrupts = protection.device.as_ref().map_or(0, |d| d.interrupts.len());
            let channels = plan.connections.iter().filter(|connection| {
                let ends = [connection.consumer, connection.provider];
                connection.interface.has_channel() && ends.contains(&index)
            });
            let used = channels.count() + interrupts;
            if used > limit {
                let span = self.written(index).name.span.clone();
                let message = format!("`{}` needs {used} channels and interrupts", protection.name);
                let problem = Problem::at(self.source, span, message);
                self.problems.push(
                    problem
                        .label(format!("has {limit}"))
                        .help("Microkit gives a protection identifiers from 0 to 61: connect fewer protections to it"),
                );
            }
        }
    }

    /// Checks that everything that the description decides fits the board's memory.
    pub(super) fn check_memory(&mut self, plan: &Plan) {
        self.check_transfers(plan);
        let needs = needs(plan);
        let with_tables =
            |need: &Need| need.bytes.saturating_add(need.bytes / TABLE_REACH * 0x1000);
        let total = needs.iter().map(with_tables).fold(0, u64::saturating_add);
        let board = &plan.board;
        let available = board.available();
        if total <= available {
            return;
        }
        let mut largest: Vec<&Need> = needs.iter().collect();
        largest.sort_by_key(|need| std::cmp::Reverse(need.bytes));
        let parts = largest.iter().take(3);
        let parts: Vec<String> = parts
            .map(|need| format!("{} has {}", need.what, rounded(need.bytes)))
            .collect();
        let message = format!(
            "the system needs {} of memory, the board `{}` has {}",
            rounded(total),
            board.name,
            rounded(available)
        );
        let span = match largest.first() {
            Some(need) => self.written(need.protection).span("memory"),
            None => 0..0,
        };
        let smaller = format!("make something smaller: {}", parts.join(", "));
        let help = match board.larger(total) {
            Some(larger) => format!("{larger}\nor {smaller}"),
            None => smaller,
        };
        let problem = Problem::at(self.source, span, message);
        self.problems
            .push(problem.label("the largest part").help(help));
    }

    /// Checks that the memory for devices' transfers fits its window.
    fn check_transfers(&mut self, plan: &Plan) {
        let needed = plan.transfer_memory();
        let window = plan.board.dma_size;
        if needed > window {
            let pool = plan.connections.iter().max_by_key(|c| c.sizes.pool);
            let span = pool.map_or(0..0, |connection| connection.span.clone());
            let message = format!(
                "devices' transfers need {}, the board's window has {}",
                rounded(needed),
                rounded(window)
            );
            self.wrong(&span, message).help = Some("take fewer or smaller `buffers`".into());
        }
    }
}

impl Plan {
    /// Memory for devices' transfers, in bytes.
    pub(crate) fn transfer_memory(&self) -> u64 {
        let pools = self
            .connections
            .iter()
            .map(|connection| connection.sizes.pool);
        let queues = self.protections.iter();
        let queues = queues.map(|p| super::pages(p.transfer_memory()));
        pools.chain(queues).fold(0, u64::saturating_add)
    }
}

impl super::Protection {
    /// Memory for its device's transfers, in bytes: a device at I/O ports makes none.
    pub(crate) fn transfer_memory(&self) -> u64 {
        match &self.device {
            Some(device) if device.bus != "ports" => self.program.dma,
            _ => 0,
        }
    }
}

impl Board {
    /// Memory in bytes that protection domains can have, transfers aside.
    pub(crate) fn available(&self) -> u64 {
        self.memory
            .saturating_sub(self.reserved)
            .saturating_sub(self.dma_size)
    }

    /// Returns true if the kernel is built for a fixed amount of memory. A kernel for x86_64 uses the memory that the
    /// machine has.
    pub fn has_fixed_memory(&self) -> bool {
        self.target.architecture != Architecture::X86_64
    }

    /// Sets the memory of the machine in bytes. On a board with fixed memory it does nothing.
    ///
    /// # Errors
    /// The least amount, in bytes, if that is more: it must include the DMA window.
    pub(crate) fn set_memory(&mut self, memory: u64) -> Result<(), u64> {
        if self.has_fixed_memory() {
            return Ok(());
        }
        let window = self.dma_address.saturating_add(self.dma_size);
        let least = window.max(self.reserved.saturating_add(self.dma_size));
        if memory < least {
            return Err(least);
        }
        self.memory = memory;
        Ok(())
    }

    /// Returns advice to use a machine that has this many bytes for PDs. `None` if that is not possible.
    pub(crate) fn larger(&self, needed: u64) -> Option<String> {
        let others = self.reserved.saturating_add(self.dma_size);
        let least = needed.checked_add(others)?;
        let possible = !self.has_fixed_memory() && least <= u64::from(MAX_MEMORY) << 20;
        possible.then(|| larger_machine(least))
    }
}

/// Returns advice to use a machine with at least this many bytes of memory.
pub(crate) fn larger_machine(least: u64) -> String {
    let suggested = least.div_ceil(STEP).saturating_mul(STEP) >> 20;
    format!(
        "the machine needs at least {} MiB: `--memory {suggested}`, or memory = \"{suggested}M\" under [system]",
        least.div_ceil(1 << 20)
    )
}

fn needs(plan: &Plan) -> Vec<Need> {
    let mut needs = Vec::new();
    for (protection, p) in plan.protections.iter().enumerate() {
        let mut need = |what: &str, bytes: u64| {
            needs.push(Need {
                what: format!("{what} of `{}`", p.name),
                bytes,
                protection,
            });
        };
        need("the memory", p.memory);
        need("the stack", p.stack);
        need("the kernel's part", OBJECTS);
        for (name, content) in &p.data {
            if let super::Content::Bytes(bytes) = content {
                need(&format!("the data `{name}`"), bytes.len() as u64);
                let copy = format!("the boot image's copy of the data `{name}`");
                need(&copy, bytes.len() as u64);
            }
        }
    }
    for connection in &plan.connections {
        needs.push(Need {
            what: format!(
                "the connection `{}` of `{}`",
                connection.consumer_port, plan.protections[connection.consumer].name
            ),
            bytes: connection
                .sizes
                .provider
                .saturating_add(connection.sizes.consumer),
            protection: connection.consumer,
        });
    }
    needs
}

/// A number of bytes, rounded up to whole KiB or MiB.
fn rounded(bytes: u64) -> String {
    let unit = if bytes >= 1 << 20 { 1 << 20 } else { 1 << 10 };
    show_size(bytes.checked_next_multiple_of(unit).unwrap_or(bytes))
}
