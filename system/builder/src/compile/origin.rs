//! Where in its description a part of a system comes from.

use std::ops::Range;

use super::Compiled;
use super::allocate::{Allocation, Role};
use crate::diagnostics::{Diagnostics, Problem};
use crate::plan::Plan;

/// The place of each region and protection domain in the description, by its name in the `.system` file.
pub(super) fn origins(plan: &Plan, allocation: &Allocation) -> Vec<(String, Range<usize>)> {
    let regions = allocation.regions.iter().flat_map(|region| {
        let span = match region.role {
            Role::Heap(p) | Role::Registers(p, _) | Role::Transfers(p) | Role::Data(p, _) => {
                &plan.protections[p].span
            }
            Role::Pool(c) | Role::FromProvider(c) | Role::FromConsumer(c) => {
                &plan.connections[c].span
            }
        };
        region.parts().map(|part| (part.name, span.clone()))
    });
    let protections = plan.protections.iter().flat_map(|protection| {
        let names = [
            format!("{}.wiring", protection.name),
            protection.name.clone(),
        ];
        names.map(|name| (name, protection.span.clone()))
    });
    regions.chain(protections).collect()
}

impl Compiled {
    /// What a tool said of the `.system` file, shown where the description says what it is about. `line` is the line that
    /// the tool names, from 1; without one, the names in the tool's words are looked at.
    pub fn refused(&self, said: &str, line: Option<usize>) -> Diagnostics {
        let text = self.system.to_xml();
        let line = line.and_then(|line| text.lines().nth(line.checked_sub(1)?));
        let quoted = line
            .into_iter()
            .flat_map(|line| line.split('"').skip(1).step_by(2));
        let named = said.split('\'').skip(1).step_by(2);
        let mut names = quoted.chain(named);
        let origin = names.find_map(|name| self.origins.iter().find(|(known, _)| known == name));
        let message = format!("Microkit's tool refuses the system: {said}");
        let problem = match origin {
            Some((name, span)) => Problem::at(&self.source, span.clone(), message)
                .label(format!("`{name}` comes from here")),
            None => Problem::nowhere(message),
        };
        let problem = match line {
            Some(line) => problem.help(format!(
                "it stands in {}.system as\n{}",
                self.name,
                line.trim()
            )),
            None => problem,
        };
        Diagnostics::new(vec![problem])
    }
}
