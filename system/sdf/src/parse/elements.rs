//! One function for each element of the format.

use std::path::PathBuf;

use roxmltree::Node;

use super::{Reader, boolean, comment, find, number, path, permissions, text, within};
use crate::check::Element;
use crate::model::*;
use crate::{DEFAULT_STACK_SIZE, MAX_ID, MAX_PRIORITY};

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
                "domains" => {
                    self.unsupported(node, "domain schedules (`domains`) are not supported")
                }
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
        self.unsupported_attributes(node, &["prefill_bootinfo"]);
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
            // To open a FIFO may block, and a read from a device may not end.
            Ok(data) if !data.is_file() => {
                self.wrong(
                    node,
                    format!("the prefill file `{shown}` is not a regular file"),
                );
                None
            }
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
        self.unsupported_attributes(node, &["smc", "domain"]);
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
                "virtual_machine" => {
                    self.unsupported(
                        child,
                        "virtual machines (`virtual_machine`) are not supported",
                    );
                }
                "cspace" => self.unsupported(child, "`cspace` is not supported"),
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
}

fn page_size(value: &str) -> Result<PageSize, String> {
    let bytes = number(value)?;
    [PageSize::Small, PageSize::Large]
        .into_iter()
        .find(|size| size.bytes() == bytes)
        .ok_or_else(|| format!("pages of {value} bytes do not exist: use 0x1000 or 0x200000"))
}
