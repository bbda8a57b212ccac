//! PDs that a description may leave out because every system has them: the builder adds them from the board file.
//!
//! A PD of the board file is added if the system has no PD that runs its program, and
//! * its program is the supervisor, or
//! * its program provides a common interface that a protection of the system consumes and none provides, or
//! * a port of the system names it.
//!
//! An added PD may need others, so this repeats until no PD is missing.

use std::path::Path;
use std::sync::Arc;

use wiring::Role;

use super::SUPERVISOR;
use crate::board::Board;
use crate::description::{Description, Written};
use crate::diagnostics::{Problem, Source};
use crate::interface::Interface;
use crate::manifest::{Manifests, Program};
use crate::toml::{Kind, Node, Spanned, shifted};

/// Adds PDs of the board file to a description, before its own. Returns the description's text with the board file's
/// appended, and the names of the added PDs.
///
/// # Errors
/// When a name is in use by a PD that runs another program.
pub(super) fn add(
    root: &Path,
    board: &Board,
    manifests: &Manifests,
    description: &mut Description,
    source: &Arc<Source>,
) -> Result<(Arc<Source>, Vec<String>), Problem> {
    let Some(file) = &board.infrastructure.source else {
        return Ok((source.clone(), Vec::new()));
    };
    let both = Arc::new(Source {
        name: source.name.clone(),
        text: source.text.clone(),
        appended: Some(file.clone()),
    });
    if description.complete {
        return Ok((both, Vec::new()));
    }
    let load = |written: &Written| {
        let loaded = manifests.load(root, &written.program.value);
        loaded.and_then(Result::ok)
    };
    let mut system = System {
        board,
        present: description
            .protections
            .iter()
            .map(|written| (written.clone(), load(written)))
            .collect(),
    };
    let offered = &board.infrastructure.protections;
    let mut chosen = vec![false; offered.len()];
    while let Some(next) = (0..offered.len()).find(|&next| {
        !chosen[next]
            && load(&offered[next]).is_some_and(|program| system.needs(&offered[next], &program))
    }) {
        let written = &offered[next];
        check_name(written, description, source, file)?;
        system.present.push((written.clone(), load(written)));
        chosen[next] = true;
    }
    let base = both.base();
    let added: Vec<Written> = offered
        .iter()
        .zip(chosen)
        .filter(|(_, chosen)| *chosen)
        .map(|(written, _)| moved(written, base))
        .collect();
    let names = added.iter().map(|written| written.name.value.clone());
    let names = names.collect();
    description.protections.splice(0..0, added);
    Ok((both, names))
}

/// A system to which PDs are being added.
struct System<'a> {
    board: &'a Board,
    /// The PDs, each with its program, if that is known.
    present: Vec<(Written, Option<Program>)>,
}

impl System<'_> {
    /// Returns true if the system needs a PD of the board file and lacks it.
    fn needs(&self, offered: &Written, program: &Program) -> bool {
        // A PD of that name with an unknown program is most likely this one, with a misspelt program.
        let same = |(written, known): &(Written, Option<Program>)| {
            written.program.value == program.name
                || known.is_none() && written.name.value == offered.name.value
        };
        if self.present.iter().any(same) {
            return false;
        }
        let provides = |port: &&crate::manifest::Port| port.role == Role::Provider;
        let mut interfaces = program.ports.iter().filter(provides);
        program.name == SUPERVISOR
            || interfaces.any(|port| self.lacks(port.interface))
            || self.names(&offered.name.value)
    }

    /// Returns true if a PD consumes a common interface that no PD provides. An interface without a channel is ignored:
    /// it only has numbers to read.
    fn lacks(&self, interface: &Interface) -> bool {
        if !interface.common || !interface.has_channel() {
            return false;
        }
        let has = |role: Role, program: &Program| {
            let mut ports = program.ports.iter();
            ports.any(|port| port.role == role && port.interface == interface)
        };
        let programs = || {
            self.present
                .iter()
                .filter_map(|(w, p)| Some((w, p.as_ref()?)))
        };
        let consumed = programs().any(|(written, program)| {
            has(Role::Consumer, program) && !self.on_another_bus(written, interface)
        });
        consumed && !programs().any(|(_, program)| has(Role::Provider, program))
    }

    /// Returns true if an interface is for another bus than that of this PD's device.
    fn on_another_bus(&self, written: &Written, interface: &Interface) -> bool {
        let name = written.entry("device").and_then(|entry| entry.as_text());
        let device = name.and_then(|name| self.board.device(name));
        match (interface.bus, device) {
            (Some(bus), Some(device)) => device.bus != bus,
            _ => false,
        }
    }

    /// Returns true if a port names a PD that does not exist.
    fn names(&self, name: &str) -> bool {
        let mut present = self.present.iter();
        if present.any(|(written, _)| written.name.value == name) {
            return false;
        }
        let mut programs = self
            .present
            .iter()
            .filter_map(|(w, p)| Some((w, p.as_ref()?)));
        programs.any(|(written, program)| {
            let mut ports = program.ports.iter().filter(|p| p.role == Role::Consumer);
            ports.any(|port| {
                written
                    .entry(&port.name)
                    .is_some_and(|entry| mentions(&entry.value, name))
            })
        })
    }
}

/// Returns true if a port's value names this PD.
fn mentions(node: &Node, name: &str) -> bool {
    match &node.kind {
        Kind::Text(text) => text == name,
        Kind::List(nodes) => nodes.iter().any(|node| mentions(node, name)),
        Kind::Table(entries) => {
            let mut from = entries.iter().filter(|entry| entry.key == "from");
            from.any(|entry| entry.as_text() == Some(name))
        }
        _ => false,
    }
}

/// Refuses to add a PD whose name is in use.
fn check_name(
    written: &Written,
    description: &Description,
    source: &Arc<Source>,
    file: &Arc<Source>,
) -> Result<(), Problem> {
    let (name, program) = (&written.name.value, &written.program.value);
    let mut protections = description.protections.iter();
    let Some(taken) = protections.find(|other| other.name.value == *name) else {
        return Ok(());
    };
    let span = taken.name.span.clone();
    let message = format!("the system needs `{program}` too, which has the name `{name}`");
    let problem = Problem::at(source, span, message);
    Err(problem
        .label(format!("runs `{}`", taken.program.value))
        .help(format!(
            "{} adds [protection.{name}] with program = \"{program}\" where a description has none: give this \
             protection another name, or add one that runs `{program}`",
            file.name
        )))
}

/// Returns the same PD, with its places after those of the description.
fn moved(written: &Written, base: usize) -> Written {
    let spanned = |text: &Spanned<String>| Spanned {
        value: text.value.clone(),
        span: shifted(&text.span, base),
    };
    Written {
        name: spanned(&written.name),
        program: spanned(&written.program),
        entries: written
            .entries
            .iter()
            .map(|entry| entry.shifted(base))
            .collect(),
    }
}
