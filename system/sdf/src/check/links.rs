//! Checks of what protection domains share with each other and with devices: interrupts, ports, channels, symbols.

use std::collections::HashSet;
use std::ops::Range;

use super::{Checker, Element, overlap};
use crate::model::*;
use crate::{MAX_ID, MAX_IO_ADDRESS, MAX_VECTOR};

impl<'a> Checker<'a> {
    pub(super) fn interrupts(&mut self) {
        let mut numbers = HashSet::new();
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
                if !numbers.insert(number) {
                    let message = format!("the interrupt number or vector {number} is used twice");
                    self.wrong(at, message);
                }
            }
        }
    }

    pub(super) fn io_ports(&mut self) {
        let mut seen: Vec<(&str, Range<u64>)> = Vec::new();
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
                if let Some((owner, _)) = seen.iter().find(|(_, other)| overlap(other, &range)) {
                    let message = format!("the ports overlap with ports of `{owner}`");
                    self.wrong(at, message);
                }
                seen.push((&domain.name, range));
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
