//! The typed ends of a PD's ports.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;
use core::ptr::NonNull;

use channel::memory::{OwnRegion, PeerRegion};
use channel::packets::{self, Pool};
use channel::pci::Pci;
use channel::random::Random;
use channel::sign::Sign;
use channel::time::Time;
use channel::{Notify, log, status, streams, uptime};
use sel4_microkit::Channel;
use wiring::{Connection, Span};

use crate::calls::Client;
use crate::single::Once;
use crate::start::wiring;

static LOG_CLOCK: Once<Option<Time>> = Once::new();

/// The consumer's end of a `streams` port.
///
/// # Panics
/// When the port is not connected, as all functions here.
pub fn streams_consumer(port: &str) -> streams::Consumer {
    let connection = one(port);
    let (own, peers) = regions(connection);
    made(
        port,
        streams::Consumer::new(streams_layout(connection), own, peers, bell(connection)),
    )
}

/// The provider's end of a `streams` port with one consumer.
///
/// # Panics
/// When the port is not connected.
pub fn streams_provider(port: &str) -> streams::Provider {
    provider(one(port))
}

/// The provider's ends of a `streams` port, with the wiring of each.
pub fn streams_providers(port: &str) -> Vec<(&'static Connection, streams::Provider)> {
    all(port)
        .map(|connection| (connection, provider(connection)))
        .collect()
}

fn provider(connection: &Connection) -> streams::Provider {
    let (own, peers) = regions(connection);
    let layout = streams_layout(connection);
    made(
        &connection.port,
        streams::Provider::new(layout, own, peers, bell(connection)),
    )
}

fn streams_layout(connection: &Connection) -> streams::Layout {
    let connections = size(connection, "connections");
    made(
        &connection.port,
        streams::Layout::new(connections, size(connection, "buffer")),
    )
}

/// The driver's end of a `packets` port, and the physical address of its pool.
///
/// # Panics
/// When the port is not connected.
pub fn packets_driver(port: &str) -> (packets::Driver, u64) {
    let connection = one(port);
    let (own, peers) = regions(connection);
    let (layout, pool, physical) = packets_memory(connection);
    (
        made(
            port,
            packets::Driver::new(layout, own, peers, pool, bell(connection)),
        ),
        physical,
    )
}

/// The stack's end of a `packets` port.
///
/// # Panics
/// When the port is not connected.
pub fn packets_stack(port: &str) -> packets::Stack {
    let connection = one(port);
    let (own, peers) = regions(connection);
    let (layout, pool, _) = packets_memory(connection);
    made(
        port,
        packets::Stack::new(layout, own, peers, pool, bell(connection)),
    )
}

fn packets_memory(connection: &Connection) -> (packets::Layout, Pool, u64) {
    let port = &connection.port;
    let layout = packets::Layout::new(size(connection, "buffers"), size(connection, "buffer_size"));
    let layout = made(port, layout);
    let dma = connection
        .pool
        .unwrap_or_else(|| panic!("port `{port}` has no pool"));
    assert!(
        dma.span.size >= layout.pool_size() as u64,
        "port `{port}`: the pool is too small"
    );
    // SAFETY: the builder maps the pool for both ends of the port, for ever; neither refers to it otherwise,
    // and it is as large as the layout asks for.
    let pool = unsafe { Pool::new(start(dma.span)) };
    (layout, pool, dma.physical)
}

/// The client of the `time` port. Alarms arrive as notifications.
///
/// # Panics
/// When the port is not connected.
pub fn time() -> Time {
    time_client().unwrap_or_else(|| panic!("port `time` is not connected"))
}

/// The client of the `pci` port.
///
/// # Panics
/// When the port is not connected.
pub fn pci() -> Pci {
    Pci::new(Client(channel_of(one("pci"))))
}

/// The client of a `sign` port. Changes of the keys arrive as notifications.
///
/// # Panics
/// When the port is not connected.
pub fn sign(port: &str) -> Sign {
    Sign::new(Client(channel_of(one(port))))
}

/// One end of a `log` port that the console reads.
pub struct LogClient {
    /// The PD that writes.
    pub name: String,
    /// Its lines.
    pub lines: log::Reader,
}

/// The readers' ends of a `log` port.
pub fn log_readers(port: &str) -> Vec<LogClient> {
    let reader = |connection: &Connection| {
        let (own, peers) = regions(connection);
        let lines = made(port, log::Reader::new(own, peers));
        LogClient {
            name: connection.peer.clone(),
            lines,
        }
    };
    all(port).map(reader).collect()
}

/// Where this PD publishes its counters; `None` when nobody reads them.
pub fn status(port: &str) -> Option<status::Publisher> {
    let connection = wiring().connection(port).ok()?;
    Some(made(port, status::Publisher::new(own_region(connection))))
}

/// The counters of other PDs, with their names.
pub fn status_readers(port: &str) -> Vec<(String, status::Reader)> {
    let reader = |connection: &Connection| {
        (
            connection.peer.clone(),
            made(port, status::Reader::new(peer_region(connection))),
        )
    };
    all(port).map(reader).collect()
}

/// Returns the publisher of the clock's time; `None` when no PD reads it.
pub fn uptime(port: &str) -> Option<uptime::Publisher> {
    let connection = wiring().connection(port).ok()?;
    Some(made(port, uptime::Publisher::new(own_region(connection))))
}

/// Returns the reader of the clock's published time, for a PD that may not call another.
pub(crate) fn uptime_reader() -> Option<&'static uptime::Reader> {
    static READER: Once<Option<uptime::Reader>> = Once::new();
    let made = || {
        let connection = wiring().connection("uptime").ok()?;
        uptime::Reader::new(peer_region(connection)).ok()
    };
    READER.get_or_init(made).as_ref()
}

/// The channel of a server's port with one client.
///
/// # Panics
/// When the port is not connected.
pub fn server_channel(port: &str) -> Channel {
    channel_of(one(port))
}

/// The clients of a server's port: the wiring and the channel of each.
pub fn server_channels(port: &str) -> Vec<(&'static Connection, Channel)> {
    all(port)
        .map(|connection| (connection, channel_of(connection)))
        .collect()
}

pub(crate) fn log_writer() -> Option<log::Writer> {
    let connection = wiring().connection("log").ok()?;
    let (own, peers) = regions(connection);
    log::Writer::new(own, peers, bell(connection)).ok()
}

pub(crate) fn random_client() -> Option<Random> {
    let connection = wiring().connection("random").ok()?;
    Some(Random::new(Client(channel_of(connection))))
}

/// The clock for log lines and dates.
pub(crate) fn log_clock() -> Option<&'static Time> {
    LOG_CLOCK.get_or_init(time_client).as_ref()
}

fn time_client() -> Option<Time> {
    let connection = wiring().connection("time").ok()?;
    Some(Time::new(Client(channel_of(connection))))
}

fn one(port: &str) -> &'static Connection {
    wiring()
        .connection(port)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn all(port: &str) -> impl Iterator<Item = &'static Connection> {
    wiring()
        .connections
        .iter()
        .filter(move |connection| connection.port == port)
}

fn channel_of(connection: &Connection) -> Channel {
    let port = &connection.port;
    let id = connection
        .channel
        .unwrap_or_else(|| panic!("port `{port}` has no channel"));
    Channel::new(usize::from(id))
}

fn bell(connection: &Connection) -> impl Notify + 'static {
    let channel = channel_of(connection);
    move || channel.notify()
}

fn regions(connection: &Connection) -> (OwnRegion, PeerRegion) {
    (own_region(connection), peer_region(connection))
}

fn own_region(connection: &Connection) -> OwnRegion {
    let port = &connection.port;
    let span = connection
        .own
        .unwrap_or_else(|| panic!("port `{port}` has no region to write"));
    // SAFETY: the builder maps this region writable for this PD alone, for ever; each connection's end is made
    // once, by the `main.rs` that names its port.
    made(port, unsafe {
        OwnRegion::new(start(span), span.size as usize)
    })
}

fn peer_region(connection: &Connection) -> PeerRegion {
    let port = &connection.port;
    let span = connection
        .peers
        .unwrap_or_else(|| panic!("port `{port}` has no region to read"));
    // SAFETY: the builder maps this region read-only, for ever; nothing but the channel's end uses it, and
    // Selkie's components keep to the contract for views.
    made(port, unsafe {
        PeerRegion::new(start(span), span.size as usize)
    })
}

fn start(span: Span) -> NonNull<u8> {
    NonNull::new(span.address as *mut u8).unwrap_or_else(|| panic!("a region at address 0"))
}

fn size(connection: &Connection, key: &str) -> usize {
    let number = made(&connection.port, connection.integer(key));
    usize::try_from(number).unwrap_or_else(|_| panic!("`{key}` is negative"))
}

fn made<T, E: Display>(port: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("port `{port}`: {error}"))
}
