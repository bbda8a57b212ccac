//! What a board has: memory, devices and where they are (`system/boards/NAME.toml`).

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use microkit_sdf::{MAX_ID, MAX_VECTOR, PciAddress, Polarity, Target, Trigger};
use wiring::Value;

use crate::diagnostics::{Problem, Source, suggest};
use crate::toml::{self, Entry, Fields, Kind, Reader};

/// A board.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// Its name, which is that of its file.
    pub name: String,
    /// Its processor, as far as Microkit descriptions depend on it.
    pub target: Target,
    /// Memory in bytes.
    pub memory: u64,
    /// Part of the memory that protection domains cannot have: firmware, kernel, initialiser and boot image.
    pub reserved: u64,
    /// Physical address of the memory for devices' transfers.
    pub dma_address: u64,
    /// Size of that memory in bytes.
    pub dma_size: u64,
    /// The devices.
    pub devices: Vec<Device>,
}

/// A device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its name on the board, such as `net0`.
    pub name: String,
    /// What it is, such as `virtio-net`.
    pub kind: String,
    /// How its registers are reached: `pci`, `mmio` or `ports`.
    pub bus: String,
    /// Its PCI address.
    pub pci: Option<PciAddress>,
    /// Register memory.
    pub registers: Vec<Registers>,
    /// Interrupts.
    pub interrupts: Vec<Interrupt>,
    /// I/O ports: the first and their number.
    pub ports: Vec<(u16, u16)>,
    /// Whatever else its driver wants to know.
    pub properties: Vec<(String, Value)>,
}

/// Register memory of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// The PCI base address register that decides where it lies.
    pub bar: Option<u8>,
    /// Physical address.
    pub address: u64,
    /// Size in bytes.
    pub size: u64,
}

/// A pin of an I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Which I/O APIC.
    pub ioapic: u32,
    /// Which pin.
    pub pin: u32,
    /// When it fires.
    pub trigger: Trigger,
    /// Which level is active.
    pub polarity: Polarity,
}

impl Device {
    /// The PCI address as the wiring has it: bus << 8 | device << 3 | function.
    pub fn pci_number(&self) -> Option<u16> {
        self.pci.map(|pci| {
            u16::from(pci.bus) << 8 | u16::from(pci.device) << 3 | u16::from(pci.function)
        })
    }
}

impl Board {
    /// Reads `system/boards/NAME.toml` below `root`.
    ///
    /// # Errors
    /// What is wrong with the file; that there is none.
    pub fn load(root: &Path, name: &str) -> Result<Self, Vec<Problem>> {
        let folder = root.join("system/boards");
        let path = folder.join(format!("{name}.toml"));
        if !path.is_file() {
            let mut names: Vec<String> = std::fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| {
                    let name = entry.file_name().into_string().ok()?;
                    name.strip_suffix(".toml").map(str::to_string)
                })
                .collect();
            names.sort();
            let help = suggest(name, "boards", names.iter().map(String::as_str));
            return Err(vec![
                Problem::nowhere(format!("there is no board `{name}`")).help(help),
            ]);
        }
        let source = Source::read(&path, root).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let board = read(&source, name, &mut problems).map_err(|problem| vec![problem])?;
        match board {
            Some(board) if problems.is_empty() => Ok(board),
            _ => Err(problems),
        }
    }

    /// The device of this name.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }
}

fn read(
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
    let devices = fields.take("device");
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
    let devices = devices.into_iter().map(|(_, device)| device).collect();
    let (Some((target, memory, reserved)), Some((dma_address, dma_size))) = (machine, window)
    else {
        return Ok(None);
    };
    Ok(Some(Board {
        name: name.to_string(),
        target,
        memory,
        reserved,
        dma_address,
        dma_size,
        devices,
    }))
}

fn machine(reader: &mut Reader<'_>, entry: &Entry) -> Option<(Target, u64, u64)> {
    let mut fields = Fields::new(reader.table("board", &entry.value)?);
    let architecture = required(reader, &mut fields, entry, "architecture");
    let memory = required(reader, &mut fields, entry, "memory");
    let reserved = required(reader, &mut fields, entry, "reserved");
    fields.finish(reader, "`board`");
    let architecture = reader.text(architecture?)?;
    if architecture.value != "x86_64" {
        let problem = reader.wrong(&architecture.span, "there is no such architecture");
        problem.help = Some("architectures: `x86_64`".into());
        return None;
    }
    let (memory, reserved) = (reader.size(memory?)?, reader.size(reserved?)?);
    Some((Target::X86_64, memory.value, reserved.value))
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
    let known = ["pci", "mmio", "ports"];
    if !known.contains(&bus.value.as_str()) || (bus.value == "pci") != pci.is_some() {
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
            let pin = u64::from(interrupt.ioapic) << 32 | u64::from(interrupt.pin);
            taken(reader, "an interrupt", overlapping(&pins, &(pin..pin + 1)));
            pins.push((name, pin..pin + 1));
        }
        if device.ports.len() > usize::from(MAX_ID) + 1 {
            let message = "this device has more than 62 ranges of I/O ports";
            reader.wrong(&entry.key_span, message);
        }
    }
    if pins.len() > usize::from(MAX_VECTOR) + 1 {
        let message = "the board has more than 108 interrupts, for which there are no vectors";
        reader.wrong(&(0..0), message);
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
    let ioapic = fields.take("ioapic");
    let pin = required(reader, &mut fields, entry, "pin");
    let trigger = required(reader, &mut fields, entry, "trigger");
    let polarity = required(reader, &mut fields, entry, "polarity");
    fields.finish(reader, "an interrupt");
    let ioapic = match ioapic {
        Some(entry) => reader.number(entry, 0, 255)?.value as u32,
        None => 0,
    };
    let pin = reader.number(pin?, 0, 255)?.value as u32;
    let trigger = one_of(
        reader,
        trigger?,
        [("level", Trigger::Level), ("edge", Trigger::Edge)],
    );
    let polarity = one_of(
        reader,
        polarity?,
        [("high", Polarity::High), ("low", Polarity::Low)],
    );
    Some(Interrupt {
        ioapic,
        pin,
        trigger: trigger?,
        polarity: polarity?,
    })
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
