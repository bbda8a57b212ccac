//! What a description says of a port: whom it is connected to, and with which parameters.

use wiring::Value;

use super::Planner;
use crate::interface::ParameterKind;
use crate::manifest::Port;
use crate::toml::{Entry, Fields, Kind, Node, Reader, Spanned};

/// What a description says of one connection.
pub(super) struct Peer {
    pub name: Spanned<String>,
    pub parameters: Vec<(String, Value)>,
}

impl Planner<'_> {
    pub(super) fn named_peers(&mut self, entry: &Entry, port: &Port) -> Vec<Peer> {
        match &entry.value.kind {
            Kind::List(nodes) if port.many => nodes
                .iter()
                .filter_map(|node| self.peer(node, port))
                .collect(),
            Kind::List(_) => {
                let message = format!("the port `{}` takes one connection", port.name);
                self.wrong(&entry.value.span, message).help =
                    Some("name one protection, without brackets".into());
                Vec::new()
            }
            _ => self.peer(&entry.value, port).into_iter().collect(),
        }
    }

    fn peer(&mut self, node: &Node, port: &Port) -> Option<Peer> {
        let entries = match &node.kind {
            Kind::Text(name) => {
                return Some(Peer {
                    name: Spanned {
                        value: name.clone(),
                        span: node.span.clone(),
                    },
                    parameters: Vec::new(),
                });
            }
            Kind::Table(entries) => entries,
            _ => {
                let message = format!("the port `{}` is connected to a protection", port.name);
                self.wrong(&node.span, message).help =
                    Some("expected a name, or { from = \"name\", … }".into());
                return None;
            }
        };
        let mut reader = self.reader();
        let mut fields = Fields::new(entries);
        let Some(from) = fields.take("from") else {
            let problem = reader.wrong(&node.span, "the connection does not say to whom");
            problem.help = Some("add: from = \"…\"".into());
            return None;
        };
        let name = reader.text(from);
        let mut parameters = Vec::new();
        for parameter in port.interface.parameters {
            let Some(entry) = fields.take(parameter.name) else {
                continue;
            };
            let value = parameter_value(&mut reader, entry, parameter.kind);
            parameters.extend(value.map(|value| (parameter.name.to_string(), value)));
        }
        fields.finish(
            &mut reader,
            &format!("a `{}` connection", port.interface.name),
        );
        Some(Peer {
            name: name?,
            parameters,
        })
    }
}

/// What a description says under a parameter's key.
fn parameter_value(reader: &mut Reader<'_>, entry: &Entry, kind: ParameterKind) -> Option<Value> {
    match kind {
        ParameterKind::Ports if matches!(entry.value.kind, Kind::List(_)) => {
            let mut ports = Vec::new();
            for node in reader.list(entry)? {
                let port = Entry {
                    value: node.clone(),
                    ..entry.clone()
                };
                ports.push(Value::Integer(reader.number(&port, 1, 65535)?.value));
            }
            Some(Value::List(ports))
        }
        ParameterKind::Ports => Some(Value::Integer(reader.number(entry, 1, 65535)?.value)),
        ParameterKind::Number(min, max, _) => {
            Some(Value::Integer(reader.number(entry, min, max)?.value))
        }
        ParameterKind::PowerOfTwo(min, max, _) => {
            let number = reader.number(entry, min, max)?;
            if !(number.value as u64).is_power_of_two() {
                let below = 1i64 << number.value.ilog2();
                let message = format!("`{}` is not a power of two", entry.key);
                reader.wrong(&number.span, message).help =
                    Some(format!("use {below} or {}", below * 2));
                return None;
            }
            Some(Value::Integer(number.value))
        }
        ParameterKind::Flag => Some(Value::Boolean(reader.boolean(entry)?)),
    }
}
