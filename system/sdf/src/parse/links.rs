//! The elements that tie protection domains to each other and to devices.

use roxmltree::Node;

use super::{Reader, boolean, comment, decimal, number, permissions, text, within};
use crate::check::Element;
use crate::model::*;
use crate::{MAX_ID, MAX_VECTOR};

impl<'a> Reader<'a> {
    pub(super) fn irq(&mut self, node: Node<'a, 'a>) -> Option<Irq> {
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

    pub(super) fn io_port(&mut self, node: Node<'a, 'a>) -> Option<IoPort> {
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

    pub(super) fn channel(&mut self, node: Node<'a, 'a>, index: usize) -> Option<Channel> {
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

    pub(super) fn io_address_space(
        &mut self,
        node: Node<'a, 'a>,
        index: usize,
    ) -> Option<IoAddressSpace> {
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

fn trigger(value: &str) -> Result<Trigger, String> {
    match value {
        "level" => Ok(Trigger::Level),
        "edge" => Ok(Trigger::Edge),
        _ => Err(format!("`{value}` is neither `level` nor `edge`")),
    }
}
