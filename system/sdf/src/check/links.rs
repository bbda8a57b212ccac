//! Checks of what protection domains share with each other and with devices: interrupts, ports, channels, symbols.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

use super::{Checker, Element, overlap};
use crate::model::*;
use crate::{MAX_ID, MAX_IO_ADDRESS, MAX_VECTOR};

impl<'a> Checker<'a> {
    /// Checks that there are such interrupts, and that no two claim the same line, message or vector: in one protection
    /// domain or in two.
    pub(super) fn interrupts(&mut self) {
        let mut claims: HashMap<Claim, (Element, &str)> = HashMap::new();
        for (index, (domain, _)) in self.domains.clone().into_iter().enumerate() {
            for (position, irq) in domain.irqs.iter().enumerate() {
                let at = Element::Irq(index, position);
                let numbered = matches!(irq.source, Interrupt::Number { .. });
                if numbered == self.x86() {
                    let kind = if numbered { "a numbered" } else { "an x86" };
                    let message = format!("the target has no such thing as {kind} interrupt");
                    self.wrong(at, message);
                }
                let number = irq.source.number();
                if !numbered && number > MAX_VECTOR.into() {
                    self.wrong(at, format!("the vector {number} is above {MAX_VECTOR}"));
                }
                for claim in Claim::of(&irq.source) {
                    if let Some((other, owner)) = claims.get(&claim).copied() {
                        let message = format!("{claim} is claimed twice, first by `{owner}`");
                        self.conflict(at, other, message);
                    } else {
                        claims.insert(claim, (at, &domain.name));
                    }
                }
            }
        }
    }

    pub(super) fn io_ports(&mut self) {
        let mut seen: Vec<(Element, &str, Range<u64>)> = Vec::new();
        for (index, (domain, _)) in self.domains.clone().into_iter().enumerate() {
            let mut ids = HashSet::new();
            for (position, port) in domain.io_ports.iter().enumerate() {
                let at = Element::IoPort(index, position);
                if !self.x86() {
                    self.wrong(at, "only x86 has I/O ports".into());
                }
                if port.id > MAX_ID || !ids.insert(port.id) {
                    self.wrong(
                        at,
                        format!(
                            "the I/O port id {} is used twice or above {MAX_ID}",
                            port.id
                        ),
                    );
                }
                let start = u64::from(port.address);
                let range = start..start + u64::from(port.size);
                if range.is_empty() || range.end > 0x1_0000 {
                    self.wrong(at, "the ports are not within 0 to 0xffff".into());
                }
                for (other, owner, ports) in &seen {
                    if overlap(ports, &range) {
                        let common = range.start.max(ports.start)..range.end.min(ports.end);
                        let message = format!(
                            "{} claimed twice, first by `{owner}`",
                            described_ports(&common)
                        );
                        self.conflict(at, *other, message);
                    }
                }
                seen.push((at, &domain.name, range));
            }
        }
    }

    pub(super) fn channels(&mut self) {
        let mut ids: HashSet<(usize, u8)> = HashSet::new();
        for (index, (domain, _)) in self.domains.clone().into_iter().enumerate() {
            for (position, irq) in domain.irqs.iter().enumerate() {
                self.channel_id(Element::Irq(index, position), index, irq.id, &mut ids);
            }
        }
        for (index, channel) in self.system.channels.iter().enumerate() {
            let mut ends = Vec::new();
            for (side, end) in channel.ends.iter().enumerate() {
                let at = Element::End(index, side);
                match self.domains.iter().position(|(d, _)| d.name == end.domain) {
                    Some(domain) => {
                        self.channel_id(at, domain, end.id, &mut ids);
                        ends.push((end, self.domains[domain].0.priority));
                    }
                    None => self.wrong(
                        at,
                        format!("there is no protection domain `{}`", end.domain),
                    ),
                }
            }
            if let [a, b] = ends[..] {
                self.calls(index, a, b);
            }
        }
    }

    fn channel_id(&mut self, at: Element, domain: usize, id: u8, ids: &mut HashSet<(usize, u8)>) {
        if id > MAX_ID || !ids.insert((domain, id)) {
            let name = &self.domains[domain].0.name;
            self.wrong(
                at,
                format!("the channel id {id} of `{name}` is used twice or above {MAX_ID}"),
            );
        }
    }

    fn calls(&mut self, index: usize, a: (&End, u8), b: (&End, u8)) {
        if a.0.call && b.0.call {
            self.wrong(
                Element::Channel(index),
                "only one end of a channel may make protected calls".into(),
            );
        }
        for (side, (caller, callee)) in [(a, b), (b, a)].into_iter().enumerate() {
            if caller.0.call && caller.1 >= callee.1 {
                self.wrong(
                    Element::End(index, side),
                    format!(
                        "`{}` (priority {}) calls `{}` (priority {}), whose priority must be higher",
                        caller.0.domain, caller.1, callee.0.domain, callee.1
                    ),
                );
            }
        }
    }

    /// Checks that no symbol of a program is set twice, and what symbols are set to.
    pub(super) fn symbols(&mut self) {
        for (index, (domain, _)) in self.domains.clone().into_iter().enumerate() {
            let mut seen = HashSet::new();
            let mut repeated = Vec::new();
            for (at, symbol) in self.symbols_of(index, domain) {
                if !seen.insert(symbol) {
                    repeated.push((at, symbol));
                }
            }
            for (at, symbol) in repeated {
                self.wrong(at, format!("the symbol `{symbol}` is set twice"));
            }
            for (position, setvar) in domain.setvars.iter().enumerate() {
                let at = Element::SetVar(index, position);
                match self.system.region(&setvar.region) {
                    None => {
                        self.wrong(at, format!("there is no memory region `{}`", setvar.region));
                    }
                    Some(region) if self.x86() && region.phys_addr.is_none() => self.wrong(
                        at,
                        format!(
                            "`{}` has no physical address, as x86 requires here",
                            region.name
                        ),
                    ),
                    Some(_) => (),
                }
            }
        }
    }

    fn symbols_of(
        &self,
        index: usize,
        domain: &'a ProtectionDomain,
    ) -> impl Iterator<Item = (Element, &'a str)> {
        let maps = domain.maps.iter().enumerate().flat_map(move |(i, map)| {
            [
                &map.setvar_vaddr,
                &map.setvar_size,
                &map.setvar_prefill_size,
            ]
            .into_iter()
            .flatten()
            .map(move |symbol| (Element::Map(index, i), symbol))
        });
        let irqs = domain.irqs.iter().enumerate();
        let irqs = irqs
            .filter_map(move |(i, irq)| Some((Element::Irq(index, i), irq.setvar_id.as_ref()?)));
        let ports = domain
            .io_ports
            .iter()
            .enumerate()
            .flat_map(move |(i, port)| {
                [&port.setvar_id, &port.setvar_addr]
                    .into_iter()
                    .flatten()
                    .map(move |symbol| (Element::IoPort(index, i), symbol))
            });
        let setvars = domain.setvars.iter().enumerate();
        let setvars = setvars.map(move |(i, s)| (Element::SetVar(index, i), &s.symbol));
        let children = domain.children.iter().filter_map(move |child| {
            let symbol = child.child.as_ref()?.setvar_id.as_ref()?;
            Some((Element::Domain(index), symbol))
        });
        let channels = self.system.channels.iter().enumerate();
        let channels = channels.flat_map(move |(i, channel)| {
            let ends = channel.ends.iter().enumerate();
            ends.filter(|(_, end)| end.domain == domain.name)
                .filter_map(move |(side, end)| {
                    Some((Element::End(i, side), end.setvar_id.as_ref()?))
                })
        });
        maps.chain(irqs)
            .chain(ports)
            .chain(setvars)
            .chain(children)
            .chain(channels)
            .map(|(at, symbol)| (at, symbol.as_str()))
    }

    pub(super) fn io_address_spaces(&mut self) {
        let (mut names, mut ids, mut devices) = (HashSet::new(), HashSet::new(), HashSet::new());
        for (index, space) in self.system.io_address_spaces.iter().enumerate() {
            let at = Element::IoAddressSpace(index);
            if !self.x86() {
                self.wrong(at, "only x86 has I/O address spaces".into());
            }
            let (name, id, device) = (&space.name, space.domain_id, space.peripheral);
            if !names.insert(name) {
                self.wrong(at, format!("there are two I/O address spaces `{name}`"));
            }
            if !ids.insert(id) {
                self.wrong(at, format!("the domain id {id} is used twice"));
            }
            if !devices.insert(device) {
                self.wrong(
                    at,
                    format!("the device {device} has two I/O address spaces"),
                );
            }
            let mut seen = Vec::new();
            for (position, map) in space.maps.iter().enumerate() {
                let at = Element::IoMap(index, position);
                let permissions = map.permissions;
                if permissions.execute || !(permissions.read || permissions.write) {
                    self.wrong(at, "devices read, write or both".into());
                }
                self.placed(at, &map.region, map.address, MAX_IO_ADDRESS + 1, &mut seen);
                if let Some(region) = self.system.region(&map.region)
                    && region.page_size == Some(PageSize::Large)
                {
                    self.wrong(at, format!("`{}` has large pages", region.name));
                }
            }
        }
    }
}

fn described_ports(ports: &Range<u64>) -> String {
    let (first, last) = (ports.start, ports.end - 1);
    if first == last {
        format!("the I/O port {first:#x} is")
    } else {
        format!("the I/O ports {first:#x} to {last:#x} are")
    }
}

/// A resource that only one interrupt of a system may use.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Claim {
    /// A number of the interrupt controller (Arm, RISC-V).
    Number(u32),
    /// An x86 processor's vector.
    Vector(u8),
    /// A pin of an I/O APIC.
    Pin { ioapic: u32, pin: u32 },
    /// A message of a PCI device.
    Message { device: PciAddress, handle: u32 },
}

impl Claim {
    fn of(interrupt: &Interrupt) -> Vec<Self> {
        match *interrupt {
            Interrupt::Number { irq, .. } => vec![Self::Number(irq)],
            Interrupt::IoApic {
                ioapic,
                pin,
                vector,
                ..
            } => vec![Self::Pin { ioapic, pin }, Self::Vector(vector)],
            Interrupt::Msi {
                device,
                handle,
                vector,
            } => vec![Self::Message { device, handle }, Self::Vector(vector)],
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "the interrupt {number}"),
            Self::Vector(vector) => write!(f, "the interrupt vector {vector}"),
            Self::Pin { ioapic, pin } => write!(f, "the pin {pin} of I/O APIC {ioapic}"),
            Self::Message { device, handle } => {
                write!(f, "the message {handle} of the PCI device {device}")
            }
        }
    }
}
