//! The peer restarts before each load of one of its words, after it has written one wrong word or none. An honest peer's
//! restart is never an error; an endpoint that returns an error has failed, and returns the same one from then on; an endpoint
//! that has not failed works together with the peer's next incarnation.
#![cfg(not(loom))]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use channel::log::{self, Level};
use channel::packets::{self, Driver, Pool, Stack, TransmitBuffer};
use channel::streams::{self, Consumer, ConsumerEvent, Opened, Provider, ProviderEvent, Refusal};
use channel::testing::{Bell, Shared, pool_pair, with_hook};
use channel::{Notify, PeerMisbehaved};

/// Loads between the moment when the first line of a region is zeroed and the end of the wiping.
const STEPS: [usize; 2] = [0, 2];

/// A wrong word in the peer's region.
#[derive(Clone, Copy, Debug)]
struct Strike {
    word: usize,
    change: fn(u64) -> u64,
}

const CHANGES: [fn(u64) -> u64; 2] = [|old| old.wrapping_add(1), |_| u64::MAX];

/// Rounds of the endpoint under test while the peer can restart: what was found in one is reported in the next.
const ROUNDS: usize = 3;

/// A channel with an endpoint under test and a peer that can restart.
trait Channel {
    /// Bytes of the peer's region that are no payload.
    const CONTROL: usize;

    /// Both ends, with work for the endpoint under test.
    fn new(regions: &'static [Shared; 2]) -> Self;

    /// The region that the peer writes: 0 or 1.
    fn peers_region() -> usize;

    /// Lets the endpoint under test do its work and sleep. `honest`: the peer has written no wrong
    /// word.
    fn round(&mut self, honest: bool) -> Result<(), PeerMisbehaved>;

    /// Returns a closure that creates the peer again after its region was wiped.
    fn restart(&self) -> impl FnMut() + 'static;

    /// Lets both ends work until something was carried in each direction that the interface has.
    fn works(&mut self) -> bool;
}

/// Runs one case. Returns whether the endpoint made as many loads, so that the peer has restarted.
fn run<C: Channel>(
    regions: &'static [Shared; 2],
    strike: Option<Strike>,
    at: usize,
    steps: usize,
) -> bool {
    let case = || format!("{strike:?}, restart at load {at} in {steps} steps");
    regions.iter().for_each(Shared::wipe);
    let mut channel = C::new(regions);
    let region = &regions[C::peers_region()];
    let control = C::CONTROL / 8;
    if let Some(Strike { word, change }) = strike {
        let start = 8 * word;
        let old = region.content()[start..start + 8].try_into().unwrap();
        let words = region.own().words(control).unwrap();
        words.set(word, change(u64::from_le_bytes(old)));
    }
    let loads = Rc::new(Cell::new(0));
    let count = loads.clone();
    let mut restart = channel.restart();
    let hook = move || {
        let load = count.replace(count.get() + 1);
        if load == at {
            let first = region.own().words(1).unwrap();
            first.set(0, 0);
        }
        if load == at + steps {
            region.wipe();
            restart();
        }
    };
    let mut failed = None;
    with_hook(hook, || {
        for _ in 0..ROUNDS {
            let result = channel.round(strike.is_none()).err();
            assert!(failed.is_none() || result == failed, "{}", case());
            failed = failed.or(result);
        }
    });
    let restarted = loads.get() > at + steps;
    if restarted {
        assert!(strike.is_some() || failed.is_none(), "{}", case());
        let works = failed.is_some() || channel.works();
        assert!(works, "{}", case());
        assert_eq!(channel.round(strike.is_none()).err(), failed, "{}", case());
    }
    restarted
}

fn everywhere<C: Channel>(sizes: [usize; 2]) {
    let regions: &'static [Shared; 2] = Box::leak(Box::new(sizes.map(Shared::new)));
    let strikes =
        (0..C::CONTROL / 8).flat_map(|word| CHANGES.map(|change| Some(Strike { word, change })));
    for strike in [None].into_iter().chain(strikes) {
        let steps = if strike.is_some() {
            &STEPS[..1]
        } else {
            &STEPS
        };
        for &steps in steps {
            let restarts = (0..).take_while(|&at| run::<C>(regions, strike, at, steps));
            let restarts = restarts.count();
            assert!(strike.is_some() || restarts >= 10, "{restarts} loads only");
        }
    }
}

type Slot<T> = Rc<RefCell<T>>;

fn slot<T>(value: T) -> Slot<T> {
    Rc::new(RefCell::new(value))
}

const RING: usize = 256;

const REFUSED: Result<(), Refusal> = Err(Refusal::NotAllowed);

fn streams_layout() -> streams::Layout {
    streams::Layout::new(2, RING).unwrap()
}

fn provider(regions: &[Shared; 2]) -> Provider {
    let (own, peers) = (regions[0].own(), regions[1].peers());
    Provider::new(streams_layout(), own, peers, Bell::default()).unwrap()
}

fn consumer(regions: &[Shared; 2]) -> Consumer {
    let (own, peers) = (regions[1].own(), regions[0].peers());
    Consumer::new(streams_layout(), own, peers, Bell::default()).unwrap()
}

fn opened() -> Opened {
    Opened {
        peer: "192.0.2.1:4000".parse().unwrap(),
        local_port: 80,
        token: None,
        identity: None,
        confidential: true,
    }
}

fn provider_round(provider: &mut Provider) -> Result<usize, PeerMisbehaved> {
    let mut carried = 0;
    while let Some(event) = provider.next_event()? {
        match event {
            ProviderEvent::Readable(id) => carried += provider.read(id, &mut [0; RING]),
            ProviderEvent::Listen { token, .. } => provider.answer(token, REFUSED),
            _ => {}
        }
    }
    provider.sleep();
    Ok(carried)
}

fn consumer_round(consumer: &mut Consumer, honest: bool) -> Result<usize, PeerMisbehaved> {
    let mut carried = 0;
    while let Some(event) = consumer.next_event()? {
        match event {
            ConsumerEvent::Opened(id, opened) => {
                assert!(
                    !honest || opened == self::opened(),
                    "a description that was half wiped"
                );
                consumer.write(id, b"up");
            }
            ConsumerEvent::Readable(id) => {
                let mut bytes = [0; RING];
                let read = consumer.read(id, &mut bytes);
                assert!(!honest || !bytes[..read].contains(&0), "wiped bytes");
                carried += read;
            }
            ConsumerEvent::Reset(id) | ConsumerEvent::Closed(id) => consumer.release(id),
            ConsumerEvent::Answer { result, .. } => {
                let possible = [REFUSED, Err(Refusal::Restarted)];
                assert!(!honest || possible.contains(&result), "half an answer");
            }
            _ => {}
        }
    }
    consumer.sleep();
    Ok(carried)
}

/// A connection is opened, and carries bytes both ways.
fn streams_work(provider: &mut Provider, consumer: &mut Consumer) -> bool {
    let mut carried = [0; 2];
    for _ in 0..20 {
        carried[0] += provider_round(provider).unwrap();
        if let Some(slot) = provider.free_slot() {
            let id = provider.open(slot, &opened()).unwrap();
            provider.write(id, b"down");
        }
        provider.flush();
        carried[1] += consumer_round(consumer, true).unwrap();
    }
    carried.iter().all(|&bytes| bytes > 0)
}

/// Has both meet; the consumer has asked for a port, and the provider has opened one connection of which the consumer
/// knows, and one of which it does not.
fn streams_begin(provider: &mut Provider, consumer: &mut Consumer) {
    for _ in 0..4 {
        provider_round(provider).unwrap();
        consumer_round(consumer, true).unwrap();
    }
    let id = provider.open(0, &opened()).unwrap();
    provider.write(id, b"down");
    provider.flush();
    consumer_round(consumer, true).unwrap();
    consumer.listen(80).unwrap();
    consumer.flush();
    provider.write(id, b"more");
}

struct StreamsConsumer {
    regions: &'static [Shared; 2],
    provider: Slot<Provider>,
    consumer: Consumer,
}

impl Channel for StreamsConsumer {
    const CONTROL: usize = 2048;

    fn new(regions: &'static [Shared; 2]) -> Self {
        let (mut provider, mut consumer) = (provider(regions), consumer(regions));
        streams_begin(&mut provider, &mut consumer);
        provider_round(&mut provider).unwrap();
        provider.open(1, &opened()).unwrap();
        provider.flush();
        Self {
            regions,
            provider: slot(provider),
            consumer,
        }
    }

    fn peers_region() -> usize {
        0
    }

    fn round(&mut self, honest: bool) -> Result<(), PeerMisbehaved> {
        consumer_round(&mut self.consumer, honest).map(drop)
    }

    fn restart(&self) -> impl FnMut() + 'static {
        let (regions, peer) = (self.regions, self.provider.clone());
        move || *peer.borrow_mut() = provider(regions)
    }

    fn works(&mut self) -> bool {
        streams_work(&mut self.provider.borrow_mut(), &mut self.consumer)
    }
}

struct StreamsProvider {
    regions: &'static [Shared; 2],
    provider: Provider,
    consumer: Slot<Consumer>,
}

impl Channel for StreamsProvider {
    const CONTROL: usize = 1024;

    fn new(regions: &'static [Shared; 2]) -> Self {
        let (mut provider, mut consumer) = (provider(regions), consumer(regions));
        streams_begin(&mut provider, &mut consumer);
        Self {
            regions,
            provider,
            consumer: slot(consumer),
        }
    }

    fn peers_region() -> usize {
        1
    }

    fn round(&mut self, _: bool) -> Result<(), PeerMisbehaved> {
        provider_round(&mut self.provider).map(drop)
    }

    fn restart(&self) -> impl FnMut() + 'static {
        let (regions, peer) = (self.regions, self.consumer.clone());
        move || *peer.borrow_mut() = consumer(regions)
    }

    fn works(&mut self) -> bool {
        streams_work(&mut self.provider, &mut self.consumer.borrow_mut())
    }
}

const BUFFERS: usize = 2;

fn packets_layout() -> packets::Layout {
    packets::Layout::new(BUFFERS, 128).unwrap()
}

fn driver(regions: &[Shared; 2], pool: Pool) -> Driver {
    let (own, peers) = (regions[0].own(), regions[1].peers());
    Driver::new(packets_layout(), own, peers, pool, Bell::default()).unwrap()
}

fn stack(regions: &[Shared; 2], pool: Pool) -> Stack {
    let (own, peers) = (regions[1].own(), regions[0].peers());
    Stack::new(packets_layout(), own, peers, pool, Bell::default()).unwrap()
}

/// A driver whose device loops every frame back.
struct Loopback {
    driver: Driver,
    sent: Vec<TransmitBuffer>,
}

impl Loopback {
    /// Returns how many frames were sent.
    fn round(&mut self) -> Result<usize, PeerMisbehaved> {
        let mut frames = 0;
        while let Some((buffer, length)) = self.driver.next_transmit()? {
            self.sent.push(buffer);
            if let Some(buffer) = self.driver.take_receive_buffer()? {
                self.driver.received(buffer, length);
            }
            frames += 1;
        }
        while let Some(buffer) = self.sent.pop() {
            self.driver.transmitted(buffer);
        }
        self.driver.sleep(true);
        Ok(frames)
    }
}

/// Returns how many frames came.
fn stack_round(stack: &mut Stack) -> Result<usize, PeerMisbehaved> {
    let mut frames = 0;
    while stack.receive(&mut [0; 128])?.is_some() {
        frames += 1;
    }
    for _ in 0..BUFFERS {
        if let Some(buffer) = stack.transmit_buffer() {
            stack.submit(buffer, 60);
        }
    }
    stack.sleep(true);
    Ok(frames)
}

fn packets_work(driver: &mut Loopback, stack: &mut Stack) -> bool {
    let mut frames = [0; 2];
    for _ in 0..10 {
        frames[0] += driver.round().unwrap();
        frames[1] += stack_round(stack).unwrap();
    }
    frames.iter().all(|&frames| frames > BUFFERS)
}

fn loopback(regions: &[Shared; 2]) -> Loopback {
    Loopback {
        driver: driver(regions, pool_pair(packets_layout()).0),
        sent: vec![],
    }
}

fn met(regions: &[Shared; 2]) -> (Loopback, Stack) {
    let mut driver = loopback(regions);
    let mut stack = stack(regions, pool_pair(packets_layout()).1);
    for _ in 0..4 {
        driver.round().unwrap();
        stack_round(&mut stack).unwrap();
    }
    (driver, stack)
}

struct PacketsDriver {
    regions: &'static [Shared; 2],
    driver: Loopback,
    stack: Slot<Stack>,
}

impl Channel for PacketsDriver {
    const CONTROL: usize = packets_control(false);

    fn new(regions: &'static [Shared; 2]) -> Self {
        let (driver, stack) = met(regions);
        let stack = slot(stack);
        Self {
            regions,
            driver,
            stack,
        }
    }

    fn peers_region() -> usize {
        1
    }

    fn round(&mut self, _: bool) -> Result<(), PeerMisbehaved> {
        self.driver.round().map(drop)
    }

    fn restart(&self) -> impl FnMut() + 'static {
        let (regions, peer) = (self.regions, self.stack.clone());
        move || *peer.borrow_mut() = stack(regions, pool_pair(packets_layout()).1)
    }

    fn works(&mut self) -> bool {
        packets_work(&mut self.driver, &mut self.stack.borrow_mut())
    }
}

struct PacketsStack {
    regions: &'static [Shared; 2],
    driver: Slot<Loopback>,
    stack: Stack,
}

const fn packets_control(provider: bool) -> usize {
    match packets::Layout::new(BUFFERS, 128) {
        Ok(layout) if provider => layout.provider_size(),
        Ok(layout) => layout.consumer_size(),
        Err(_) => 0,
    }
}

impl Channel for PacketsStack {
    const CONTROL: usize = packets_control(true);

    fn new(regions: &'static [Shared; 2]) -> Self {
        let (mut driver, stack) = met(regions);
        driver.round().unwrap();
        let driver = slot(driver);
        Self {
            regions,
            driver,
            stack,
        }
    }

    fn peers_region() -> usize {
        0
    }

    /// Frames that come are the only sign of a failure that a stack's user gets.
    fn round(&mut self, _: bool) -> Result<(), PeerMisbehaved> {
        stack_round(&mut self.stack)?;
        self.stack.receive(&mut [0; 128]).map(drop)
    }

    fn restart(&self) -> impl FnMut() + 'static {
        let (regions, peer) = (self.regions, self.driver.clone());
        move || *peer.borrow_mut() = loopback(regions)
    }

    fn works(&mut self) -> bool {
        packets_work(&mut self.driver.borrow_mut(), &mut self.stack)
    }
}

fn reader(regions: &[Shared; 2]) -> log::Reader {
    log::Reader::new(regions[1].own(), regions[0].peers()).unwrap()
}

fn writer(regions: &[Shared; 2]) -> log::Writer {
    log::Writer::new(regions[0].own(), regions[1].peers(), silent()).unwrap()
}

fn silent() -> impl Notify + 'static {
    || ()
}

const TEXT: &str = "a line of the log";

/// Returns how many lines came.
fn read_lines(reader: &mut log::Reader) -> Result<usize, PeerMisbehaved> {
    let (mut lines, mut text) = (0, String::new());
    while reader.next(&mut text)?.is_some() {
        lines += 1;
    }
    reader.sleep();
    Ok(lines)
}

fn log_works(writer: &mut log::Writer, reader: &mut log::Reader) -> bool {
    let mut lines = 0;
    for _ in 0..4 {
        writer.write(Level::Error, 0, TEXT);
        lines += read_lines(reader).unwrap();
    }
    lines > 0
}

struct LogReader {
    regions: &'static [Shared; 2],
    writer: Slot<log::Writer>,
    reader: log::Reader,
}

impl Channel for LogReader {
    /// The link, the bell, the tail and the first lines.
    const CONTROL: usize = 8 * 48;

    fn new(regions: &'static [Shared; 2]) -> Self {
        let (mut writer, mut reader) = (writer(regions), reader(regions));
        assert!(log_works(&mut writer, &mut reader));
        writer.write(Level::Error, 0, TEXT);
        writer.write(Level::Error, 0, TEXT);
        Self {
            regions,
            writer: slot(writer),
            reader,
        }
    }

    fn peers_region() -> usize {
        0
    }

    fn round(&mut self, _: bool) -> Result<(), PeerMisbehaved> {
        read_lines(&mut self.reader).map(drop)
    }

    fn restart(&self) -> impl FnMut() + 'static {
        let (regions, peer) = (self.regions, self.writer.clone());
        move || *peer.borrow_mut() = writer(regions)
    }

    fn works(&mut self) -> bool {
        log_works(&mut self.writer.borrow_mut(), &mut self.reader)
    }
}

struct LogWriter {
    regions: &'static [Shared; 2],
    writer: log::Writer,
    reader: Slot<log::Reader>,
}

impl Channel for LogWriter {
    const CONTROL: usize = log::PROVIDER_SIZE;

    fn new(regions: &'static [Shared; 2]) -> Self {
        let (mut writer, mut reader) = (writer(regions), reader(regions));
        assert!(log_works(&mut writer, &mut reader));
        let reader = slot(reader);
        Self {
            regions,
            writer,
            reader,
        }
    }

    fn peers_region() -> usize {
        1
    }

    fn round(&mut self, _: bool) -> Result<(), PeerMisbehaved> {
        self.writer.write(Level::Error, 0, TEXT);
        self.writer.misbehaved().map_or(Ok(()), Err)
    }

    fn restart(&self) -> impl FnMut() + 'static {
        let (regions, peer) = (self.regions, self.reader.clone());
        move || *peer.borrow_mut() = reader(regions)
    }

    fn works(&mut self) -> bool {
        log_works(&mut self.writer, &mut self.reader.borrow_mut())
    }
}

#[test]
fn a_stream_consumer_survives_its_provider() {
    let layout = streams_layout();
    everywhere::<StreamsConsumer>([layout.provider_size(), layout.consumer_size()]);
}

#[test]
fn a_stream_provider_survives_its_consumer() {
    let layout = streams_layout();
    everywhere::<StreamsProvider>([layout.provider_size(), layout.consumer_size()]);
}

#[test]
fn a_network_driver_survives_its_stack() {
    let layout = packets_layout();
    everywhere::<PacketsDriver>([layout.provider_size(), layout.consumer_size()]);
}

#[test]
fn a_network_stack_survives_its_driver() {
    let layout = packets_layout();
    everywhere::<PacketsStack>([layout.provider_size(), layout.consumer_size()]);
}

#[test]
fn a_log_reader_survives_its_writer() {
    everywhere::<LogReader>([log::CONSUMER_SIZE, log::PROVIDER_SIZE]);
}

#[test]
fn a_log_writer_survives_its_reader() {
    everywhere::<LogWriter>([log::CONSUMER_SIZE, log::PROVIDER_SIZE]);
}

/// Bytes are not given to the user if they may have been wiped before they were copied: the port cannot know when it was.
#[test]
fn a_read_during_which_the_peer_restarts_gives_nothing() {
    let layout = streams_layout();
    let sizes = [layout.provider_size(), layout.consumer_size()];
    let regions: &'static [Shared; 2] = Box::leak(Box::new(sizes.map(Shared::new)));
    for at in 0.. {
        regions.iter().for_each(Shared::wipe);
        let mut channel = StreamsProvider::new(regions);
        let id = channel.provider.id(0).unwrap();
        let loads = Rc::new(Cell::new(0));
        let count = loads.clone();
        let mut restart = channel.restart();
        let hook = move || {
            if count.replace(count.get() + 1) == at {
                regions[1].wipe();
                restart();
            }
        };
        let read = with_hook(hook, || channel.provider.read(id, &mut [0; RING]));
        if loads.get() <= at {
            assert!(at > 1 && read == 2, "{at} loads, {read} bytes");
            break;
        }
        assert_eq!(read, 0, "restart at load {at}");
    }
}
