//! The report as a page.

use alloc::string::{String, ToString};
use core::fmt::{self, Display, Write};

use super::{Domain, Report};
use crate::server::Counters;

pub(super) fn render(report: &Report, counters: &Counters) -> String {
    let mut out = String::with_capacity(16 * 1024);
    // Writing into a String does not fail.
    write(&mut out, report, counters).unwrap_or_default();
    out
}

fn write(out: &mut String, report: &Report, counters: &Counters) -> fmt::Result {
    let title = Escaped(&report.title);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<title>{title} · Selkie</title>\n\
         <link rel=\"icon\" href=\"/favicon.svg\">\n<link rel=\"stylesheet\" href=\"/status.css\">\n\
         <header>\n<p class=\"mark\"><a href=\"/\">Selkie</a></p>\n<h1>{title}</h1>\n\
         <p class=\"lead\">{} protection domains, up for {}. This page renews itself every five \
         seconds; <a href=\"/status.json\">as JSON</a>.</p>\n</header>\n<main>\n",
        report.domains.len(),
        Duration(report.uptime),
    )?;
    tiles(out, report, counters)?;
    domains(out, report)?;
    details(out, report)?;
    out.write_str("</main>\n</html>\n")
}

fn tiles(out: &mut String, report: &Report, counters: &Counters) -> fmt::Result {
    let open = report
        .domains
        .iter()
        .filter_map(|domain| domain.counter("connections_open"))
        .max();
    let [_, _, client, server] = counters.responses;
    let copies = report.copies();
    out.write_str("<ul class=\"tiles\">\n")?;
    tile(out, "connections now", open.map_or("–".into(), grouped))?;
    tile(out, "requests", grouped(counters.requests))?;
    tile(
        out,
        "4xx and 5xx answers",
        grouped(client.saturating_add(server)),
    )?;
    let received = counters.head_bytes.saturating_add(counters.body_bytes);
    let received = received.saturating_sub(counters.body_bytes_copied);
    tile(out, "received", Bytes(received))?;
    tile(out, "sent", Bytes(counters.bytes_sent))?;
    tile(out, "copies a byte received", Hundredths(copies.received))?;
    tile(out, "copies a byte sent", Hundredths(copies.sent))?;
    tile(out, "memory of all domains", Bytes(total_memory(report)))?;
    out.write_str("</ul>\n")
}

fn tile(out: &mut String, name: &str, value: impl Display) -> fmt::Result {
    writeln!(out, "<li><b>{value}</b><span>{name}</span></li>")
}

fn domains(out: &mut String, report: &Report) -> fmt::Result {
    let most = report.domains.iter().map(|domain| domain.memory).max();
    let most = most.unwrap_or(0).max(1);
    out.write_str(
        "<section>\n<h2>Protection domains</h2>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th>Name<th>Program<th class=\"n\">Priority<th class=\"n\">Memory<th></thead>\n<tbody>\n",
    )?;
    for domain in &report.domains {
        writeln!(
            out,
            "<tr><td><b>{}</b><td>{}<td class=\"n\">{}<td class=\"n\">{}\
             <td class=\"bar\"><progress max=\"{most}\" value=\"{}\"></progress>",
            Escaped(&domain.name),
            Escaped(&domain.program),
            domain.priority,
            Bytes(domain.memory),
            domain.memory,
        )?;
    }
    write!(
        out,
        "</tbody>\n<tfoot><tr><td colspan=\"3\">All<td class=\"n\">{}<td></tfoot>\n</table></div>\n</section>\n",
        Bytes(total_memory(report))
    )
}

fn total_memory(report: &Report) -> u64 {
    let sizes = report.domains.iter().map(|domain| domain.memory);
    sizes.fold(0, u64::saturating_add)
}

fn details(out: &mut String, report: &Report) -> fmt::Result {
    out.write_str("<section>\n<h2>Counters</h2>\n<div class=\"cards\">\n")?;
    for domain in report.domains.iter().filter(|d| !d.counters.is_empty()) {
        card(out, domain)?;
    }
    out.write_str("</div>\n</section>\n")
}

fn card(out: &mut String, domain: &Domain) -> fmt::Result {
    write!(out, "<article>\n<h3>{}</h3>\n<dl>\n", Escaped(&domain.name))?;
    for (name, value) in &domain.counters {
        let name = name.replace('_', " ");
        let zero = if *value == 0 { " class=\"zero\"" } else { "" };
        writeln!(
            out,
            "<div{zero}><dt>{}</dt><dd>{}</dd></div>",
            Escaped(&name),
            grouped(*value)
        )?;
    }
    out.write_str("</dl>\n</article>\n")
}

/// Text in HTML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Bytes with a binary unit and three digits.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unit = "B";
        let (mut whole, mut tenths) = (self.0, 0);
        for larger in ["KiB", "MiB", "GiB", "TiB"] {
            if whole < 1024 {
                break;
            }
            tenths = whole % 1024 * 10 / 1024;
            whole /= 1024;
            unit = larger;
        }
        match unit != "B" && whole < 100 {
            true => write!(f, "{whole}.{tenths} <small>{unit}</small>"),
            false => write!(f, "{whole} <small>{unit}</small>"),
        }
    }
}

/// Milliseconds as days, hours, minutes and seconds, the two largest.
struct Duration(u64);

impl Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, ..) => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

struct Hundredths(Option<u64>);

impl Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{}.{:02}", value / 100, value % 100),
            None => f.write_str("–"),
        }
    }
}

/// A number with narrow spaces between groups of three digits.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn names_are_escaped_and_all_domains_shown() {
        let page = render(&example(), &Counters::default());
        assert!(page.contains("<h1>a&quot;&lt;b&gt;</h1>") && !page.contains("<b>a\""));
        for name in ["nic", "tcpip", "tls"] {
            assert!(page.contains(&alloc::format!("<td><b>{name}</b>")));
        }
        assert!(page.contains("<li><b>7</b><span>connections now</span></li>"));
        assert!(page.contains("<li><b>3.67</b><span>copies a byte received</span></li>"));
    }

    #[test]
    fn numbers() {
        let text = |bytes| {
            Bytes(bytes)
                .to_string()
                .replace(" <small>", "")
                .replace("</small>", "")
        };
        assert_eq!(text(1023), "1023B");
        assert_eq!(text(1536), "1.5KiB");
        assert_eq!(text(200 << 20), "200MiB");
        assert_eq!(text(u64::MAX), "16777215TiB");
        assert_eq!(grouped(1), "1");
        assert_eq!(grouped(1234567), "1\u{202f}234\u{202f}567");
        assert_eq!(Duration(59_999).to_string(), "59 s");
        assert_eq!(Duration(93_784_005).to_string(), "1 d 2 h");
        assert_eq!(Duration(3_600_000).to_string(), "1 h 0 min");
    }
}
