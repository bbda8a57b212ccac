//! Who is connected to whom.

use std::ops::Range;

use wiring::{Role, Value};

use super::peers::Peer;
use super::{Connection, Planner, pages};
use crate::description::Written;
use crate::diagnostics::{Problem, listed, near};
use crate::interface::{Interface, Sizes};
use crate::manifest::{PROTECTION_KEYS, Port, Program};
use crate::toml::{Kind, Spanned};

impl<'a> Planner<'a> {
    pub(super) fn connections(&mut self) -> Vec<Connection> {
        let mut connections = Vec::new();
        for index in 0..self.programs.len() {
            let Some(program) = self.programs[index].clone() else {
                continue;
            };
            let written = self.written(index);
            self.check_keys(written, &program);
            for port in &program.ports {
                if port.role == Role::Consumer {
                    let first = connections.len();
                    for peer in self.peers_of(index, written, port) {
                        let connection = self.connect(index, port, peer);
                        connections.extend(connection);
                    }
                    self.check_repeated(&connections[first..]);
                }
            }
        }
        self.check_shared_ports(&connections);
        self.check_listening(&connections);
        connections
    }

    /// Reports keys that are neither of every protection nor ports of this one.
    fn check_keys(&mut self, written: &'a Written, program: &Program) {
        let consumers = || program.ports.iter().filter(|p| p.role == Role::Consumer);
        for entry in &written.entries {
            let key = entry.key.as_str();
            if PROTECTION_KEYS.contains(&key) || consumers().any(|port| port.name == key) {
                continue;
            }
            let known = || {
                let ports = consumers().map(|port| port.name.as_str());
                PROTECTION_KEYS.into_iter().chain(ports)
            };
            let provided = program.ports.iter().find(|port| port.name == key);
            let help = match (provided, near(key, known())) {
                (Some(_), _) => format!(
                    "others connect to the port `{key}`: name `{}` at their ports",
                    written.name.value
                ),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("its keys: {}", listed(known())),
            };
            let message = format!(
                "`{key}` is not a key of a protection that runs `{}`",
                program.name
            );
            let problem = Problem::at(self.source, entry.key_span.clone(), message);
            self.problems.push(problem.label("unknown key").help(help));
        }
    }

    /// The peers of a consumer's port: those that the description names, or the only provider of a
    /// common interface.
    fn peers_of(&mut self, index: usize, written: &'a Written, port: &Port) -> Vec<Peer> {
        if self.on_another_bus(written, port.interface) {
            return Vec::new();
        }
        if let Some(entry) = written.entry(&port.name) {
            return self.named_peers(entry, port);
        }
        let providers = self.providers(index, port.interface);
        if port.interface.common && providers.len() == 1 {
            return vec![Peer {
                name: Spanned {
                    value: providers[0].to_string(),
                    span: written.name.span.clone(),
                },
                parameters: Vec::new(),
            }];
        }
        if !port.optional {
            let (name, interface) = (&port.name, port.interface.name);
            let help = match providers[..] {
                [] => self.missing_provider(port.interface),
                [one] => format!("add: {name} = \"{one}\""),
                _ => format!("add {name} = …, one of {}", listed(providers)),
            };
            let message = format!(
                "the port `{name}` of `{}` is not connected",
                written.name.value
            );
            let problem = Problem::at(self.source, written.name.span.clone(), message);
            let label = format!("needs `{name}`, of interface `{interface}`");
            self.problems.push(problem.label(label).help(help));
        }
        Vec::new()
    }

    /// Whether an interface is about a bus and this protection's device is on another, as on a board without
    /// that bus.
    fn on_another_bus(&self, written: &Written, interface: &Interface) -> bool {
        let Some(bus) = interface.bus else {
            return false;
        };
        let name = written.entry("device").and_then(|entry| entry.as_text());
        let device = name.and_then(|name| self.board.device(name));
        device.is_some_and(|device| device.bus != bus)
    }

    /// What to add so that somebody provides an interface.
    fn missing_provider(&self, interface: &Interface) -> String {
        let name = interface.name;
        match self.manifests.providers(self.root, interface)[..] {
            [] => format!("no program provides `{name}`"),
            [one] => format!(
                "no protection provides `{name}`; the program `{one}` does: add [protection.{one}]"
            ),
            ref several => {
                let programs = listed(several.iter().copied());
                format!("no protection provides `{name}`; add one that runs {programs}")
            }
        }
    }

    /// The names of the other protections that provide an interface.
    fn providers(&self, index: usize, interface: &'static Interface) -> Vec<&'a str> {
        let others = self.programs.iter().enumerate();
        others
            .filter(|&(other, program)| {
                other != index
                    && program
                        .as_ref()
                        .is_some_and(|p| provider(p, interface).is_some())
            })
            .map(|(other, _)| self.name(other))
            .collect()
    }

    fn connect(&mut self, consumer: usize, port: &Port, peer: Peer) -> Option<Connection> {
        let Some(provider_index) = self.find(&peer.name) else {
            if !(port.optional && self.is_left_out(&peer.name.value)) {
                self.unknown_peer(consumer, port, &peer.name);
            }
            return None;
        };
        let interface = port.interface;
        if provider_index == consumer {
            let message = format!("`{}` is connected to itself", peer.name.value);
            let providers = self.providers(consumer, interface);
            let help = match providers[..] {
                [] => format!("no other protection provides `{}`", interface.name),
                _ => format!("`{}` is provided by {}", interface.name, listed(providers)),
            };
            self.wrong(&peer.name.span, message).help = Some(help);
            return None;
        }
        let provided = self.programs[provider_index].as_ref()?;
        let Some(provider_port) = provider(provided, interface).map(|port| port.name.clone())
        else {
            self.wrong_interface(consumer, port, provider_index, &peer.name.span);
            return None;
        };
        let parameters = parameters(interface, &peer.parameters);
        let sizes = self.sizes(interface, &parameters, &peer)?;
        Some(Connection {
            consumer,
            consumer_port: port.name.clone(),
            provider: provider_index,
            provider_port,
            interface,
            parameters,
            sizes,
            span: peer.name.span,
        })
    }

    fn find(&self, name: &Spanned<String>) -> Option<usize> {
        let mut protections = self.description.protections.iter();
        protections.position(|written| written.name.value == name.value)
    }

    fn unknown_peer(&mut self, consumer: usize, port: &Port, name: &Spanned<String>) {
        let others = self.description.protections.iter();
        let names = others.map(|written| written.name.value.as_str());
        let providers = self.providers(consumer, port.interface);
        let help = match near(&name.value, names) {
            _ if self.is_left_out(&name.value) => format!(
                "the board `{}` has no device for `{}`, which is left out there",
                self.board.name, name.value
            ),
            Some(near) => format!("did you mean `{near}`?"),
            None if providers.is_empty() => format!("add [protection.{}]", name.value),
            None => format!(
                "`{}` is provided by {}",
                port.interface.name,
                listed(providers)
            ),
        };
        let message = format!("there is no protection `{}`", name.value);
        let problem = Problem::at(self.source, name.span.clone(), message);
        self.problems.push(problem.label("unknown").help(help));
    }

    fn wrong_interface(
        &mut self,
        consumer: usize,
        port: &Port,
        provider: usize,
        span: &Range<usize>,
    ) {
        let interface = port.interface.name;
        let (from, to) = (self.name(consumer), self.name(provider));
        let message = format!("`{to}` does not provide `{interface}`");
        let has = self.programs[provider].as_ref().map_or_else(Vec::new, |p| {
            let provided = p.ports.iter().filter(|port| port.role == Role::Provider);
            provided.map(|port| port.interface.name).collect()
        });
        let providers = self.providers(consumer, port.interface);
        let help = match (&providers[..], &has[..]) {
            ([], []) => format!("no protection provides `{interface}`"),
            ([], _) => format!("`{to}` provides {}", listed(has)),
            _ => format!("`{interface}` is provided by {}", listed(providers)),
        };
        let label = format!(
            "the port `{}` of `{from}` is of interface `{interface}`",
            port.name
        );
        let problem = Problem::at(self.source, span.clone(), message);
        self.problems.push(problem.label(label).help(help));
    }

    fn sizes(
        &mut self,
        interface: &Interface,
        parameters: &[(String, Value)],
        peer: &Peer,
    ) -> Option<Sizes> {
        let value = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key == name);
            match found {
                Some((_, Value::Integer(number))) => *number as usize,
                _ => 0,
            }
        };
        match interface.sizes(value) {
            Ok(sizes) => Some(Sizes {
                provider: pages(sizes.provider),
                consumer: pages(sizes.consumer),
                pool: pages(sizes.pool),
            }),
            Err(reason) => {
                self.wrong(
                    &peer.name.span,
                    format!("this connection cannot be: {reason}"),
                );
                None
            }
        }
    }

    /// Reports a peer that is named twice at one port.
    fn check_repeated(&mut self, connections: &[Connection]) {
        for (index, connection) in connections.iter().enumerate() {
            let mut before = connections[..index].iter();
            if let Some(first) = before.find(|first| first.provider == connection.provider) {
                let (port, name) = (&connection.consumer_port, self.name(connection.provider));
                let message = format!("the port `{port}` is connected to `{name}` twice");
                let problem = Problem::at(self.source, connection.span.clone(), message);
                self.problems.push(
                    problem
                        .label("again here")
                        .and(first.span.clone(), "first here")
                        .help("name it once"),
                );
            }
        }
    }

    /// Reports ports that take one connection and have several.
    fn check_shared_ports(&mut self, connections: &[Connection]) {
        for (index, connection) in connections.iter().enumerate() {
            let Some(program) = &self.programs[connection.provider] else {
                continue;
            };
            let port = provider(program, connection.interface);
            if port.is_none_or(|port| port.many) {
                continue;
            }
            let first = connections[..index].iter().find(|other| {
                let same = |c: &Connection| (c.consumer, c.consumer_port.clone());
                other.provider == connection.provider
                    && other.interface == connection.interface
                    && same(other) != same(connection)
            });
            if let Some(first) = first {
                let provider = self.name(connection.provider);
                let message = format!(
                    "the port `{}` of `{provider}` serves one protection, not two",
                    connection.provider_port
                );
                let problem = Problem::at(self.source, connection.span.clone(), message);
                self.problems.push(
                    problem
                        .label("the second connection")
                        .and(first.span.clone(), "the first connection")
                        .help(format!(
                            "connect one of them to something else, or give `{}` a port with many = true",
                            self.written(connection.provider).program.value
                        )),
                );
            }
        }
    }

    /// Reports two connections that listen on the same port of the same provider.
    fn check_listening(&mut self, connections: &[Connection]) {
        for (index, connection) in connections.iter().enumerate() {
            let ports = connection.listens();
            let first = connections[..index].iter().find_map(|other| {
                let same = other.provider == connection.provider;
                let mut others = other.listens().into_iter();
                let port = others.find(|port| same && ports.contains(port))?;
                Some((other, port))
            });
            if let Some((first, port)) = first {
                let (one, two) = (self.name(first.consumer), self.name(connection.consumer));
                let message = format!("`{one}` and `{two}` both listen on port {port}");
                let problem = Problem::at(self.source, self.listen_span(connection), message);
                self.problems.push(
                    problem
                        .label("again here")
                        .and(self.listen_span(first), "first here")
                        .help("give one of them another port"),
                );
            }
        }
    }

    /// Where a connection's `listen` stands.
    fn listen_span(&self, connection: &Connection) -> Range<usize> {
        let entry = self
            .written(connection.consumer)
            .entry(&connection.consumer_port);
        if let Some(entry) = entry
            && let Kind::Table(fields) = &entry.value.kind
            && let Some(listen) = fields.iter().find(|field| field.key == "listen")
        {
            return listen.value.span.clone();
        }
        connection.span.clone()
    }
}

/// The port of a program that provides an interface.
fn provider<'p>(program: &'p Program, interface: &Interface) -> Option<&'p Port> {
    program
        .ports
        .iter()
        .find(|port| port.role == Role::Provider && port.interface == interface)
}

/// The parameters of a connection, defaults filled in.
fn parameters(interface: &Interface, given: &[(String, Value)]) -> Vec<(String, Value)> {
    let value = |name: &str| {
        let found = given.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    interface
        .parameters
        .iter()
        .filter_map(|p| Some((p.name.to_string(), value(p.name).or(p.kind.default())?)))
        .collect()
}
