//! A picture of a system: its protection domains, what flows between them and what they serve.
//!
//! Those that data flows through stand in layers, the service on top and the drivers below; those that
//! serve everybody stand beside them.

mod system;

use std::fmt::Write;

use crate::plan::{Connection, Plan};
use crate::toml::show_size;

pub(crate) use system::of_system;

const BOX_WIDTH: usize = 220;
const BOX_HEIGHT: usize = 84;
const GAP_X: usize = 40;
const GAP_Y: usize = 56;
const MARGIN: usize = 24;
/// Height of the bar for the kernel.
const BAR: usize = 36;

/// Where a protection's box is.
#[derive(Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
}

impl Plan {
    /// The system as a picture in SVG 1.1, readable on light and dark pages.
    pub fn diagram(&self) -> String {
        let layers = self.layers();
        let aside: Vec<usize> = (0..self.protections.len())
            .filter(|index| !layers.iter().flatten().any(|other| other == index))
            .collect();
        let columns = layers.iter().map(Vec::len).max().unwrap_or(0);
        let rows = layers.len().max(aside.len().div_ceil(2)).max(1);
        let side = MARGIN + columns * (BOX_WIDTH + GAP_X) + if columns > 0 { GAP_X } else { 0 };
        let aside_columns = aside.len().div_ceil(rows);
        let width = side + aside_columns * (BOX_WIDTH + GAP_X) - GAP_X + MARGIN;
        let bottom = MARGIN + rows * (BOX_HEIGHT + GAP_Y) - GAP_Y / 4;
        let mut places = vec![Place { x: 0, y: 0 }; self.protections.len()];
        for (row, layer) in layers.iter().enumerate() {
            for (column, &index) in layer.iter().enumerate() {
                places[index] = Place {
                    x: MARGIN + column * (BOX_WIDTH + GAP_X),
                    y: MARGIN + (rows - layers.len() + row) * (BOX_HEIGHT + GAP_Y),
                };
            }
        }
        for (position, &index) in aside.iter().enumerate() {
            places[index] = Place {
                x: side + position / rows * (BOX_WIDTH + GAP_X),
                y: MARGIN + position % rows * (BOX_HEIGHT + GAP_Y),
            };
        }
        let mut svg = Svg::new(width, bottom + BAR + MARGIN);
        svg.kernel(&self.board.name, width, bottom);
        for connection in self.connections.iter().filter(|c| carries_data(c)) {
            let label = match &connection.listens()[..] {
                [] => connection.interface.name.to_string(),
                [port] => format!("{}, port {port}", connection.interface.name),
                ports => {
                    let ports: Vec<String> = ports.iter().map(i64::to_string).collect();
                    format!("{}, ports {}", connection.interface.name, ports.join(", "))
                }
            };
            svg.arrow(
                places[connection.consumer],
                places[connection.provider],
                &label,
            );
        }
        for (index, place) in places.iter().enumerate() {
            self.draw(&mut svg, index, *place);
        }
        svg.finish()
    }

    /// The protections that data flows through, in layers from the service down.
    fn layers(&self) -> Vec<Vec<usize>> {
        let mut height = vec![None; self.protections.len()];
        for connection in self.connections.iter().filter(|c| carries_data(c)) {
            height[connection.provider].get_or_insert(0);
            height[connection.consumer].get_or_insert(0);
        }
        // As many rounds as there are layers settle the heights; a cycle of streams ends here too.
        for _ in 0..self.protections.len() {
            for connection in self.connections.iter().filter(|c| carries_data(c)) {
                let above = height[connection.provider].map(|height| height + 1);
                height[connection.consumer] = height[connection.consumer].max(above);
            }
        }
        let mut heights: Vec<usize> = height.iter().flatten().copied().collect();
        heights.sort_unstable();
        heights.dedup();
        let layer = |wanted: usize| {
            let all = height.iter().enumerate();
            all.filter(|(_, height)| **height == Some(wanted))
                .map(|(index, _)| index)
                .collect()
        };
        heights.into_iter().rev().map(layer).collect()
    }

    fn draw(&self, svg: &mut Svg, index: usize, place: Place) {
        let protection = &self.protections[index];
        let names = |mine: fn(&Connection) -> usize| {
            let all = self.connections.iter();
            let mut names: Vec<&str> = all
                .filter(|connection| mine(connection) == index && !carries_data(connection))
                .map(|connection| connection.interface.name)
                .collect();
            names.sort_unstable();
            names.dedup();
            names.join(", ")
        };
        let (uses, serves) = (names(|c| c.consumer), names(|c| c.provider));
        let mut lines = vec![format!(
            "priority {}, heap {}",
            protection.priority,
            show_size(protection.memory)
        )];
        if !serves.is_empty() {
            lines.push(format!("serves {serves}"));
        }
        if !uses.is_empty() {
            lines.push(format!("uses {uses}"));
        }
        let title = if protection.name == protection.program.name {
            protection.name.clone()
        } else {
            format!("{} ({})", protection.name, protection.program.name)
        };
        svg.node(place, &title, &lines);
        if let Some(device) = &protection.device {
            svg.device(place, &device.name);
        }
    }
}

/// Whether data flows over a connection, in contrast to calls, lines and counters.
fn carries_data(connection: &Connection) -> bool {
    matches!(connection.interface.name, "packets" | "streams")
}

struct Svg(String);

impl Svg {
    fn new(width: usize, height: usize) -> Self {
        let mut svg = Self(String::new());
        svg.line(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">"
        ));
        svg.line(format_args!(
            "<rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#f7f8fa\" />"
        ));
        svg.line(format_args!(
            "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto-start-reverse\"><path d=\"M0 0 8 4 0 8z\" fill=\"#3b6ea5\" /></marker></defs>"
        ));
        svg
    }

    fn line(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing into a string does not fail.
        let _ = writeln!(self.0, "{arguments}");
    }

    fn text(&mut self, x: usize, y: usize, style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.line(format_args!(
            "<text x=\"{x}\" y=\"{y}\" {style}>{text}</text>"
        ));
    }

    fn kernel(&mut self, board: &str, width: usize, bottom: usize) {
        let (inner, y) = (width - 2 * MARGIN, bottom);
        self.line(format_args!(
            "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"{inner}\" height=\"{BAR}\" rx=\"4\" fill=\"#33404d\" />"
        ));
        let text =
            format!("seL4 on {board}: every box has an address space and capabilities of its own");
        let style = "text-anchor=\"middle\" fill=\"#ffffff\"";
        self.text(width / 2, y + BAR / 2 + 4, style, &text);
    }

    fn node(&mut self, place: Place, title: &str, lines: &[String]) {
        let Place { x, y } = place;
        self.line(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"6\" fill=\"#ffffff\" stroke=\"#8796a5\" />"
        ));
        let style = "font-size=\"15\" font-weight=\"600\" fill=\"#1c2733\"";
        self.text(x + 12, y + 24, style, title);
        for (index, line) in lines.iter().enumerate() {
            self.text(x + 12, y + 42 + 16 * index, "fill=\"#55626f\"", line);
        }
    }

    /// An arrow both ways between a consumer and the provider below it.
    fn arrow(&mut self, consumer: Place, provider: Place, label: &str) {
        let middle = |place: Place| place.x + BOX_WIDTH / 2;
        let (x1, y1) = (middle(consumer), consumer.y + BOX_HEIGHT);
        let (x2, y2) = (middle(provider), provider.y);
        self.arrow_between((x1, y1), (x2, y2));
        let (x, y) = (x1.midpoint(x2) + 8, y1.midpoint(y2) + 4);
        self.text(x, y, "fill=\"#3b6ea5\"", label);
    }

    fn arrow_between(&mut self, (x1, y1): (usize, usize), (x2, y2): (usize, usize)) {
        self.line(format_args!(
            "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"#3b6ea5\" stroke-width=\"2\" marker-start=\"url(#tip)\" marker-end=\"url(#tip)\" />"
        ));
    }

    fn device(&mut self, place: Place, name: &str) {
        let (x, y) = (place.x + BOX_WIDTH - 28, place.y + BOX_HEIGHT);
        let end = y + GAP_Y / 3;
        self.line(format_args!(
            "<line x1=\"{x}\" y1=\"{y}\" x2=\"{x}\" y2=\"{end}\" stroke=\"#a5563b\" stroke-width=\"2\" />"
        ));
        self.text(x - 6, end, "text-anchor=\"end\" fill=\"#a5563b\"", name);
    }

    fn finish(mut self) -> String {
        self.0 += "</svg>\n";
        self.0
    }
}
