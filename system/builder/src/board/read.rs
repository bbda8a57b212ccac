//! Reads a board file and checks that its devices can be given away one by one.

use std::ops::Range;
use std::sync::Arc;

use microkit_sdf::{Architecture, MAX_ID, MAX_VECTOR, PciAddress, Polarity, Target, Trigger};
use wiring::Value;

use super::{BUSES, Board, Device, Infrastructure, Interrupt, KernelKind, Registers};
use crate::description;
use crate::diagnostics::{Problem, Source, listed, suggest};
use crate::toml::{self, Entry, Fields, Kind, Reader};

/// Reads a board file.
pub(super) fn read(
    source: &Arc<Source>,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Result<Option<Board>, Problem> {
    let document = toml::parse(source)?;
    let mut reader = Reader { source, problems };
    let Some(entries) = reader.table("the board", &document) else {
        return Ok(None);
    };
    let mut fields = Fields::new(entries);
    let (board, dma) = (fields.take("board"), fields.take("dma"));
    let (devices, protections) = (fields.take("device"), fields.take("protection"));
    fields.finish(&mut reader, "a board file");
    let (Some(board), Some(dma)) = (board, dma) else {
        reader.wrong(&(0..0), "a board file has the tables `board` and `dma`");
        return Ok(None);
    };
    let (machine, window) = (machine(&mut reader, board), window(&mut reader, dma));
    let listed = match devices {
        Some(entry) => reader.table("device", &entry.value).unwrap_or_default(),
        None => &[],
    };
    let devices: Vec<(&Entry, Device)> = listed
        .iter()
        .filter_map(|entry| Some((entry, device(&mut reader, entry)?)))
        .collect();
    check(&mut reader, &devices, window);
    let (Some(machine), Some((dma_address, dma_size))) = (machine, window) else {
        return Ok(None);
    };
    check_interrupts(&mut reader, &devices, machine.target.architecture);
    check_absent(&mut reader, &devices, &machine.without);
    let protections = protections.and_then(|entry| description::protections(&mut reader, entry));
    Ok(Some(Board {
        infrastructure: Infrastructure {
            source: Some(source.clone()),
            protections: protections.unwrap_or_default(),
        },
        name: name.to_string(),
        dma_address,
        dma_size,
        devices: devices.into_iter().map(|(_, device)| device).collect(),
        ..machine
    }))
}

/// The table `board`; what stands elsewhere is still empty.
fn machine(reader: &mut Reader<'_>, entry: &Entry) -> Option<Board> {
    let mut fields = Fields::new(reader.table("board", &entry.value)?);
    let architecture = required(reader, &mut fields, entry, "architecture");
    let memory = required(reader, &mut fields, entry, "memory");
    let reserved = required(reader, &mut fields, entry, "reserved");
    let kernel = fields.take("kernel");
    let (iommu, without) = (fields.take("iommu"), fields.take("without"));
    let features = fields.take("features");
    fields.finish(reader, "`board`");
    let target = choice(
        reader,
        architecture?,
        "architecture",
        &[
            ("aarch64", Target::AARCH64),
            ("riscv64", Target::RISCV64),
            ("x86_64", Target::X86_64),
        ],
    )?;
    let kinds = [
        ("microkit", KernelKind::Microkit),
        ("pc99", KernelKind::Pc99),
    ];
    let kernel = match kernel {
        Some(entry) => choice(reader, entry, "kernel", &kinds)?,
        None => KernelKind::Microkit,
    };
    let iommu = match iommu {
        Some(entry) => {
            let iommu = reader.boolean(entry)?;
            if iommu && (kernel, target) != (KernelKind::Microkit, Target::X86_64) {
                let message = "only Microkit's kernel for x86_64 drives an IOMMU";
                reader.wrong(&entry.value.span, message).help =
                    Some("leave `iommu` out: drivers are trusted with all memory there".into());
            }
            iommu
        }
        None => false,
    };
    Some(Board {
        name: String::new(),
        kernel,
        target,
        memory: reader.size(memory?)?.value,
        reserved: reader.size(reserved?)?.value,
        dma_address: 0,
        dma_size: 0,
        iommu,
        features: texts(reader, features),
        without: texts(reader, without),
        devices: Vec::new(),
        infrastructure: Infrastructure::default(),
    })
}

fn texts(reader: &mut Reader<'_>, entry: Option<&Entry>) -> Vec<String> {
    entry
        .and_then(|entry| reader.texts(entry))
        .unwrap_or_default()
}

/// The value that a word stands for.
fn choice<T: Copy>(
    reader: &mut Reader<'_>,
    entry: &Entry,
    what: &str,
    choices: &[(&str, T)],
) -> Option<T> {
    let text = reader.text(entry)?;
    let found = choices.iter().find(|(name, _)| *name == text.value);
    if found.is_none() {
        let problem = reader.wrong(&text.span, format!("there is no such {what}"));
        let names = choices.iter().map(|(name, _)| *name);
        problem.help = Some(suggest(&text.value, &format!("{what}s"), names));
    }
    found.map(|(_, value)| *value)
}

fn window(reader: &mut Reader<'_>, entry: &Entry) -> Option<(u64, u64)> {
    let mut fields = Fields::new(reader.table("dma", &entry.value)?);
    let address = required(reader, &mut fields, entry, "address");
    let size = required(reader, &mut fields, entry, "size");
    fields.finish(reader, "`dma`");
    let (address, size) = (reader.size(address?)?, reader.size(size?)?);
    if !address.value.is_multiple_of(0x1000) || !size.value.is_multiple_of(0x1000) {
        let message = "memory for transfers consists of whole pages of 4 KiB";
        reader.wrong(&entry.key_span, message);
    }
    Some((address.value, size.value))
}

fn device(reader: &mut Reader<'_>, entry: &Entry) -> Option<Device> {
    let mut fields = Fields::new(reader.table(&entry.key, &entry.value)?);
    let kind = required(reader, &mut fields, entry, "kind");
    let bus = required(reader, &mut fields, entry, "bus");
    let pci = fields.take("pci");
    let registers = fields.take("registers");
    let interrupts = fields.take("interrupts");
    let ports = fields.take("ports");
    let properties = fields.take("properties");
    fields.finish(reader, "a device");
    let pci = match pci {
        Some(entry) => Some(pci_address(reader, entry)?),
        None => None,
    };
    let bus = reader.text(bus?)?;
    if !BUSES.contains(&bus.value.as_str()) || (bus.value == "pci") != pci.is_some() {
        let problem = reader.wrong(&bus.span, "the bus does not fit the device");
        problem.help = Some(
            "it is `pci` for a device with a `pci` address, otherwise `mmio` or `ports`".into(),
        );
    }
    Some(Device {
        name: entry.key.clone(),
        kind: reader.text(kind?)?.value,
        bus: bus.value,
        pci,
        registers: each(reader, registers, register),
        interrupts: each(reader, interrupts, interrupt),
        ports: each(reader, ports, port_range),
        properties: properties.map_or_else(Vec::new, |entry| property_list(reader, entry)),
    })
}

/// Checks that nothing belongs to two devices, so that they can be given to two protections.
fn check(reader: &mut Reader<'_>, devices: &[(&Entry, Device)], window: Option<(u64, u64)>) {
    let (mut memory, mut ports, mut pins) = (Vec::new(), Vec::new(), Vec::new());
    if let Some((address, size)) = window {
        memory.push(("dma", address..address.saturating_add(size)));
    }
    for (entry, device) in devices {
        let name = entry.key.as_str();
        let taken = |reader: &mut Reader<'_>, what: &str, owner: Option<&str>| {
            if let Some(owner) = owner {
                let message = format!("{what} of `{name}` belongs to `{owner}` too");
                reader.wrong(&entry.key_span, message).help =
                    Some("what two devices share cannot be given to two protections".into());
            }
        };
        for registers in &device.registers {
            let range = registers.address..registers.address.saturating_add(registers.size);
            taken(reader, "register memory", overlapping(&memory, &range));
            memory.push((name, range));
        }
        for &(base, size) in &device.ports {
            let range = u64::from(base)..u64::from(base) + u64::from(size);
            taken(reader, "an I/O port", overlapping(&ports, &range));
            ports.push((name, range));
        }
        for interrupt in &device.interrupts {
            let pin = match *interrupt {
                Interrupt::Pin { ioapic, pin, .. } => u64::from(ioapic) << 32 | u64::from(pin),
                Interrupt::Number { number, .. } => number.into(),
            };
            taken(reader, "an interrupt", overlapping(&pins, &(pin..pin + 1)));
            pins.push((name, pin..pin + 1));
        }
        if device.ports.len() > usize::from(MAX_ID) + 1 {
            let message = "this device has more than 62 ranges of I/O ports";
            reader.wrong(&entry.key_span, message);
        }
    }
    if pins.len() > usize::from(MAX_VECTOR) + 1 {
        let message = "the board has more than 108 interrupts, for which x86_64 has no vectors";
        reader.wrong(&(0..0), message);
    }
}

/// Checks that interrupts are named as the architecture names them.
fn check_interrupts(
    reader: &mut Reader<'_>,
    devices: &[(&Entry, Device)],
    architecture: Architecture,
) {
    let pins = architecture == Architecture::X86_64;
    for (entry, device) in devices {
        let mut interrupts = device.interrupts.iter();
        if interrupts.any(|interrupt| matches!(interrupt, Interrupt::Pin { .. }) != pins) {
            let message = "this board's interrupts are not of this form";
            reader.wrong(&entry.key_span, message).help = Some(if pins {
                "on x86_64 an interrupt is a `pin` of an I/O APIC".into()
            } else {
                "on aarch64 and riscv64 an interrupt is a `number`".into()
            });
        }
        if !pins && !device.ports.is_empty() {
            let message = "only x86_64 has I/O ports";
            reader.wrong(&entry.key_span, message).help = Some("use `registers`".into());
        }
    }
}

/// Checks that the board has no device of a kind that it says it does without.
fn check_absent(reader: &mut Reader<'_>, devices: &[(&Entry, Device)], without: &[String]) {
    for (entry, device) in devices {
        if without.contains(&device.kind) {
            let message = format!("`{}` is of a kind that the board does without", entry.key);
            reader.wrong(&entry.key_span, message).help = Some(format!(
                "`without` names {}",
                listed(without.iter().map(String::as_str))
            ));
        }
    }
}

/// Who has a part of this range already.
fn overlapping<'n>(taken: &[(&'n str, Range<u64>)], range: &Range<u64>) -> Option<&'n str> {
    let mut taken = taken.iter();
    let found = taken.find(|(_, other)| range.start < other.end && other.start < range.end);
    found.map(|(owner, _)| *owner)
}

fn required<'n>(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'n>,
    owner: &Entry,
    key: &str,
) -> Option<&'n Entry> {
    let entry = fields.take(key);
    if entry.is_none() {
        reader.wrong(&owner.key_span, format!("`{}` needs `{key}`", owner.key));
    }
    entry
}

/// The tables of a list, each read by `read`.
fn each<T>(
    reader: &mut Reader<'_>,
    list: Option<&Entry>,
    read: impl Fn(&mut Reader<'_>, &Entry) -> Option<T>,
) -> Vec<T> {
    let Some(entry) = list else {
        return Vec::new();
    };
    let nodes = reader.list(entry).unwrap_or_default();
    nodes
        .iter()
        .filter_map(|node| {
            let element = Entry {
                key: entry.key.clone(),
                key_span: node.span.clone(),
                value: node.clone(),
            };
            read(reader, &element)
        })
        .collect()
}

fn register(reader: &mut Reader<'_>, entry: &Entry) -> Option<Registers> {
    let mut fields = Fields::new(reader.table("registers", &entry.value)?);
    let bar = fields.take("bar");
    let address = required(reader, &mut fields, entry, "address");
    let size = required(reader, &mut fields, entry, "size");
    fields.finish(reader, "register memory");
    let bar = match bar {
        Some(entry) => Some(reader.number(entry, 0, 5)?.value as u8),
        None => None,
    };
    let (address, size) = (reader.size(address?)?, reader.size(size?)?);
    if !address.value.is_multiple_of(0x1000) || !size.value.is_multiple_of(0x1000) {
        reader.wrong(
            &entry.key_span,
            "register memory consists of whole pages of 4 KiB",
        );
    }
    Some(Registers {
        bar,
        address: address.value,
        size: size.value,
    })
}

fn interrupt(reader: &mut Reader<'_>, entry: &Entry) -> Option<Interrupt> {
    let mut fields = Fields::new(reader.table("interrupts", &entry.value)?);
    let number = fields.take("number");
    let trigger = required(reader, &mut fields, entry, "trigger");
    if let Some(number) = number {
        fields.finish(reader, "an interrupt with a number");
        return Some(Interrupt::Number {
            number: reader.number(number, 0, 1 << 20)?.value as u32,
            trigger: trigger_of(reader, trigger?)?,
        });
    }
    let ioapic = fields.take("ioapic");
    let pin = required(reader, &mut fields, entry, "pin");
    let polarity = required(reader, &mut fields, entry, "polarity");
    fields.finish(reader, "an interrupt");
    let ioapic = match ioapic {
        Some(entry) => reader.number(entry, 0, 255)?.value as u32,
        None => 0,
    };
    let pin = reader.number(pin?, 0, 255)?.value as u32;
    let trigger = trigger_of(reader, trigger?);
    let polarity = one_of(
        reader,
        polarity?,
        [("high", Polarity::High), ("low", Polarity::Low)],
    );
    Some(Interrupt::Pin {
        ioapic,
        pin,
        trigger: trigger?,
        polarity: polarity?,
    })
}

fn trigger_of(reader: &mut Reader<'_>, entry: &Entry) -> Option<Trigger> {
    let choices = [("level", Trigger::Level), ("edge", Trigger::Edge)];
    one_of(reader, entry, choices)
}

fn one_of<T>(reader: &mut Reader<'_>, entry: &Entry, choices: [(&str, T); 2]) -> Option<T> {
    let text = reader.text(entry)?;
    let names = choices.each_ref().map(|(name, _)| *name);
    let found = choices.into_iter().find(|(name, _)| *name == text.value);
    if found.is_none() {
        let problem = reader.wrong(&text.span, format!("`{}` is not known here", text.value));
        problem.help = Some(format!("expected `{}` or `{}`", names[0], names[1]));
    }
    found.map(|(_, value)| value)
}

fn port_range(reader: &mut Reader<'_>, entry: &Entry) -> Option<(u16, u16)> {
    let mut fields = Fields::new(reader.table("ports", &entry.value)?);
    let base = required(reader, &mut fields, entry, "base");
    let size = required(reader, &mut fields, entry, "size");
    fields.finish(reader, "a range of I/O ports");
    let base = reader.number(base?, 0, 0xffff)?.value;
    let most = (0x1_0000 - base).min(0xffff);
    let size = reader.number(size?, 1, most)?.value;
    Some((base as u16, size as u16))
}

fn pci_address(reader: &mut Reader<'_>, entry: &Entry) -> Option<PciAddress> {
    let text = reader.text(entry)?;
    match text.value.parse() {
        Ok(address) => Some(address),
        Err(message) => {
            reader.wrong(&text.span, message);
            None
        }
    }
}

fn property_list(reader: &mut Reader<'_>, entry: &Entry) -> Vec<(String, Value)> {
    let entries = reader.table("properties", &entry.value).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| {
            let value = match &entry.value.kind {
                Kind::Text(text) => Value::Text(text.clone()),
                Kind::Integer(number) => Value::Integer(*number),
                Kind::Boolean(boolean) => Value::Boolean(*boolean),
                _ => {
                    reader.wrong(
                        &entry.value.span,
                        "a property is text, a number or a truth value",
                    );
                    return None;
                }
            };
            Some((entry.key.clone(), value))
        })
        .collect()
}
