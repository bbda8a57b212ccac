//! Writes a system description that people can read: stable order, aligned, with comments.

use std::fmt::Write;
use std::path::Path;

use crate::DEFAULT_STACK_SIZE;
use crate::model::*;

impl System {
    /// The system as a Microkit 2.3.0 system description. Attributes that have their default value are
    /// left out; a region's size is always there.
    pub fn to_xml(&self) -> String {
        let mut out = Writer::default();
        out.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
        out.comment(self.comment.as_deref());
        out.raw("<system>");
        out.depth = 1;
        for region in &self.memory_regions {
            out.memory_region(region);
        }
        for domain in &self.protection_domains {
            out.raw("");
            out.protection_domain(domain);
        }
        for (index, channel) in self.channels.iter().enumerate() {
            if index == 0 || channel.comment.is_some() {
                out.raw("");
            }
            out.channel(channel);
        }
        for space in &self.io_address_spaces {
            out.raw("");
            out.io_address_space(space);
        }
        out.depth = 0;
        out.raw("</system>");
        out.text
    }
}

#[derive(Default)]
struct Writer {
    text: String,
    depth: usize,
}

/// The attributes of one element, in the order in which they are added.
#[derive(Default)]
struct Attributes(String);

impl Attributes {
    fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.0 += &format!(" {name}=\"{}\"", escape(value.as_ref()));
        self
    }

    fn path(self, name: &str, path: &Path) -> Self {
        self.with(name, path.to_string_lossy())
    }

    fn hex(self, name: &str, value: u64) -> Self {
        self.with(name, format!("{value:#x}"))
    }

    fn number(self, name: &str, value: impl Into<u64>) -> Self {
        self.with(name, value.into().to_string())
    }

    fn symbol(self, name: &str, symbol: &Option<String>) -> Self {
        match symbol {
            Some(symbol) => self.with(name, symbol),
            None => self,
        }
    }

    fn when(self, condition: bool, add: impl FnOnce(Self) -> Self) -> Self {
        if condition { add(self) } else { self }
    }
}

impl Writer {
    fn raw(&mut self, line: &str) {
        if !line.is_empty() {
            let indent = 4 * self.depth;
            let _ = write!(self.text, "{:indent$}{line}", "");
        }
        self.text.push('\n');
    }

    fn comment(&mut self, comment: Option<&str>) {
        let Some(comment) = comment else { return };
        // XML has no way to write two hyphens in a comment. One at the end has a space behind it.
        let safe = comment.replace("--", "- -").replace("--", "- -");
        let lines: Vec<&str> = safe.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let start = if index == 0 { "<!-- " } else { "     " };
            let end = if index + 1 == lines.len() { " -->" } else { "" };
            self.raw(&format!("{start}{line}{end}"));
        }
    }

    fn leaf(&mut self, name: &str, attributes: Attributes) {
        self.raw(&format!("<{name}{} />", attributes.0));
    }

    fn open(&mut self, name: &str, attributes: Attributes) {
        self.raw(&format!("<{name}{}>", attributes.0));
        self.depth += 1;
    }

    fn close(&mut self, name: &str) {
        self.depth -= 1;
        self.raw(&format!("</{name}>"));
    }

    fn memory_region(&mut self, region: &MemoryRegion) {
        self.comment(region.comment.as_deref());
        let mut attributes = Attributes::default()
            .with("name", &region.name)
            .hex("size", region.size);
        if let Some(size) = region.page_size {
            attributes = attributes.hex("page_size", size.bytes());
        }
        if let Some(address) = region.phys_addr {
            attributes = attributes.hex("phys_addr", address);
        }
        if let Some(path) = &region.prefill {
            attributes = attributes.path("prefill_path", path);
        }
        self.leaf("memory_region", attributes);
    }

    fn protection_domain(&mut self, domain: &ProtectionDomain) {
        self.comment(domain.comment.as_deref());
        let mut attributes = Attributes::default().with("name", &domain.name);
        if let Some(child) = &domain.child {
            attributes = attributes
                .number("id", child.id)
                .symbol("setvar_id", &child.setvar_id);
        }
        attributes = attributes.number("priority", domain.priority);
        if let Some(budget) = domain.budget {
            attributes = attributes.number("budget", budget);
        }
        if let Some(period) = domain.period {
            attributes = attributes.number("period", period);
        }
        attributes = attributes
            .when(domain.passive, |a| a.with("passive", "true"))
            .when(domain.stack_size != DEFAULT_STACK_SIZE, |a| {
                a.hex("stack_size", domain.stack_size)
            })
            .when(domain.cpu != 0, |a| a.number("cpu", domain.cpu))
            .when(!domain.fpu, |a| a.with("fpu", "false"));
        self.open("protection_domain", attributes);
        self.contents(domain);
        self.close("protection_domain");
    }

    fn contents(&mut self, domain: &ProtectionDomain) {
        let mut image = Attributes::default().path("path", &domain.program_image);
        if let Some(symbols) = &domain.program_image_for_symbols {
            image = image.path("path_for_symbols", symbols);
        }
        self.leaf("program_image", image);
        for map in &domain.maps {
            self.map(map);
        }
        for irq in &domain.irqs {
            self.irq(irq);
        }
        for port in &domain.io_ports {
            let attributes = Attributes::default()
                .number("id", port.id)
                .hex("addr", port.address.into())
                .number("size", port.size)
                .symbol("setvar_id", &port.setvar_id)
                .symbol("setvar_addr", &port.setvar_addr);
            self.leaf("ioport", attributes);
        }
        for setvar in &domain.setvars {
            let attributes = Attributes::default()
                .with("symbol", &setvar.symbol)
                .with("region_paddr", &setvar.region);
            self.leaf("setvar", attributes);
        }
        for child in &domain.children {
            self.raw("");
            self.protection_domain(child);
        }
    }

    fn map(&mut self, map: &Map) {
        let attributes = Attributes::default()
            .with("mr", &map.region)
            .hex("vaddr", map.vaddr)
            .with("perms", map.permissions.to_string())
            .when(!map.cached, |a| a.with("cached", "false"))
            .symbol("setvar_vaddr", &map.setvar_vaddr)
            .symbol("setvar_size", &map.setvar_size)
            .symbol("setvar_prefill_size", &map.setvar_prefill_size);
        self.leaf("map", attributes);
    }

    fn irq(&mut self, irq: &Irq) {
        let attributes = Attributes::default().number("id", irq.id);
        let attributes = match irq.source {
            Interrupt::Number { irq, trigger } => attributes
                .number("irq", irq)
                .with("trigger", trigger_name(trigger)),
            Interrupt::IoApic {
                ioapic,
                pin,
                trigger,
                polarity,
                vector,
            } => attributes
                .number("ioapic", ioapic)
                .number("pin", pin)
                .with("trigger", trigger_name(trigger))
                .with(
                    "polarity",
                    match polarity {
                        Polarity::High => "high",
                        Polarity::Low => "low",
                    },
                )
                .number("vector", vector),
            Interrupt::Msi {
                device,
                handle,
                vector,
            } => attributes
                .with("pcidev", device.to_string())
                .number("handle", handle)
                .number("vector", vector),
        };
        self.leaf("irq", attributes.symbol("setvar_id", &irq.setvar_id));
    }

    fn channel(&mut self, channel: &Channel) {
        self.comment(channel.comment.as_deref());
        self.open("channel", Attributes::default());
        for end in &channel.ends {
            let attributes = Attributes::default()
                .with("pd", &end.domain)
                .number("id", end.id)
                .when(end.call, |a| a.with("pp", "true"))
                .when(!end.notify, |a| a.with("notify", "false"))
                .symbol("setvar_id", &end.setvar_id);
            self.leaf("end", attributes);
        }
        self.close("channel");
    }

    fn io_address_space(&mut self, space: &IoAddressSpace) {
        let attributes = Attributes::default()
            .with("name", &space.name)
            .with("peripheral_id", space.peripheral.to_string())
            .number("domain_id", space.domain_id);
        self.open("io_address_space", attributes);
        for map in &space.maps {
            let attributes = Attributes::default()
                .with("mr", &map.region)
                .hex("iovaddr", map.address)
                .with("perms", map.permissions.to_string());
            self.leaf("iomap", attributes);
        }
        self.close("io_address_space");
    }
}

fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Level => "level",
        Trigger::Edge => "edge",
    }
}

/// Text as it stands in a quoted attribute (XML 1.0, sections 2.3 and 3.3.3: white space other than
/// the space would be turned into spaces).
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\t' | '\n' | '\r' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            _ => escaped.push(c),
        }
    }
    escaped
}
