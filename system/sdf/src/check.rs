//! The checks that Microkit's tool makes of a system, and where it fails them.

mod links;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::model::*;
use crate::{
    MAX_ID, MAX_NAME_LENGTH, MAX_PRIORITY, MAX_PROTECTION_DOMAINS, MAX_STACK_SIZE, MIN_STACK_SIZE,
};

/// A rule that a system breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub element: Element,
    /// What is wrong.
    pub message: String,
    /// The part of the system that it is in conflict with.
    pub other: Option<Element>,
}

/// A part of a system. Protection domains count as in [`System::domains`], everything else as in the
/// list that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// The system as a whole.
    System,
    /// A memory region.
    Region(usize),
    /// A protection domain.
    Domain(usize),
    /// A protection domain's mapping.
    Map(usize, usize),
    /// A protection domain's interrupt.
    Irq(usize, usize),
    /// A protection domain's I/O ports.
    IoPort(usize, usize),
    /// A protection domain's symbol for a physical address.
    SetVar(usize, usize),
    /// A channel.
    Channel(usize),
    /// An end of a channel.
    End(usize, usize),
    /// An I/O address space.
    IoAddressSpace(usize),
    /// A mapping of an I/O address space.
    IoMap(usize, usize),
}

impl System {
    /// Makes the checks of Microkit 2.3.0's tool that need no file, and refuses mappings that are
    /// writable and executable.
    ///
    /// # Errors
    /// Every rule that the system breaks.
    pub fn check(&self, target: &Target) -> Result<(), Vec<Violation>> {
        let violations = self.check_with(target, &HashMap::new());
        if violations.is_empty() {
            Ok(())
        } else {
            Err(violations)
        }
    }

    /// As [`check`](Self::check), with the lengths of the regions' prefill files.
    pub(crate) fn check_with(
        &self,
        target: &Target,
        prefills: &HashMap<String, u64>,
    ) -> Vec<Violation> {
        let mut checker = Checker {
            system: self,
            target,
            domains: self.domains(),
            violations: Vec::new(),
        };
        checker.regions(prefills);
        checker.domain_list();
        for index in 0..checker.domains.len() {
            checker.domain(index);
        }
        checker.interrupts();
        checker.io_ports();
        checker.channels();
        checker.symbols();
        checker.io_address_spaces();
        checker.violations
    }
}

struct Checker<'a> {
    system: &'a System,
    target: &'a Target,
    domains: Vec<(&'a ProtectionDomain, Option<usize>)>,
    violations: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn wrong(&mut self, element: Element, message: String) {
        self.violations.push(Violation {
            element,
            message,
            other: None,
        });
    }

    /// Reports a conflict with another part of the system, as [`wrong`](Self::wrong) does; the message names the part.
    fn conflict(&mut self, element: Element, other: Element, message: String) {
        self.violations.push(Violation {
            element,
            message,
            other: Some(other),
        });
    }

    fn x86(&self) -> bool {
        self.target.architecture == Architecture::X86_64
    }

    fn regions(&mut self, prefills: &HashMap<String, u64>) {
        let mut names = HashSet::new();
        let mut physical: Vec<(&str, Range<u64>)> = Vec::new();
        for (index, region) in self.system.memory_regions.iter().enumerate() {
            let at = Element::Region(index);
            let (name, size) = (region.name.as_str(), region.size);
            if !names.insert(name) {
                self.wrong(at, format!("there are two memory regions `{name}`"));
            }
            let page = region.page_size.unwrap_or(PageSize::Small).bytes();
            if size == 0 || !size.is_multiple_of(page) {
                self.wrong(
                    at,
                    format!("the size of `{name}`, {size:#x}, is not a multiple of its page size, {page:#x}, above 0"),
                );
            }
            if let Some(&length) = prefills.get(name).filter(|&&length| length > size) {
                self.wrong(
                    at,
                    format!("the prefill file of `{name}` has {length} bytes, the region {size}"),
                );
            }
            let Some(start) = region.phys_addr else {
                continue;
            };
            if !start.is_multiple_of(page) {
                self.wrong(
                    at,
                    format!("the physical address of `{name}`, {start:#x}, is not a multiple of its page size, {page:#x}"),
                );
            }
            let Some(end) = start.checked_add(size) else {
                self.wrong(
                    at,
                    format!("`{name}` ends above the highest physical address"),
                );
                continue;
            };
            let range = start..end;
            if let Some((other, _)) = physical.iter().find(|(_, other)| overlap(other, &range)) {
                let message =
                    format!("the physical addresses of `{name}` overlap with those of `{other}`");
                self.wrong(at, message);
            }
            physical.push((name, range));
        }
    }

    fn domain_list(&mut self) {
        let count = self.domains.len();
        if count == 0 {
            self.wrong(
                Element::System,
                "a system has at least one protection domain".into(),
            );
        }
        if count > MAX_PROTECTION_DOMAINS {
            self.wrong(
                Element::System,
                format!(
                    "there are {count} protection domains; Microkit allows {MAX_PROTECTION_DOMAINS}"
                ),
            );
        }
        let mut names = HashSet::new();
        let mut children = HashSet::new();
        for (index, (domain, parent)) in self.domains.clone().into_iter().enumerate() {
            let at = Element::Domain(index);
            let name = &domain.name;
            if !names.insert(name) {
                self.wrong(at, format!("there are two protection domains `{name}`"));
            }
            match (parent, &domain.child) {
                (Some(parent), Some(child)) if !children.insert((parent, child.id)) => self.wrong(
                    at,
                    format!(
                        "two children of one protection domain have the id {}",
                        child.id
                    ),
                ),
                (Some(_), None) => self.wrong(at, format!("the child `{name}` has no id")),
                (None, Some(_)) => {
                    self.wrong(at, format!("`{name}` has an id and no parent"));
                }
                _ => (),
            }
            if domain.child.as_ref().is_some_and(|c| c.id > MAX_ID) {
                self.wrong(at, format!("the id of `{name}` is above {MAX_ID}"));
            }
        }
    }

    fn domain(&mut self, index: usize) {
        let (domain, _) = self.domains[index];
        let at = Element::Domain(index);
        let name = &domain.name;
        if name.is_empty() || name.len() > MAX_NAME_LENGTH {
            self.wrong(
                at,
                format!("the name `{name}` has not 1 to {MAX_NAME_LENGTH} bytes"),
            );
        }
        if name == "monitor" {
            self.wrong(at, "the name `monitor` is Microkit's own".into());
        }
        if domain.priority > MAX_PRIORITY {
            self.wrong(
                at,
                format!("the priority of `{name}` is above {MAX_PRIORITY}"),
            );
        }
        let budget = domain.budget.unwrap_or(1000);
        if domain.period.is_some_and(|period| budget > period) {
            self.wrong(at, format!("the budget of `{name}` is above its period"));
        }
        let cores = self.target.cores;
        if domain.cpu >= cores {
            self.wrong(
                at,
                format!(
                    "`{name}` is placed on core {}; there are {cores}, from 0",
                    domain.cpu
                ),
            );
        }
        let stack = domain.stack_size;
        if !(MIN_STACK_SIZE..=MAX_STACK_SIZE).contains(&stack) || !stack.is_multiple_of(0x1000) {
            self.wrong(
                at,
                format!("the stack of `{name}`, {stack:#x} bytes, is not a multiple of 0x1000 from {MIN_STACK_SIZE:#x} to {MAX_STACK_SIZE:#x}"),
            );
        }
        self.maps(index, domain);
    }

    fn maps(&mut self, index: usize, domain: &'a ProtectionDomain) {
        let end = self.target.map_end(domain.stack_size);
        let mut seen = Vec::new();
        for (position, map) in domain.maps.iter().enumerate() {
            let at = Element::Map(index, position);
            let permissions = map.permissions;
            if !permissions.read && !permissions.execute {
                self.wrong(
                    at,
                    "a mapping is readable or executable; there are none for writing only".into(),
                );
            }
            if permissions.write && permissions.execute {
                self.wrong(at, "no mapping is both writable and executable".into());
            }
            self.placed(at, &map.region, map.vaddr, end, &mut seen);
            if map.setvar_prefill_size.is_some()
                && let Some(region) = self.system.region(&map.region)
                && region.prefill.is_none()
            {
                self.wrong(
                    at,
                    format!(
                        "`setvar_prefill_size`: `{}` has no prefill file",
                        region.name
                    ),
                );
            }
        }
    }

    /// Checks where a region is mapped: that it exists, is aligned, fits and overlaps with none before it.
    fn placed(
        &mut self,
        at: Element,
        name: &'a str,
        start: u64,
        limit: u64,
        seen: &mut Vec<(&'a str, Range<u64>)>,
    ) {
        let Some(region) = self.system.region(name) else {
            self.wrong(at, format!("there is no memory region `{name}`"));
            return;
        };
        let page = region.page_size.unwrap_or(PageSize::Small).bytes();
        if !start.is_multiple_of(page) {
            self.wrong(
                at,
                format!("`{name}` is mapped at {start:#x}, which is not a multiple of its page size, {page:#x}"),
            );
        }
        let Some(end) = start.checked_add(region.size).filter(|&end| end <= limit) else {
            self.wrong(
                at,
                format!(
                    "`{name}`, mapped at {start:#x}, ends above the highest address, {limit:#x}"
                ),
            );
            return;
        };
        let range = start..end;
        if let Some((other, _)) = seen.iter().find(|(_, other)| overlap(other, &range)) {
            let message = format!("the mapping of `{name}` overlaps with that of `{other}`");
            self.wrong(at, message);
        }
        seen.push((name, range));
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}
