//! The report as JSON (RFC 8259).

use alloc::string::String;
use core::fmt::{self, Write};

use super::{Domain, Report};

pub(super) fn render(report: &Report) -> String {
    let mut out = String::with_capacity(4096);
    // Writing into a String does not fail.
    write(&mut out, report).unwrap_or_default();
    out
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    let copies = report.copies();
    out.write_str("{\n  \"title\": ")?;
    string(out, &report.title)?;
    write!(out, ",\n  \"uptime_ms\": {}", report.uptime)?;
    out.write_str(",\n  \"copies_per_payload_byte\": { \"received\": ")?;
    ratio(out, copies.received)?;
    out.write_str(", \"sent\": ")?;
    ratio(out, copies.sent)?;
    out.write_str(" },\n  \"domains\": [")?;
    for (at, one) in report.domains.iter().enumerate() {
        out.write_str(if at == 0 { "\n" } else { ",\n" })?;
        domain(out, one)?;
    }
    out.write_str("\n  ]\n}\n")
}

fn domain(out: &mut String, domain: &Domain) -> fmt::Result {
    out.write_str("    {\n      \"name\": ")?;
    string(out, &domain.name)?;
    out.write_str(", \"program\": ")?;
    string(out, &domain.program)?;
    write!(
        out,
        ", \"priority\": {}, \"memory\": {},\n      \"counters\": {{",
        domain.priority, domain.memory
    )?;
    for (at, (name, value)) in domain.counters.iter().enumerate() {
        out.write_str(if at == 0 { "\n        " } else { ",\n        " })?;
        string(out, name)?;
        write!(out, ": {value}")?;
    }
    out.write_str(if domain.counters.is_empty() {
        "}\n    }"
    } else {
        "\n      }\n    }"
    })
}

fn ratio(out: &mut String, hundredths: Option<u64>) -> fmt::Result {
    match hundredths {
        Some(ratio) => write!(out, "{}.{:02}", ratio / 100, ratio % 100),
        None => out.write_str("null"),
    }
}

fn string(out: &mut String, text: &str) -> fmt::Result {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => write!(out, "\\{char}")?,
            char if char.is_control() => write!(out, "\\u{:04x}", u32::from(char))?,
            char => out.push(char),
        }
    }
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;

    #[test]
    fn the_whole_text() {
        let mut report = example();
        report.domains.remove(1);
        assert_eq!(
            super::render(&report),
            r#"{
  "title": "a\"<b>",
  "uptime_ms": 93784005,
  "copies_per_payload_byte": { "received": 2.00, "sent": null },
  "domains": [
    {
      "name": "nic", "program": "nic", "priority": 200, "memory": 1193046,
      "counters": {}
    },
    {
      "name": "tls", "program": "tls", "priority": 200, "memory": 1193046,
      "counters": {
        "payload_received": 10,
        "copied_in": 20,
        "connections_open": 7
      }
    }
  ]
}
"#
        );
    }
}
