//! One function for each element of the format.

use std::path::PathBuf;

use roxmltree::Node;

use super::{Reader, boolean, comment, decimal, find, number, path, text, within};
use crate::check::Element;
use crate::model::*;
use crate::{DEFAULT_STACK_SIZE, MAX_ID, MAX_PRIORITY, MAX_VECTOR};

impl<'a> Reader<'a> {
    pub(super) fn document(&mut self) -> System {
        let root = self.document.root_element();
        let mut system = System {
            comment: comment(root),
            ..System::default()
        };
        self.place(Element::System, root);
        if root.tag_name().name() != "system" {
            let name = root.tag_name().name();
            self.wrong(root, format!("the root element is `{name}`, not `system`"));
            return system;
        }
        self.attributes(root, &[]);
        for node in self.elements(root) {
            match node.tag_name().name() {
                "memory_region" => {
                    let region = self.memory_region(node, system.memory_regions.len());
                    system.memory_regions.extend(region);
                }
                "protection_domain" => {
                    let domain = self.protection_domain(node, false);
                    system.protection_domains.extend(domain);
                }
                "channel" => {
                    let channel = self.channel(node, system.channels.len());
                    system.channels.extend(channel);
                }
                "io_address_space" => {
                    let space = self.io_address_space(node, system.io_address_spaces.len());
                    system.io_address_spaces.extend(space);
                }
                "domains" => self.wrong(node, "domain schedules are not supported"),
                _ => self.unknown(node, "system"),
            }
        }
        system
    }

    fn memory_region(&mut self, node: Node<'a, 'a>, index: usize) -> Option<MemoryRegion> {
        self.attributes(
            node,
            &[
                "name",
                "size",
                "page_size",
                "phys_addr",
                "prefill_path",
                "prefill_bootinfo",
            ],
        );
        self.leaf(node);
        self.place(Element::Region(index), node);
        if node.has_attribute("prefill_bootinfo") {
            self.wrong(node, "`prefill_bootinfo` is not supported");
        }
        let name = self.required(node, "name", text);
        let page_size = self.optional(node, "page_size", page_size);
        let phys_addr = self.optional(node, "phys_addr", number);
        let prefill = self.optional(node, "prefill_path", path);
        let length = prefill.as_ref().and_then(|path| self.length(node, path));
        if let (Some(name), Some(length)) = (&name, length) {
            self.prefills.insert(name.clone(), length);
        }
        let size = match (node.has_attribute("size"), length) {
            (false, Some(length)) => {
                Some(length.next_multiple_of(page_size.unwrap_or(PageSize::Small).bytes()))
            }
            (false, None) if prefill.is_some() => None,
            _ => self.required(node, "size", number),
        };
        Some(MemoryRegion {
            comment: comment(node),
            name: name?,
            size: size?,
            page_size,
            phys_addr,
            prefill,
        })
    }

    /// The length of a prefill file.
    fn length(&mut self, node: Node<'_, '_>, path: &std::path::Path) -> Option<u64> {
        let shown = path.display();
        let Some(found) = find(path, self.search_paths) else {
            self.wrong(node, format!("the prefill file `{shown}` does not exist"));
            return None;
        };
        match std::fs::metadata(found) {
            Ok(data) if data.len() == 0 => {
                self.wrong(node, format!("the prefill file `{shown}` is empty"));
                None
            }
            Ok(data) => Some(data.len()),
            Err(error) => {
                self.wrong(
                    node,
                    format!("the prefill file `{shown}` cannot be read: {error}"),
                );
                None
            }
        }
    }

    fn protection_domain(
        &mut self,
        node: Node<'a, 'a>,
        is_child: bool,
    ) -> Option<ProtectionDomain> {
        let mut allowed = vec![
            "name",
            "priority",
            "budget",
            "period",
            "passive",
            "stack_size",
            "smc",
            "cpu",
            "domain",
            "fpu",
        ];
        if is_child {
            allowed.extend(["id", "setvar_id"]);
        }
        self.attributes(node, &allowed);
        for unsupported in ["smc", "domain"] {
            if node.has_attribute(unsupported) {
                self.wrong(node, format!("`{unsupported}` is not supported"));
            }
        }
        let index = self.domains;
        self.domains += 1;
        self.place(Element::Domain(index), node);
        let name = self.required(node, "name", text);
        let id = is_child.then(|| self.required(node, "id", within(MAX_ID.into())));
        let mut domain = ProtectionDomain::new(name.unwrap_or_default(), PathBuf::new());
        domain.comment = comment(node);
        domain.child = id.flatten().map(|id| Child {
            id: id as u8,
            setvar_id: node.attribute("setvar_id").map(str::to_string),
        });
        if let Some(priority) = self.optional(node, "priority", within(MAX_PRIORITY.into())) {
            domain.priority = priority as u8;
        }
        domain.budget = self.optional(node, "budget", number);
        domain.period = self.optional(node, "period", number);
        domain.passive = self.optional(node, "passive", boolean).unwrap_or(false);
        let stack_size = self.optional(node, "stack_size", number);
        domain.stack_size = stack_size.unwrap_or(DEFAULT_STACK_SIZE);
        domain.cpu = self.optional(node, "cpu", within(255)).unwrap_or(0) as u8;
        domain.fpu = self.optional(node, "fpu", boolean).unwrap_or(true);
        self.contents(node, index, &mut domain);
        Some(domain)
    }

    /// What stands inside a protection domain.
    fn contents(&mut self, node: Node<'a, 'a>, index: usize, domain: &mut ProtectionDomain) {
        let mut images = 0;
        for child in self.elements(node) {
            match child.tag_name().name() {
                "program_image" => {
                    images += 1;
                    self.program_image(child, domain);
                }
                "map" => {
                    self.place(Element::Map(index, domain.maps.len()), child);
                    let map = self.map(child);
                    domain.maps.extend(map);
                }
                "irq" => {
                    self.place(Element::Irq(index, domain.irqs.len()), child);
                    let irq = self.irq(child);
                    domain.irqs.extend(irq);
                }
                "ioport" => {
                    self.place(Element::IoPort(index, domain.io_ports.len()), child);
                    let port = self.io_port(child);
                    domain.io_ports.extend(port);
                }
                "setvar" => {
                    self.place(Element::SetVar(index, domain.setvars.len()), child);
                    let setvar = self.setvar(child);
                    domain.setvars.extend(setvar);
                }
                "protection_domain" => {
                    let inner = self.protection_domain(child, true);
                    domain.children.extend(inner);
                }
                "virtual_machine" => self.wrong(child, "virtual machines are not supported"),
                "cspace" => self.wrong(child, "`cspace` is not supported"),
                _ => self.unknown(child, "protection_domain"),
            }
        }
        if images != 1 {
            let message = format!("a protection domain has one `program_image`, not {images}");
            self.wrong(node, message);
        }
    }

    fn program_image(&mut self, node: Node<'a, 'a>, domain: &mut ProtectionDomain) {
        self.attributes(node, &["path", "path_for_symbols"]);
        self.leaf(node);
        if let Some(path) = self.required(node, "path", path) {
            domain.program_image = path;
        }
        domain.program_image_for_symbols = self.optional(node, "path_for_symbols", path);
    }

    fn map(&mut self, node: Node<'a, 'a>) -> Option<Map> {
        self.attributes(
            node,
            &[
                "mr",
                "vaddr",
                "perms",
                "cached",
                "setvar_vaddr",
                "setvar_size",
                "setvar_prefill_size",
            ],
        );
        self.leaf(node);
        let region = self.required(node, "mr", text);
        let vaddr = self.required(node, "vaddr", number);
        let permissions = self.optional(node, "perms", permissions);
        let cached = self.optional(node, "cached", boolean);
        Some(Map {
            region: region?,
            vaddr: vaddr?,
            permissions: permissions.unwrap_or(Permissions::READ_WRITE),
            cached: cached.unwrap_or(true),
            setvar_vaddr: node.attribute("setvar_vaddr").map(str::to_string),
            setvar_size: node.attribute("setvar_size").map(str::to_string),
            setvar_prefill_size: node.attribute("setvar_prefill_size").map(str::to_string),
        })
    }

    fn irq(&mut self, node: Node<'a, 'a>) -> Option<Irq> {
        self.leaf(node);
        let id = self.required(node, "id", decimal(0, MAX_ID));
        let source = if node.has_attribute("irq") {
            self.numbered_interrupt(node)
        } else if node.has_attribute("pin") {
            self.io_apic_interrupt(node)
        } else if node.has_attribute("pcidev") {
            self.message_interrupt(node)
        } else {
            self.wrong(
                node,
                "`irq` needs one of the attributes `irq`, `pin` and `pcidev`",
            );
            None
        };
        Some(Irq {
            id: id?,
            source: source?,
            setvar_id: node.attribute("setvar_id").map(str::to_string),
        })
    }

    fn numbered_interrupt(&mut self, node: Node<'_, '_>) -> Option<Interrupt> {
        self.attributes(node, &["irq", "id", "setvar_id", "trigger"]);
        let irq = self.required(node, "irq", decimal(0, u32::MAX));
        let trigger = self.optional(node, "trigger", trigger);
        Some(Interrupt::Number {
            irq: irq?,
            trigger: trigger.unwrap_or(Trigger::Level),
        })
    }

    fn io_apic_interrupt(&mut self, node: Node<'_, '_>) -> Option<Interrupt> {
        self.attributes(
            node,
            &[
                "id",
                "setvar_id",
                "ioapic",
                "pin",
                "trigger",
                "polarity",
                "vector",
            ],
        );
        let ioapic = self.optional(node, "ioapic", decimal(0, i32::MAX as u32));
        let pin = self.required(node, "pin", decimal(0, i32::MAX as u32));
        let trigger = self.optional(node, "trigger", trigger);
        let polarity = self.optional(node, "polarity", |value| match value {
            "high" => Ok(Polarity::High),
            "low" => Ok(Polarity::Low),
            _ => Err(format!("`{value}` is neither `high` nor `low`")),
        });
        let vector = self.required(node, "vector", decimal(0, MAX_VECTOR));
        Some(Interrupt::IoApic {
            ioapic: ioapic.unwrap_or(0),
            pin: pin?,
            trigger: trigger.unwrap_or(Trigger::Level),
            polarity: polarity.unwrap_or(Polarity::High),
            vector: vector?,
        })
    }

    fn message_interrupt(&mut self, node: Node<'_, '_>) -> Option<Interrupt> {
        self.attributes(node, &["id", "setvar_id", "pcidev", "handle", "vector"]);
        let device = self.required(node, "pcidev", str::parse);
        let handle = self.required(node, "handle", decimal(0, i32::MAX as u32));
        let vector = self.required(node, "vector", decimal(0, MAX_VECTOR));
        Some(Interrupt::Msi {
            device: device?,
            handle: handle?,
            vector: vector?,
        })
    }

    fn io_port(&mut self, node: Node<'a, 'a>) -> Option<IoPort> {
        self.attributes(node, &["id", "setvar_id", "setvar_addr", "addr", "size"]);
        self.leaf(node);
        let id = self.required(node, "id", decimal(0, MAX_ID));
        let address = self.required(node, "addr", within(0xffff));
        let size = self.required(node, "size", decimal(1, 0x1_0000));
        Some(IoPort {
            id: id?,
            address: address? as u16,
            size: size?,
            setvar_id: node.attribute("setvar_id").map(str::to_string),
            setvar_addr: node.attribute("setvar_addr").map(str::to_string),
        })
    }

    fn setvar(&mut self, node: Node<'a, 'a>) -> Option<SetVar> {
        self.attributes(node, &["symbol", "region_paddr"]);
        self.leaf(node);
        let symbol = self.required(node, "symbol", text);
        let region = self.required(node, "region_paddr", text);
        Some(SetVar {
            symbol: symbol?,
            region: region?,
        })
    }

    fn channel(&mut self, node: Node<'a, 'a>, index: usize) -> Option<Channel> {
        self.attributes(node, &[]);
        self.place(Element::Channel(index), node);
        let mut ends = Vec::new();
        for child in self.elements(node) {
            if child.tag_name().name() == "end" {
                if ends.len() < 2 {
                    self.place(Element::End(index, ends.len()), child);
                }
                ends.push(self.end(child));
            } else {
                self.unknown(child, "channel");
            }
        }
        let count = ends.len();
        match <[Option<End>; 2]>::try_from(ends) {
            Ok([Some(a), Some(b)]) => Some(Channel {
                comment: comment(node),
                ends: [a, b],
            }),
            Ok(_) => None,
            Err(_) => {
                self.wrong(
                    node,
                    format!("a channel has two `end` elements, not {count}"),
                );
                None
            }
        }
    }

    fn end(&mut self, node: Node<'a, 'a>) -> Option<End> {
        self.attributes(node, &["pd", "id", "pp", "notify", "setvar_id"]);
        self.leaf(node);
        let domain = self.required(node, "pd", text);
        let id = self.required(node, "id", decimal(0, MAX_ID));
        let call = self.optional(node, "pp", boolean);
        let notify = self.optional(node, "notify", boolean);
        Some(End {
            domain: domain?,
            id: id?,
            call: call.unwrap_or(false),
            notify: notify.unwrap_or(true),
            setvar_id: node.attribute("setvar_id").map(str::to_string),
        })
    }

    fn io_address_space(&mut self, node: Node<'a, 'a>, index: usize) -> Option<IoAddressSpace> {
        self.attributes(node, &["name", "peripheral_id", "domain_id"]);
        self.place(Element::IoAddressSpace(index), node);
        let name = self.required(node, "name", text);
        let peripheral = self.required(node, "peripheral_id", str::parse);
        let domain_id = self.required(node, "domain_id", number);
        let mut maps = Vec::new();
        for child in self.elements(node) {
            if child.tag_name().name() == "iomap" {
                self.place(Element::IoMap(index, maps.len()), child);
                let map = self.io_map(child);
                maps.extend(map);
            } else {
                self.unknown(child, "io_address_space");
            }
        }
        Some(IoAddressSpace {
            name: name?,
            peripheral: peripheral?,
            domain_id: domain_id?,
            maps,
        })
    }

    fn io_map(&mut self, node: Node<'a, 'a>) -> Option<IoMap> {
        self.attributes(node, &["mr", "iovaddr", "perms"]);
        self.leaf(node);
        let region = self.required(node, "mr", text);
        let address = self.required(node, "iovaddr", number);
        let permissions = self.optional(node, "perms", permissions);
        Some(IoMap {
            region: region?,
            address: address?,
            permissions: permissions.unwrap_or(Permissions::READ_WRITE),
        })
    }
}

fn page_size(value: &str) -> Result<PageSize, String> {
    let bytes = number(value)?;
    [PageSize::Small, PageSize::Large]
        .into_iter()
        .find(|size| size.bytes() == bytes)
        .ok_or_else(|| format!("pages of {value} bytes do not exist: use 0x1000 or 0x200000"))
}

fn permissions(value: &str) -> Result<Permissions, String> {
    let mut permissions = Permissions::default();
    for letter in value.chars() {
        match letter {
            'r' => permissions.read = true,
            'w' => permissions.write = true,
            'x' => permissions.execute = true,
            _ => return Err(format!("`{letter}` is none of `r`, `w` and `x`")),
        }
    }
    Ok(permissions)
}

fn trigger(value: &str) -> Result<Trigger, String> {
    match value {
        "level" => Ok(Trigger::Level),
        "edge" => Ok(Trigger::Edge),
        _ => Err(format!("`{value}` is neither `level` nor `edge`")),
    }
}
