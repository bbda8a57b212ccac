//! A picture of a Microkit system file: its protection domains (PDs) by priority, their channels and calls, and the
//! memory that two of them share.
//!
//! The file does not state the purpose of a PD, so there are no layers: the PDs with the highest priority are on top.
//! Arrows have numbers, which a list below the picture explains.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use microkit_sdf::{ProtectionDomain, System};

use super::{BAR, BOX_HEIGHT, BOX_WIDTH, GAP_X, GAP_Y, MARGIN, Place, Svg};
use crate::toml::show_size;

/// PDs in a row.
const COLUMNS: usize = 3;
/// Height of a line of text.
const LINE: usize = 16;
/// Space between two columns.
const WIDE_GAP_X: usize = GAP_X * 2;

/// Style of an arrow's number.
const HEADING: &str = "font-weight=\"600\" fill=\"#3b6ea5\"";

/// Draws a system file's PDs for a board, in SVG 1.1.
pub(crate) fn of_system(system: &System, board: &str) -> String {
    let all = system.domains();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&index| Reverse(all[index].0.priority));
    let mut places = vec![Place { x: 0, y: 0 }; all.len()];
    for (position, &index) in order.iter().enumerate() {
        places[index] = Place {
            x: MARGIN + position % COLUMNS * (BOX_WIDTH + WIDE_GAP_X),
            y: MARGIN + position / COLUMNS * (BOX_HEIGHT + GAP_Y),
        };
    }
    let rows = all.len().div_ceil(COLUMNS).max(1);
    let columns = all.len().clamp(1, COLUMNS);
    let width = 2 * MARGIN + columns * (BOX_WIDTH + WIDE_GAP_X) - WIDE_GAP_X;
    let bottom = MARGIN + rows * (BOX_HEIGHT + GAP_Y) - GAP_Y / 4;
    let links = links(system);
    let list: usize = links.values().map(|labels| labels.len() + 1).sum();
    let mut svg = Svg::new(width, bottom + BAR + 2 * MARGIN + list * LINE);
    svg.kernel(board, width, bottom);
    let mut y = bottom + BAR + 2 * MARGIN;
    for (index, ((one, other), labels)) in links.iter().enumerate() {
        let number = (index + 1).to_string();
        connect(&mut svg, places[*one], places[*other], &number);
        let (one, other) = (&all[*one].0.name, &all[*other].0.name);
        svg.text(MARGIN, y, HEADING, &format!("{number}: {one}, {other}"));
        for label in labels {
            y += LINE;
            svg.text(2 * MARGIN, y, "fill=\"#55626f\"", label);
        }
        y += LINE;
    }
    for (index, (domain, parent)) in all.iter().enumerate() {
        let parent = parent.map(|parent| all[parent].0.name.as_str());
        svg.node(places[index], &domain.name, &lines(domain, parent));
    }
    svg.finish()
}

/// Returns the lines of text in a PD's box.
fn lines(domain: &ProtectionDomain, parent: Option<&str>) -> Vec<String> {
    let program = domain.program_image.file_name().unwrap_or_default();
    let mut first = format!(
        "priority {}, {}",
        domain.priority,
        program.to_string_lossy()
    );
    if domain.passive {
        first += ", passive";
    }
    let mut second = format!("stack {}", show_size(domain.stack_size));
    if let Some(parent) = parent {
        second += &format!(", child of {parent}");
    }
    let mut devices = Vec::new();
    for (count, one, several) in [
        (domain.irqs.len(), "interrupt", "interrupts"),
        (domain.io_ports.len(), "port range", "port ranges"),
        (domain.maps.len(), "region", "regions"),
    ] {
        match count {
            0 => {}
            1 => devices.push(format!("1 {one}")),
            _ => devices.push(format!("{count} {several}")),
        }
    }
    let mut lines = vec![first, second];
    if !devices.is_empty() {
        lines.push(devices.join(", "));
    }
    lines
}

/// Returns the links between each two PDs, by their places in [`System::domains`]: channels, and regions that both map.
fn links(system: &System) -> BTreeMap<(usize, usize), Vec<String>> {
    let all = system.domains();
    let index = |name: &str| all.iter().position(|(domain, _)| domain.name == name);
    let mut links: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    let mut link = |one: usize, other: usize, label: String| {
        links
            .entry((one.min(other), one.max(other)))
            .or_default()
            .push(label);
    };
    for channel in &system.channels {
        let [a, b] = &channel.ends;
        let (Some(one), Some(other)) = (index(&a.domain), index(&b.domain)) else {
            continue;
        };
        let caller = [(a, b), (b, a)].into_iter().find(|(end, _)| end.call);
        let label = match caller {
            Some((caller, callee)) => format!("{} calls {}", caller.domain, callee.domain),
            None => format!("channel {}, {}", a.id, b.id),
        };
        link(one, other, label);
    }
    for region in &system.memory_regions {
        let maps: Vec<(usize, String)> = all
            .iter()
            .enumerate()
            .flat_map(|(index, (domain, _))| {
                let maps = domain.maps.iter();
                maps.filter(|map| map.region == region.name)
                    .map(move |map| (index, map.permissions.to_string()))
            })
            .collect();
        for (position, (one, permissions)) in maps.iter().enumerate() {
            for (other, others) in &maps[position + 1..] {
                if one != other {
                    let label = format!(
                        "{}: {} {permissions}, {} {others}",
                        region.name, all[*one].0.name, all[*other].0.name
                    );
                    link(*one, *other, label);
                }
            }
        }
    }
    links
}

/// Draws an arrow between two boxes, from side to side in a row, else from the bottom of the upper to the top of the lower.
fn connect(svg: &mut Svg, one: Place, other: Place, number: &str) {
    let (first, second) = if (one.y, one.x) <= (other.y, other.x) {
        (one, other)
    } else {
        (other, one)
    };
    let middle = |place: Place| place.x + BOX_WIDTH / 2;
    let next_to = first.y == second.y && second.x - first.x == BOX_WIDTH + WIDE_GAP_X;
    let (from, to) = if next_to {
        let y = first.y + BOX_HEIGHT / 2;
        ((first.x + BOX_WIDTH, y), (second.x, y))
    } else if first.y == second.y {
        // Below the boxes between them.
        let y = first.y + BOX_HEIGHT;
        ((middle(first), y), (middle(second), y))
    } else {
        (
            (middle(first), first.y + BOX_HEIGHT),
            (middle(second), second.y),
        )
    };
    svg.arrow_between(from, to);
    // Off the middle, where arrows cross.
    let third = |from: usize, to: usize| (2 * from + to) / 3;
    let (x, y) = (third(from.0, to.0) + 4, third(from.1, to.1) - 3);
    svg.text(x, y, HEADING, number);
}

#[cfg(test)]
mod tests {
    use microkit_sdf::{Target, parse};

    use super::*;

    const TEXT: &str = r#"<system>
<memory_region name="ring" size="0x1000" />
<memory_region name="own" size="0x1000" />
<protection_domain name="client" priority="1">
  <program_image path="pds/client.elf" />
  <map mr="ring" vaddr="0x4000000" perms="rw" />
  <map mr="own" vaddr="0x5000000" perms="rw" />
</protection_domain>
<protection_domain name="server" priority="9" passive="true">
  <program_image path="server.elf" />
  <map mr="ring" vaddr="0x4000000" perms="r" />
  <irq irq="42" id="7" />
</protection_domain>
<channel><end pd="client" id="3" pp="true" /><end pd="server" id="4" /></channel>
</system>"#;

    #[test]
    fn every_domain_channel_and_shared_region_is_in_the_picture() {
        let system = parse(TEXT, &Target::AARCH64, &[]).unwrap();
        let picture = of_system(&system, "a_board");
        let picture = roxmltree::Document::parse(&picture).unwrap();
        let texts: Vec<&str> = picture
            .descendants()
            .filter(|node| node.has_tag_name("text"))
            .filter_map(|node| node.text())
            .collect();
        for text in [
            "client",
            "server",
            "priority 1, client.elf",
            "priority 9, server.elf, passive",
            "client calls server",
            "ring: client rw, server r",
            "1 interrupt, 1 region",
            "2 regions",
            "1: client, server",
        ] {
            assert!(texts.contains(&text), "{text} is not in {texts:?}");
        }
        assert!(!texts.iter().any(|text| text.starts_with("own: ")));
        // The kernel, two boxes and the page.
        let boxes = picture
            .descendants()
            .filter(|node| node.has_tag_name("rect"));
        assert_eq!(boxes.count(), 4);
    }

    #[test]
    fn a_system_without_domains_is_a_picture_too() {
        let picture = of_system(&System::default(), "a_board");
        roxmltree::Document::parse(&picture).unwrap();
    }
}
