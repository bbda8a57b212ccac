//! Making a table.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::{MAGIC, NAME};

/// A function of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its first address.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its name, in full; see [`shorten`].
    pub name: String,
}

/// Collects the functions of a system.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    domains: Vec<(String, usize)>,
    programs: Vec<Vec<Function>>,
}

impl Writer {
    /// Adds a domain and the functions of its program, in any order. Where they overlap the first one counts.
    pub fn add(&mut self, domain: &str, functions: impl IntoIterator<Item = Function>) {
        let mut functions: Vec<Function> = functions
            .into_iter()
            .filter(|function| function.size > 0)
            .map(|function| Function {
                name: cut(&shorten(&function.name)).to_owned(),
                ..function
            })
            .collect();
        functions.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
        let mut end = 0;
        functions.retain(|function| {
            let apart = function.address >= end;
            if apart {
                end = function.address.saturating_add(function.size);
            }
            apart
        });
        let known = self.programs.iter().position(|known| *known == functions);
        let program = known.unwrap_or_else(|| {
            self.programs.push(functions);
            self.programs.len() - 1
        });
        self.domains.push((domain.into(), program));
    }

    /// The table.
    pub fn to_bytes(&self) -> Vec<u8> {
        let names = self.names();
        let mut bytes = Vec::from(MAGIC);
        number(&mut bytes, self.domains.len() as u64);
        for (domain, program) in &self.domains {
            number(&mut bytes, domain.len() as u64);
            bytes.extend(domain.as_bytes());
            number(&mut bytes, *program as u64);
        }
        number(&mut bytes, self.programs.len() as u64);
        for program in &self.programs {
            let mut list = Vec::new();
            let mut end = 0;
            for function in program {
                number(&mut list, function.address - end);
                number(&mut list, function.size);
                number(&mut list, names[function.name.as_str()]);
                end = function.address + function.size;
            }
            number(&mut bytes, list.len() as u64);
            bytes.extend(list);
        }
        let mut before = "";
        for name in names.keys() {
            let shared = name
                .bytes()
                .zip(before.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            number(&mut bytes, shared as u64);
            number(&mut bytes, (name.len() - shared) as u64);
            bytes.extend(&name.as_bytes()[shared..]);
            before = name;
        }
        bytes
    }

    /// All names, sorted, with their numbers.
    fn names(&self) -> BTreeMap<&str, u64> {
        let functions = self.programs.iter().flatten();
        let mut names: BTreeMap<&str, u64> = functions
            .map(|function| (function.name.as_str(), 0))
            .collect();
        for (number, place) in (0..).zip(names.values_mut()) {
            *place = number;
        }
        names
    }
}

/// The last two parts of a path, without type parameters: `<tcpip::Stack<D> as Poll>::poll::{closure#0}` is
/// `poll::{closure#0}`, `core::str::from_utf8` is `str::from_utf8`.
pub fn shorten(path: &str) -> String {
    let path = without_parameters(path);
    let mut parts: Vec<&str> = path.rsplit("::").take(2).collect();
    parts.reverse();
    parts.join("::")
}

/// Drops what is in angle brackets; of `<Type as Trait>` at the beginning of a path the type stays.
fn without_parameters(path: &str) -> String {
    if let Some((inner, rest)) = path.strip_prefix('<').and_then(bracketed) {
        let of_type = top_level(inner, " as ");
        return without_parameters(of_type) + rest.trim_end_matches("::<>");
    }
    let mut result = String::new();
    let mut depth = 0;
    for (index, character) in path.char_indices() {
        match character {
            '<' => depth += 1,
            // Not the arrow of a function's type.
            '>' if !path[..index].ends_with('-') => depth -= 1,
            _ if depth == 0 => result.push(character),
            _ => {}
        }
    }
    // What is left of `path::<T>`.
    result
        .replace("::::", "::")
        .trim_end_matches("::")
        .to_owned()
}

/// Splits what follows an opening bracket at the closing one; the rest keeps its own parameters no more.
fn bracketed(text: &str) -> Option<(&str, String)> {
    let mut depth = 1;
    for (index, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            '>' if !text[..index].ends_with('-') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..index], without_parameters(&text[index + 1..])));
        }
    }
    None
}

/// What is before a separator that is not in brackets.
fn top_level<'a>(text: &'a str, separator: &str) -> &'a str {
    let mut depth = 0;
    for (index, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            '>' if !text[..index].ends_with('-') => depth -= 1,
            _ if depth == 0 && text[index..].starts_with(separator) => return &text[..index],
            _ => {}
        }
    }
    text
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME)]
}

fn number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Table;

    fn function(address: u64, size: u64, name: &str) -> Function {
        Function {
            address,
            size,
            name: name.into(),
        }
    }

    #[test]
    fn names_are_the_last_two_parts_without_parameters() {
        for (full, short) in [
            ("main", "main"),
            ("core::str::from_utf8", "str::from_utf8"),
            ("<tcpip::Stack as channel::Poll>::poll", "Stack::poll"),
            (
                "<tcpip::Stack<D, 4> as core::ops::Deref<T>>::deref",
                "Stack::deref",
            ),
            ("<[T] as core::fmt::Debug>::fmt", "[T]::fmt"),
            ("<alloc::vec::Vec<u8>>::push", "Vec::push"),
            ("alloc::vec::Vec<T,A>::push", "Vec::push"),
            (
                "core::ptr::drop_in_place::<alloc::string::String>",
                "ptr::drop_in_place",
            ),
            (
                "core::ptr::drop_in_place<fn(u8) -> alloc::vec::Vec<u8>>",
                "ptr::drop_in_place",
            ),
            ("tls::run::{closure#0}", "run::{closure#0}"),
            ("<A<B<C>> as D>::e::{{closure}}", "e::{{closure}}"),
            ("a<b", "a"),
        ] {
            assert_eq!(shorten(full), short, "{full}");
        }
    }

    #[test]
    fn domains_with_the_same_program_share_it() {
        let mut writer = Writer::default();
        let functions = || (0..100).map(|n| function(0x20_0000 + n * 10, 10, "some::long::name"));
        writer.add("a", functions());
        let one = writer.to_bytes().len();
        writer.add("b", functions());
        let bytes = writer.to_bytes();
        assert_eq!(bytes.len(), one + 3);
        let table = Table::new(&bytes).unwrap();
        assert_eq!(
            table.find("b", 0x20_000b).unwrap().to_string(),
            "long::name+0x1"
        );
        assert_eq!(table.find("c", 0x20_0011), None);
    }

    #[test]
    fn of_overlapping_functions_the_first_counts() {
        let mut writer = Writer::default();
        writer.add(
            "a",
            [
                function(20, 10, "b"),
                function(10, 15, "a"),
                function(40, 0, "c"),
            ],
        );
        let bytes = writer.to_bytes();
        let table = Table::new(&bytes).unwrap();
        assert_eq!(table.find("a", 24).unwrap().name, "a");
        assert_eq!(table.find("a", 26), None);
        assert_eq!(table.find("a", 40), None);
    }

    proptest! {
        #[test]
        fn every_address_of_every_function_is_found(
            sizes in prop::collection::vec((0_u64..40, 1_u64..5000, "[a-z]{1,5}"), 1..50),
            address in 0_u64..200_000,
        ) {
            let mut end = 0;
            let functions: Vec<Function> = sizes
                .into_iter()
                .map(|(gap, size, name)| {
                    let start = end + gap;
                    end = start + size;
                    function(start, size, &name)
                })
                .collect();
            let mut writer = Writer::default();
            writer.add("other", [function(0, 1 << 40, "other")]);
            writer.add("pd", functions.clone());
            let bytes = writer.to_bytes();
            let table = Table::new(&bytes).unwrap();
            let expected = functions
                .iter()
                .find(|f| (f.address..f.address + f.size).contains(&address))
                .map(|f| (f.name.clone(), address - f.address));
            let found = table.find("pd", address).map(|s| (s.name.as_str().into(), s.offset));
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn damaged_tables_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), address: u64) {
            if let Ok(table) = Table::new(&bytes) {
                table.find("a", address);
            }
            bytes.splice(..0, MAGIC);
            let table = Table::new(&bytes).unwrap();
            table.find("a", address);
            table.find("", address);
        }
    }
}
