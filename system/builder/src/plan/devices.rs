//! Which protection drives which device.

use std::path::Path;

use super::Planner;
use crate::board::{Board, Device};
use crate::description::Written;
use crate::diagnostics::{Problem, listed, suggest};
use crate::manifest::{Manifests, Program};
use crate::toml::Spanned;

/// Returns the devices of a board that no program drives.
pub fn undriven<'b>(root: &Path, board: &'b Board) -> Vec<&'b Device> {
    let manifests = Manifests::find(root);
    let programs: Vec<Program> = manifests
        .names()
        .filter_map(|name| manifests.load(root, name)?.ok())
        .collect();
    let devices = board.devices.iter();
    devices
        .filter(|device| !programs.iter().any(|program| program.drives(device)))
        .collect()
}

impl Planner<'_> {
    /// The device of each protection.
    pub(super) fn devices(&mut self) -> Vec<Option<Device>> {
        let mut owners: Vec<(Spanned<String>, usize)> = Vec::new();
        (0..self.programs.len())
            .map(|index| {
                let program = self.programs[index].clone()?;
                self.device(index, &program, &mut owners)
            })
            .collect()
    }

    fn device(
        &mut self,
        index: usize,
        program: &Program,
        owners: &mut Vec<(Spanned<String>, usize)>,
    ) -> Option<Device> {
        let written = self.written(index);
        let Some(entry) = written.entry("device") else {
            if !program.devices.is_empty() && !program.device_optional {
                self.needs_device(written, program);
            }
            return None;
        };
        let name = self.reader().text(entry)?;
        if program.devices.is_empty() {
            let message = format!("`{}` drives no device", program.name);
            self.wrong(&entry.key_span, message).help = Some("leave `device` out".into());
            return None;
        }
        let Some(device) = self.board.device(&name.value) else {
            self.unknown_device(&name);
            return None;
        };
        if !program.drives(device) {
            let kinds = kinds(program);
            let bus = match program
                .devices
                .iter()
                .any(|drives| drives.kind == device.kind)
            {
                true => format!(" on the bus `{}`", device.bus),
                false => String::new(),
            };
            let message = format!("`{}` cannot drive `{}`", program.name, name.value);
            let fitting = self.fitting_or_missing(program, device);
            let problem = Problem::at(self.source, name.span, message);
            self.problems.push(
                problem
                    .label(format!("a `{}`{bus}; it drives {kinds}", device.kind))
                    .help(fitting),
            );
            return None;
        }
        if let Some((first, owner)) = owners.iter().find(|(owned, _)| owned.value == name.value) {
            let owner = self.name(*owner);
            let message = format!("`{}` has two owners", name.value);
            let problem = Problem::at(self.source, name.span, message);
            self.problems.push(
                problem
                    .label(format!("`{}` takes it too", written.name.value))
                    .and(first.span.clone(), format!("`{owner}` has it"))
                    .help("one protection drives a device; the others connect to that protection"),
            );
            return None;
        }
        owners.push((name, index));
        Some(device.clone())
    }

    fn needs_device(&mut self, written: &Written, program: &Program) {
        let message = format!("`{}` has no device", written.name.value);
        let kinds = kinds(program);
        let help = self.fitting(program);
        let problem = Problem::at(self.source, written.name.span.clone(), message);
        self.problems.push(
            problem
                .label(format!("`{}` drives {kinds}", program.name))
                .help(help),
        );
    }

    fn unknown_device(&mut self, name: &Spanned<String>) {
        let devices = self.board.devices.iter();
        let help = suggest(&name.value, "devices", devices.map(|d| d.name.as_str()));
        let message = format!(
            "the board `{}` has no device `{}`",
            self.board.name, name.value
        );
        let problem = Problem::at(self.source, name.span.clone(), message);
        self.problems.push(problem.label("unknown").help(help));
    }

    /// What could be driven instead; where nobody drives such a device, that its driver is missing.
    fn fitting_or_missing(&self, program: &Program, device: &Device) -> String {
        let drives = |name: &str| match self.manifests.load(self.root, name) {
            Some(Ok(other)) => other.drives(device),
            _ => false,
        };
        if self.manifests.names().any(drives) {
            return self.fitting(program);
        }
        format!(
            "there is no driver for a `{}` yet; docs/porting.md says how to add one",
            device.kind
        )
    }

    /// Names the devices of the board that a program can drive.
    fn fitting(&self, program: &Program) -> String {
        let board = &self.board.name;
        let fits = |device: &&Device| program.drives(device);
        let names: Vec<&str> = self
            .board
            .devices
            .iter()
            .filter(fits)
            .map(|device| device.name.as_str())
            .collect();
        if names.is_empty() {
            return format!("the board `{board}` has no device that it drives");
        }
        format!("the board `{board}` has {}", listed(names))
    }
}

/// The kinds of device that a program drives, as a message names them.
fn kinds(program: &Program) -> String {
    let kinds: Vec<String> = program.devices.iter().map(ToString::to_string).collect();
    listed(kinds.iter().map(String::as_str))
}
