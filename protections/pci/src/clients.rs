//! The drivers, and the functions that they have.

use alloc::vec::Vec;

use channel::pci::{self as interface, Description};
use device::PortRange;
use pci::{Address, Assignment, Bar, Identity, Space, Window, set_up, virtio};
use sel4_microkit::Channel;
use wiring::{Connection, Value};

/// All of them.
pub struct Clients(Vec<Client>);

/// One driver.
pub struct Client {
    channel: Channel,
    /// Its function.
    pub address: Address,
    /// What it is told; none if its function could not be set up.
    pub description: Option<Description>,
}

impl Clients {
    /// Sets up the functions of all clients, and takes mastery of the bus from all others.
    pub fn set_up(space: &mut Space<PortRange>) -> Self {
        let connections = pd::server_channels("clients");
        let bars: Vec<_> = connections.iter().map(|(client, _)| bars(client)).collect();
        let assignments: Vec<_> = (connections.iter().zip(&bars))
            .map(|((client, _), bars)| Assignment {
                address: address(client),
                bars,
            })
            .collect();
        let mut found = Vec::new();
        set_up(space, &assignments, |index, result| {
            let (address, peer) = (assignments[index].address, &connections[index].0.peer);
            match result {
                Ok(Identity { identity, .. }) => pd::info!("{address}: {identity:08x} for {peer}"),
                Err(error) => pd::error!("{address} for {peer}: {error}"),
            }
            found.push(result.ok());
        });
        let mut client =
            |((assignment, (_, channel)), found): ((&Assignment<'_>, _), Option<_>)| {
                let address = assignment.address;
                let description = found.map(|found| describe(space, assignment, &found));
                Client {
                    channel,
                    address,
                    description,
                }
            };
        let channels = connections
            .iter()
            .map(|(client, channel)| (client, *channel));
        Self(
            assignments
                .iter()
                .zip(channels)
                .zip(found)
                .map(&mut client)
                .collect(),
        )
    }

    /// The client behind a channel.
    pub fn find(&self, channel: Channel) -> Option<&Client> {
        self.0.iter().find(|client| client.channel == channel)
    }
}

fn address(client: &Connection) -> Address {
    let number = client
        .integer("pci_address")
        .ok()
        .and_then(|number| number.try_into().ok());
    Address(number.expect("the builder gives each client `pci_address`"))
}

fn bars(client: &Connection) -> Vec<Bar> {
    let bars = client.parameters.iter().find(|(key, _)| key == "bars");
    let Some((_, Value::List(bars))) = bars else {
        panic!("the builder gives each client `bars`");
    };
    bars.iter()
        .map(|bar| parse(bar).expect("`bars` holds [register, address, size]"))
        .collect()
}

fn parse(bar: &Value) -> Option<Bar> {
    let Value::List(values) = bar else {
        return None;
    };
    let number = |value: &Value| match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let [index, address, size] = &values[..] else {
        return None;
    };
    let index = number(index)?.try_into().ok()?;
    Some(Bar {
        index,
        address: number(address)?,
        size: number(size)?,
    })
}

fn describe(
    space: &mut Space<PortRange>,
    assignment: &Assignment<'_>,
    found: &Identity,
) -> Description {
    let layout = virtio(
        |offset| space.read(assignment.address, offset),
        assignment.bars,
    );
    let window = |window: Option<Window>| {
        let Window {
            bar,
            offset,
            length,
        } = window?;
        Some(interface::Window {
            bar,
            offset,
            length,
        })
    };
    let mut bars = [None; 6];
    for bar in assignment.bars {
        if let Some(slot) = bars.get_mut(usize::from(bar.index)) {
            *slot = Some(interface::Bar {
                address: bar.address,
                size: bar.size,
            });
        }
    }
    Description {
        vendor: found.identity as u16,
        device: (found.identity >> 16) as u16,
        bars,
        common: window(layout.common),
        notify: window(layout.notify),
        isr: window(layout.isr),
        specific: window(layout.device),
        notify_multiplier: layout.notify_multiplier,
    }
}
