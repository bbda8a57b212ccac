//! Configuration keys of a program, and values for them.

use http::bundle::check_value;
use wiring::Value;

use super::flag;
use crate::diagnostics::suggest;
use crate::toml::{Entry, Fields, Reader};

/// A configuration key.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// The type of its value.
    pub kind: KeyKind,
    /// Its value when a description gives none.
    pub default: Option<Value>,
    /// Whether it may be left out without a default.
    pub optional: bool,
    /// What it means.
    pub help: String,
}

/// The type of a configuration value, with what is allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyKind {
    /// Text; one of these, if there are any.
    Text(Vec<String>),
    /// A whole number in a range.
    Integer(i64, i64),
    /// A TCP port at which clients reach a service of the system. If `selkie run` forwards another host port to it, the
    /// value is the host port.
    Port,
    /// Text that can be the value of a header field of HTTP.
    HeaderValue,
    /// `true` or `false`.
    Boolean,
    /// A list of texts; each one of these, if there are any.
    List(Vec<String>),
}

/// Reads a key as a manifest describes it.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<Key> {
    let mut fields = Fields::new(reader.table(&entry.key, &entry.value)?);
    let (kind, default) = (fields.take("type"), fields.take("default"));
    let (min, max) = (fields.take("min"), fields.take("max"));
    let one_of = fields.take("one_of");
    let (optional, help) = (fields.take("optional"), fields.take("help"));
    fields.finish(reader, "a configuration key");
    let Some(kind) = kind else {
        reader.wrong(&entry.key_span, "a configuration key has a `type`");
        return None;
    };
    let name = reader.text(kind)?;
    let mut bound = |entry: Option<&Entry>, otherwise| match entry {
        Some(entry) => reader.number(entry, i64::MIN, i64::MAX).map(|n| n.value),
        None => Some(otherwise),
    };
    let (min, max) = (bound(min, i64::MIN)?, bound(max, i64::MAX)?);
    let choices = match one_of {
        Some(entry) => reader.texts(entry)?,
        None => Vec::new(),
    };
    let kind = match name.value.as_str() {
        "string" => KeyKind::Text(choices),
        "integer" => KeyKind::Integer(min, max),
        "port" => KeyKind::Port,
        "header-value" => KeyKind::HeaderValue,
        "boolean" => KeyKind::Boolean,
        "list" => KeyKind::List(choices),
        _ => {
            let problem = reader.wrong(&name.span, "there is no such type");
            problem.help = Some(
                "types: `string`, `integer`, `boolean`, `list`, `port`, `header-value`".into(),
            );
            return None;
        }
    };
    let default = match default {
        Some(entry) => Some(value(reader, entry, &kind)?),
        None => None,
    };
    Some(Key {
        name: entry.key.clone(),
        kind,
        default,
        optional: flag(reader, optional),
        help: match help {
            Some(entry) => reader.text(entry)?.value,
            None => String::new(),
        },
    })
}

/// A configuration value of this type.
pub(crate) fn value(reader: &mut Reader<'_>, entry: &Entry, kind: &KeyKind) -> Option<Value> {
    match kind {
        KeyKind::Text(choices) => {
            let text = reader.text(entry)?;
            if !choices.is_empty() && !choices.contains(&text.value) {
                no_choice(reader, entry, &text.value, choices);
                return None;
            }
            Some(Value::Text(text.value))
        }
        KeyKind::Integer(min, max) => Some(Value::Integer(reader.number(entry, *min, *max)?.value)),
        KeyKind::Port => Some(Value::Integer(reader.number(entry, 1, 65535)?.value)),
        KeyKind::HeaderValue => {
            let text = reader.text(entry)?;
            if let Err(error) = check_value(&text.value) {
                let message = format!("`{}` cannot be sent", entry.key);
                reader.wrong(&text.span, message).help = Some(error.to_string());
                return None;
            }
            Some(Value::Text(text.value))
        }
        KeyKind::Boolean => Some(Value::Boolean(reader.boolean(entry)?)),
        KeyKind::List(choices) => {
            let texts = reader.texts(entry)?;
            let known = |text: &String| choices.is_empty() || choices.contains(text);
            if let Some(wrong) = texts.iter().find(|text| !known(text)) {
                no_choice(reader, entry, wrong, choices);
                return None;
            }
            Some(Value::List(texts.into_iter().map(Value::Text).collect()))
        }
    }
}

fn no_choice(reader: &mut Reader<'_>, entry: &Entry, value: &str, choices: &[String]) {
    let help = suggest(value, "choices", choices.iter().map(String::as_str));
    let message = format!("`{}` cannot be `{value}`", entry.key);
    reader.wrong(&entry.value.span, message).help = Some(help);
}
