//! Configuration, data, stack and heap of a protection.

use std::path::PathBuf;

use microkit_sdf::{MAX_STACK_SIZE, MIN_STACK_SIZE};
use wiring::Value;

use super::{Connection, Content, Planner, pages};
use crate::description::Written;
use crate::diagnostics::Problem;
use crate::files;
use crate::keys;
use crate::manifest::{self, Data, DataKind, Program};
use crate::toml::{Entry, Fields, Spanned, show_size};

impl Planner<'_> {
    /// Returns the heap of a PD in bytes: the size in the description, or else that which its connections need.
    pub(super) fn heap(
        &mut self,
        index: usize,
        program: &Program,
        connections: &[Connection],
    ) -> u64 {
        let of_ports = connections.iter().map(|connection| {
            let open = connection.open_at_once();
            open.saturating_mul(connection.heap_for_each(index, program))
        });
        let of_ports = of_ports.fold(0, u64::saturating_add);
        let given = self.written(index).entry("memory");
        let Some(size) = given.and_then(|entry| self.reader().size(entry)) else {
            return pages(program.memory.saturating_add(of_ports));
        };
        let bytes = pages(size.value);
        let needed = pages(program.least_memory.saturating_add(of_ports));
        if bytes < needed {
            self.too_little(index, program, size, needed, connections);
        }
        bytes
    }

    /// Reports a heap that the PD's connections could exhaust.
    fn too_little(
        &mut self,
        index: usize,
        program: &Program,
        given: Spanned<u64>,
        needed: u64,
        connections: &[Connection],
    ) {
        let mut parts = vec![show_size(program.least_memory)];
        for connection in connections {
            let each = connection.heap_for_each(index, program);
            if each > 0 {
                let open = connection.open_at_once();
                parts.push(format!(
                    "{} for each of {open} connections",
                    show_size(each)
                ));
            }
        }
        let message = format!(
            "`{}` needs at least {} of memory",
            self.name(index),
            show_size(needed)
        );
        let problem = Problem::at(self.source, given.span, message);
        self.problems.push(
            problem
                .label(format!("the program needs {}", parts.join(" and ")))
                .help("leave the key out: the builder gives what the connections need"),
        );
    }

    /// The stack of a protection in bytes.
    pub(super) fn stack(&mut self, written: &Written, program: &Program) -> u64 {
        let Some(entry) = written.entry("stack") else {
            return program.stack;
        };
        let Some(size) = self.reader().size(entry) else {
            return program.stack;
        };
        let bytes = size.value;
        let fault = if bytes < MIN_STACK_SIZE {
            Some(("too small", pages(bytes).max(MIN_STACK_SIZE)))
        } else if bytes > MAX_STACK_SIZE {
            Some(("too large", MAX_STACK_SIZE))
        } else if !bytes.is_multiple_of(MIN_STACK_SIZE) {
            Some(("not a number of whole pages", pages(bytes)))
        } else {
            None
        };
        if let Some((fault, right)) = fault {
            let message = format!("a stack of {} is {fault}", show_size(bytes));
            let problem = Problem::at(self.source, size.span, message);
            let help = format!(
                "a stack consists of whole pages of 4 KiB: try \"{}K\"",
                right / 1024
            );
            self.problems
                .push(problem.label("4 KiB to 16 MiB").help(help));
        }
        bytes
    }

    /// Whether a protection starts over after a fault: if its program can, unless the description says no.
    pub(super) fn restart(&mut self, written: &Written, program: &Program) -> bool {
        let Some(entry) = written.entry("restart") else {
            return program.restart;
        };
        let wanted = self.reader().boolean(entry).unwrap_or(program.restart);
        if wanted && !program.restart {
            let message = format!("the program `{}` cannot start over", program.name);
            let problem = Problem::at(self.source, entry.value.span.clone(), message);
            let help = "its manifest does not declare `restart = true`: leave the key out";
            self.problems.push(problem.help(help));
        }
        wanted
    }

    /// The configuration of a protection, defaults filled in.
    pub(super) fn config(&mut self, written: &Written, program: &Program) -> Vec<(String, Value)> {
        let given = written.entry("config");
        let mut reader = self.reader();
        let entries = match given {
            Some(entry) => reader.table("config", &entry.value).unwrap_or_default(),
            None => &[],
        };
        let mut fields = Fields::new(entries);
        let mut config = Vec::new();
        for key in &program.config {
            let value = match (fields.take(&key.name), &key.default) {
                (Some(entry), _) => manifest::value(&mut reader, entry, &key.kind),
                (None, Some(default)) => Some(default.clone()),
                (None, None) if key.optional => None,
                (None, None) => {
                    let span = given.map_or(&written.name.span, |entry| &entry.value.span);
                    let message = format!(
                        "`{}` needs the configuration `{}`",
                        written.name.value, key.name
                    );
                    let problem = reader.wrong(span, message);
                    problem.help = Some(format!(
                        "add: config = {{ {} = … }}: {}",
                        key.name, key.help
                    ));
                    None
                }
            };
            config.extend(value.map(|value| (key.name.clone(), value)));
        }
        fields.finish(
            &mut reader,
            &format!("the configuration of `{}`", program.name),
        );
        config
    }

    /// The data of a protection.
    pub(super) fn data(&mut self, written: &Written, program: &Program) -> Vec<(String, Content)> {
        let given = written.entry("data");
        let entries = match given {
            Some(entry) => self
                .reader()
                .table("data", &entry.value)
                .unwrap_or_default(),
            None => &[],
        };
        let mut fields = Fields::new(entries);
        let mut contents = Vec::new();
        for data in &program.data {
            if data.kind == DataKind::Symbols {
                contents.push((data.name.clone(), Content::Symbols));
                continue;
            }
            let content = match fields.take(&data.name) {
                Some(entry) => self.content(written, program, entry, data),
                None if data.kind == DataKind::Keys => Some(Self::default_keys()),
                None if data.optional => None,
                None => {
                    self.missing_data(written, data);
                    None
                }
            };
            contents.extend(content.map(|content| (data.name.clone(), content)));
        }
        let mut reader = self.reader();
        fields.finish(&mut reader, &format!("the data of `{}`", program.name));
        contents
    }

    fn missing_data(&mut self, written: &Written, data: &Data) {
        let message = format!("`{}` needs the data `{}`", written.name.value, data.name);
        let help = format!(
            "add: data = {{ {} = \"PATH\" }}, relative to this file",
            data.name
        );
        let problem = Problem::at(self.source, written.span("data"), message);
        self.problems.push(problem.help(help));
    }

    fn content(
        &mut self,
        written: &Written,
        program: &Program,
        entry: &Entry,
        data: &Data,
    ) -> Option<Content> {
        match data.kind {
            DataKind::Folder => self.site(written, program, entry),
            DataKind::File => {
                let path = self.reader().text(entry)?;
                let file = self.existing(&path, "file", |path| path.exists())?;
                let bytes = files::read(&file, self.board.memory);
                self.made(&path, bytes.map_err(|error| error.to_string()))
            }
            DataKind::Keys => self.keys(entry, written.entry("device").is_some()),
            DataKind::Authorities => {
                let path = self.reader().text(entry)?;
                let file = self.existing(&path, "file", |path| path.exists())?;
                let authorities = keys::authorities(&file);
                self.made(
                    &path,
                    authorities
                        .map(|authorities| authorities.to_bytes())
                        .map_err(|error| error.to_string()),
                )
            }
            DataKind::Symbols => Some(Content::Symbols),
        }
    }

    /// The path that a description gives, if there is such a thing.
    pub(super) fn existing(
        &mut self,
        path: &Spanned<String>,
        what: &str,
        fits: impl Fn(&std::path::Path) -> bool,
    ) -> Option<PathBuf> {
        let found = self.folder.join(&path.value);
        if fits(&found) {
            return Some(found);
        }
        let shown = found.strip_prefix(self.root).unwrap_or(&found).display();
        let message = format!("there is no {what} `{}`", path.value);
        let problem = Problem::at(self.source, path.span.clone(), message);
        let help = format!("paths are relative to the description; looked at `{shown}`");
        self.problems.push(problem.label("not found").help(help));
        None
    }

    pub(super) fn made(
        &mut self,
        path: &Spanned<String>,
        bytes: Result<Vec<u8>, String>,
    ) -> Option<Content> {
        match bytes {
            Ok(bytes) => Some(Content::Bytes(bytes)),
            Err(reason) => {
                self.unusable(path, &reason);
                None
            }
        }
    }

    /// Says why what lies at a path is of no use.
    pub(super) fn unusable(&mut self, path: &Spanned<String>, reason: &str) {
        // Paths are shown as the description has them.
        let folder = format!("{}/", self.folder.display());
        let message = format!("`{}` cannot be used", path.value);
        let problem = self.wrong(&path.span, message);
        problem.help = Some(reason.replace(&folder, ""));
    }
}
