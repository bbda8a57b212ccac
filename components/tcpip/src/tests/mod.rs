//! The stack in a world of its own: see [`crate::testing::world`].

mod ends;
mod flood;
mod host;
mod hostile;
mod lifecycle;
mod link;
mod neighbours;
mod transfer;

use smoltcp::socket::tcp::Socket;

use crate::testing::STACK;
use crate::testing::world::World;

/// Bytes in which every position shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}

/// Takes what a socket of the host has received.
fn receive(socket: &mut Socket<'_>, received: &mut Vec<u8>) {
    while socket.can_recv() {
        let taken = socket.recv(|bytes| {
            received.extend_from_slice(bytes);
            (bytes.len(), bytes.len())
        });
        if taken == Ok(0) {
            break;
        }
    }
}

/// Sends bytes to the echo service and closes; what comes back until the service closes too.
fn converse(world: &mut World, from: u16, bytes: &[u8]) -> Vec<u8> {
    let handle = world.host.connect(from, (STACK.into(), 80));
    let (mut sent, mut received) = (0, vec![]);
    world.until("the echo is complete", |world| {
        let socket = world.host.tcp(handle);
        if socket.can_send() && sent < bytes.len() {
            sent += socket.send_slice(&bytes[sent..]).unwrap();
        }
        if sent == bytes.len() && socket.may_send() {
            socket.close();
        }
        receive(socket, &mut received);
        sent == bytes.len() && !socket.may_recv() && !socket.may_send()
    });
    received
}
