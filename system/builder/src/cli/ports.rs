//! Host ports that are forwarded to the services of a system.
//!
//! A port that the user chooses is used, or is an error. If a default port is in use, the next free port replaces it.

use std::collections::BTreeSet;
use std::io;
use std::str::FromStr;

use anyhow::{Context as _, anyhow, bail};
use selkie_qemu::{Forward, free_port};

use super::{Endpoint, Protocol};

/// Number of ports to try after a default port before any free port is used.
const REACH: u16 = 100;

/// One `--port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// `PORT`: for the first service.
    First(u16),
    /// `NAME=PORT`: for the service of this protection domain.
    Service(String, u16),
    /// `HOST:GUEST`: for the service at this port of the guest.
    Guest(Forward),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| match text.parse() {
            Ok(port) if port != 0 => Ok(port),
            _ => Err(format!("`{text}` is not a port: 1 to 65535")),
        };
        if let Some((name, text)) = text.split_once('=') {
            if name.is_empty() {
                return Err("a name is missing, as in tls=9443".into());
            }
            return Ok(Self::Service(name.to_string(), port(text)?));
        }
        if let Some((host, guest)) = text.split_once(':') {
            let (host, guest) = (port(host)?, port(guest)?);
            return Ok(Self::Guest(Forward { host, guest }));
        }
        port(text).map(Self::First)
    }
}

/// A service of a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// The PD that serves.
    pub name: String,
    /// The service's ports on this machine and in the guest.
    pub endpoint: Endpoint,
    /// True if the user chose the port of this machine.
    pub chosen: bool,
}

/// Applies the ports that the user chooses to the services. A hand-written system file names no services, so only
/// `HOST:GUEST` adds one.
///
/// # Errors
/// When a choice matches no service, or two choices match the same service.
pub(super) fn chosen(
    endpoints: &[Endpoint],
    names: &[String],
    choices: &[Choice],
) -> anyhow::Result<Vec<Service>> {
    let services = endpoints.iter().zip(names);
    let mut services: Vec<Service> = services
        .map(|(endpoint, name)| Service {
            name: name.clone(),
            endpoint: *endpoint,
            chosen: false,
        })
        .collect();
    let described = !services.is_empty();
    for choice in choices {
        let (index, host) = match choice {
            Choice::First(_) | Choice::Service(..) if !described => bail!(
                "this system does not say which services it has: say which port of the guest a port of this machine \
                 leads to, as in `--port 9000:80`"
            ),
            Choice::First(host) => (0, *host),
            Choice::Service(name, host) => (named(&services, name)?, *host),
            Choice::Guest(Forward { host, guest }) => {
                let found = services.iter().position(|s| s.endpoint.guest == *guest);
                match found {
                    Some(index) => (index, *host),
                    None if described => bail!(
                        "no service listens at port {guest} of the guest: {}; `--forward {host}:{guest}` leads there all \
                         the same",
                        listed(&services)
                    ),
                    None => {
                        services.push(unnamed(*guest));
                        (services.len() - 1, *host)
                    }
                }
            }
        };
        let service = &mut services[index];
        if service.chosen {
            bail!("two ports are chosen for {}", at(service));
        }
        (service.endpoint.host, service.chosen) = (host, true);
    }
    Ok(services)
}

/// Makes a service of a hand-written system at a port of the guest.
fn unnamed(guest: u16) -> Service {
    Service {
        name: format!("port {guest}"),
        endpoint: Endpoint::usual(guest, Protocol::Tcp),
        chosen: false,
    }
}

fn named(services: &[Service], name: &str) -> anyhow::Result<usize> {
    let mut found = services.iter().enumerate().filter(|(_, s)| s.name == name);
    let first = found.next();
    match (first, found.next()) {
        (Some((index, _)), None) => Ok(index),
        (Some(_), Some(_)) => bail!(
            "`{name}` listens at several ports: choose with `--port HOST:GUEST`: {}",
            listed(services)
        ),
        (None, _) => bail!("there is no service `{name}`: {}", listed(services)),
    }
}

fn listed(services: &[Service]) -> String {
    let services: Vec<String> = services.iter().map(at).collect();
    format!("the system serves {}", services.join(", "))
}

fn at(service: &Service) -> String {
    format!("`{}` at port {}", service.name, service.endpoint.guest)
}

/// Gives every service a free port; returns a message for each default port that is in use. The ports in `more` are
/// forwarded too.
///
/// # Errors
/// When a chosen port is in use, may not be used, or is chosen twice.
pub(super) fn settle(
    services: &mut [Service],
    more: &[Forward],
    is_free: impl Fn(u16) -> io::Result<bool>,
) -> anyhow::Result<Vec<String>> {
    let mut used = BTreeSet::new();
    let chosen = services.iter().filter(|service| service.chosen);
    let chosen = chosen.map(|service| service.endpoint.host);
    for port in chosen.chain(more.iter().map(|forward| forward.host)) {
        if !used.insert(port) {
            bail!("port {port} would lead to two services; choose another with --port");
        }
        match is_free(port) {
            Ok(true) => {}
            Ok(false) => bail!(
                "port {port} of 127.0.0.1 is taken; choose another with --port, or see with `selkie status` or \
                 `ss -ltnp` which process has it"
            ),
            Err(error) => {
                let message = format!("port {port} may not be used; choose another with --port");
                return Err(anyhow!(error).context(message));
            }
        }
    }
    let mut moved = Vec::new();
    for service in services.iter_mut().filter(|service| !service.chosen) {
        let usual = service.endpoint.host;
        let near = (usual..=usual.saturating_add(REACH))
            .find(|port| !used.contains(port) && is_free(*port).unwrap_or(false));
        let port = match near {
            Some(port) => port,
            None => free_port().context("there is no free port on this machine")?,
        };
        used.insert(port);
        service.endpoint.host = port;
        if port != usual {
            moved.push(format!(
                "port {usual} is taken: {} is at port {port} of this machine (choose with `--port {port}:{}`)",
                at(service),
                service.endpoint.guest
            ));
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(guest: u16, protocol: Protocol) -> Endpoint {
        Endpoint::usual(guest, protocol)
    }

    /// Returns a system with TLS at port 443 and a redirect at port 80.
    fn two(choices: &[&str]) -> anyhow::Result<Vec<Service>> {
        let endpoints = [endpoint(443, Protocol::Https), endpoint(80, Protocol::Http)];
        let names = ["tls".to_string(), "redirect".to_string()];
        let choices: Vec<Choice> = choices.iter().map(|text| text.parse().unwrap()).collect();
        chosen(&endpoints, &names, &choices)
    }

    fn hosts(services: &[Service]) -> Vec<u16> {
        services
            .iter()
            .map(|service| service.endpoint.host)
            .collect()
    }

    #[test]
    fn ports_are_read_in_three_forms() {
        let forward = Forward {
            host: 9000,
            guest: 80,
        };
        assert_eq!("9443".parse(), Ok(Choice::First(9443)));
        assert_eq!("tls=9443".parse(), Ok(Choice::Service("tls".into(), 9443)));
        assert_eq!("9000:80".parse(), Ok(Choice::Guest(forward)));
        for wrong in [
            "", "0", "70000", "=1", "tls=", "tls=x", "0:80", "80:", ":80", "a:b",
        ] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_service_gets_the_port_that_is_chosen_for_it() {
        assert_eq!(hosts(&two(&[]).unwrap()), [8443, 8080]);
        assert_eq!(hosts(&two(&["9443"]).unwrap()), [9443, 8080]);
        assert_eq!(
            hosts(&two(&["redirect=9080", "tls=9443"]).unwrap()),
            [9443, 9080]
        );
        assert_eq!(hosts(&two(&["9080:80"]).unwrap()), [8443, 9080]);
        let said = |choices: &[&str]| two(choices).unwrap_err().to_string();
        assert!(said(&["echo=7"]).contains("`tls` at port 443, `redirect` at port 80"));
        assert!(said(&["9000:81"]).contains("no service listens at port 81"));
        assert!(said(&["1", "tls=2"]).contains("two ports are chosen for `tls`"));
    }

    #[test]
    fn a_service_with_two_ports_is_named_by_the_guests_port() {
        let endpoints = [443, 8443].map(|guest| endpoint(guest, Protocol::Https));
        let names = ["tls".to_string(), "tls".to_string()];
        let choose = |text: &str| chosen(&endpoints, &names, &[text.parse().unwrap()]);
        let said = choose("tls=9443").unwrap_err().to_string();
        assert!(
            said.contains("HOST:GUEST") && said.contains("8443"),
            "{said}"
        );
        assert_eq!(hosts(&choose("9443:8443").unwrap()), [8443, 9443]);
    }

    #[test]
    fn a_hand_written_system_wants_both_ports() {
        let choose = |text: &str| chosen(&[], &[], &[text.parse().unwrap()]);
        for wrong in ["9000", "tls=9000"] {
            let said = choose(wrong).unwrap_err().to_string();
            assert!(said.contains("`--port 9000:80`"), "{said}");
        }
        let services = choose("9000:80").unwrap();
        assert_eq!(
            (services[0].endpoint.host, services[0].endpoint.guest),
            (9000, 80)
        );
        assert!(services[0].chosen);
    }

    #[test]
    fn a_usual_port_that_is_taken_moves_on_and_is_named() {
        let mut services = two(&["redirect=8444"]).unwrap();
        let moved = settle(&mut services, &[], |port| Ok(port != 8443)).unwrap();
        assert_eq!(hosts(&services), [8445, 8444]);
        assert_eq!(moved.len(), 1);
        assert!(moved[0].contains("8443 is taken") && moved[0].contains("--port 8445:443"));
        // Two services with the same default port.
        let endpoints = [endpoint(80, Protocol::Http), endpoint(8080, Protocol::Http)];
        let names = ["one".to_string(), "two".to_string()];
        let mut services = chosen(&endpoints, &names, &[]).unwrap();
        settle(&mut services, &[], |_| Ok(true)).unwrap();
        assert_eq!(hosts(&services), [8080, 8081]);
    }

    #[test]
    fn a_chosen_port_that_is_taken_is_refused_with_the_remedy() {
        let mut services = two(&["9443"]).unwrap();
        let error = settle(&mut services, &[], |port| Ok(port != 9443)).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("9443") && said.contains("is taken") && said.contains("--port"));
        let twice = [Forward {
            host: 9443,
            guest: 1,
        }];
        assert!(settle(&mut services, &twice, |_| Ok(true)).is_err());
        let denied = |_| Err(io::ErrorKind::PermissionDenied.into());
        let error = settle(&mut services, &[], denied).unwrap_err();
        assert!(error.to_string().contains("may not be used"));
    }
}
