//! Every interleaving of both ends, as loom finds them: memory order and lost wake-ups.
//!
//! A side sleeps only on its notification, so a wake-up that is lost is a deadlock, which loom reports.
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p channel --release --test loom --target-dir target/loom`.
#![cfg(loom)]

use channel::log::{self, Level};
use channel::memory::{OwnRegion, PeerRegion};
use channel::packets::{self, Driver, Link, Stack};
use channel::streams::{self, Consumer, ConsumerEvent, Opened, Provider, ProviderEvent};
use channel::testing::{meet, pool_pair, region_pair};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// A notification object: signals coalesce until they are waited for.
#[derive(Clone)]
struct Notification(Arc<(Mutex<bool>, Condvar)>);

impl Notification {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    fn wait(&self) {
        let (flag, signal) = &*self.0;
        let mut set = flag.lock().unwrap();
        while !*set {
            set = signal.wait(set).unwrap();
        }
        *set = false;
    }
}

impl channel::Notify for Notification {
    fn notify(&self) {
        let (flag, signal) = &*self.0;
        *flag.lock().unwrap() = true;
        signal.notify_one();
    }
}

/// The regions of both sides: the first side's own and peer's, the second's own and peer's.
fn regions(first: usize, second: usize) -> ((OwnRegion, PeerRegion), (OwnRegion, PeerRegion)) {
    let (first_own, second_peer) = region_pair(first);
    let (second_own, first_peer) = region_pair(second);
    ((first_own, first_peer), (second_own, second_peer))
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // Three preemptions already cover every pair of store and load; more take hours.
    builder.preemption_bound.get_or_insert(3);
    builder.check(model);
}

/// Text travels in words that loom watches, so a stale read is a wrong line.
#[test]
fn log_lines_arrive_whole() {
    check(|| {
        let (writer, reader) = regions(log::CONSUMER_SIZE, log::PROVIDER_SIZE);
        let wake = Notification::new();
        let mut writer = log::Writer::new(writer.0, writer.1, wake.clone()).unwrap();
        let mut reader = log::Reader::new(reader.0, reader.1).unwrap();
        let thread = thread::spawn(move || {
            for line in ["one", "second"] {
                writer.write(Level::Error, line.len() as u64, line);
            }
        });
        let mut text = String::new();
        let mut got = vec![];
        while got.len() < 2 {
            while let Some(line) = reader.next(&mut text).unwrap() {
                assert_eq!(line.time as usize, text.len());
                got.push(text.clone());
            }
            if got.len() < 2 && reader.sleep() {
                wake.wait();
            }
        }
        assert_eq!(got, ["one", "second"]);
        thread.join().unwrap();
    });
}

struct Streams {
    provider: Provider,
    consumer: Consumer,
    /// What wakes the provider, and the consumer.
    wake_provider: Notification,
    wake_consumer: Notification,
}

const RING: usize = 256;

fn streams() -> Streams {
    let layout = streams::Layout::new(1, RING).unwrap();
    let (first, second) = regions(layout.provider_size(), layout.consumer_size());
    let (wake_provider, wake_consumer) = (Notification::new(), Notification::new());
    let mut provider = Provider::new(layout, first.0, first.1, wake_consumer.clone()).unwrap();
    let mut consumer = Consumer::new(layout, second.0, second.1, wake_provider.clone()).unwrap();
    meet(&mut provider, &mut consumer);
    Streams {
        provider,
        consumer,
        wake_provider,
        wake_consumer,
    }
}

fn opened() -> Opened {
    Opened {
        peer: "192.0.2.1:1".parse().unwrap(),
        local_port: 7,
        token: None,
        identity: None,
        confidential: false,
    }
}

/// The provider writes more than the ring holds and ends; the consumer reads it all and releases; the provider
/// learns of that.
#[test]
fn a_stream_under_back_pressure_comes_to_its_end() {
    const TOTAL: usize = RING / 2 + RING + 10;
    check(|| {
        let Streams {
            mut provider,
            mut consumer,
            wake_provider,
            wake_consumer,
        } = streams();
        let thread = thread::spawn(move || {
            let id = provider.open(0, &opened()).unwrap();
            let mut left = TOTAL - provider.write(id, &[0; RING / 2]);
            provider.flush();
            left -= provider.write(id, &[0; TOTAL][..left]);
            loop {
                while let Some(event) = provider.next_event().unwrap() {
                    match event {
                        ProviderEvent::Writable(id) => {
                            left -= provider.write(id, &[0; TOTAL][..left]);
                            if left == 0 {
                                provider.closed(id);
                            }
                        }
                        ProviderEvent::Released(_) => return,
                        _ => {}
                    }
                }
                if provider.sleep() {
                    wake_provider.wait();
                }
            }
        });
        let mut got = 0;
        'all: loop {
            while let Some(event) = consumer.next_event().unwrap() {
                match event {
                    ConsumerEvent::Readable(id) => got += consumer.read(id, &mut [0; TOTAL]),
                    ConsumerEvent::Closed(id) => {
                        assert!(consumer.at_end(id));
                        consumer.release(id);
                        consumer.flush();
                        break 'all;
                    }
                    _ => {}
                }
            }
            if consumer.sleep() {
                wake_consumer.wait();
            }
        }
        assert_eq!(got, TOTAL);
        thread.join().unwrap();
    });
}

/// The consumer writes twice, more than the ring holds; the provider takes what it finds, and restarts the ring whenever it holds nothing.
#[test]
fn a_restart_loses_neither_bytes_nor_wake_ups() {
    const TOTAL: usize = RING + 10;
    check(|| {
        let Streams {
            mut provider,
            mut consumer,
            wake_provider,
            wake_consumer,
        } = streams();
        let id = provider.open(0, &opened()).unwrap();
        provider.flush();
        let thread = thread::spawn(move || {
            let mut left = TOTAL;
            loop {
                while let Some(event) = consumer.next_event().unwrap() {
                    match event {
                        ConsumerEvent::Opened(id, _) => {
                            left -= consumer.write(id, b"first");
                            consumer.flush();
                            left -= consumer.write(id, &[0; TOTAL][..left]);
                        }
                        ConsumerEvent::Writable(id) => {
                            left -= consumer.write(id, &[0; TOTAL][..left]);
                            consumer.close(id);
                        }
                        ConsumerEvent::Reset(_) => return,
                        _ => {}
                    }
                }
                if consumer.sleep() {
                    wake_consumer.wait();
                }
            }
        });
        let mut got = 0;
        while !provider.at_end(id) {
            while provider.next_event().unwrap().is_some() {
                let bytes = provider.readable(id);
                got += provider.take(id, bytes);
                provider.free(id, bytes);
                provider.restart(id);
            }
            if provider.sleep() && !provider.at_end(id) {
                wake_provider.wait();
            }
        }
        assert_eq!(got, TOTAL);
        provider.reset(id);
        provider.flush();
        thread.join().unwrap();
    });
}

struct Packets {
    driver: Driver,
    stack: Stack,
    wake_driver: Notification,
    wake_stack: Notification,
}

fn packets() -> Packets {
    let layout = packets::Layout::new(2, 128).unwrap();
    let (first, second) = regions(layout.provider_size(), layout.consumer_size());
    let pools = pool_pair(layout);
    let (wake_driver, wake_stack) = (Notification::new(), Notification::new());
    let mut driver = Driver::new(layout, first.0, first.1, pools.0, wake_stack.clone()).unwrap();
    let mut stack = Stack::new(layout, second.0, second.1, pools.1, wake_driver.clone()).unwrap();
    while !(driver.sleep(false) & stack.sleep(false)) {
        assert_eq!(driver.next_transmit(), Ok(None));
        assert_eq!(stack.link(), None);
    }
    Packets {
        driver,
        stack,
        wake_driver,
        wake_stack,
    }
}

/// Neither end has met the other; they join each other, and a frame is sent once the stack knows of the link.
#[test]
fn two_ends_of_a_wire_meet() {
    const LINK: Link = Link {
        address: [2, 0, 0, 0, 0, 1],
        up: true,
        mtu: 100,
    };
    check(|| {
        let layout = packets::Layout::new(2, 128).unwrap();
        let (first, second) = regions(layout.provider_size(), layout.consumer_size());
        let pools = pool_pair(layout);
        let (wake_driver, wake_stack) = (Notification::new(), Notification::new());
        let (rings, waits) = (wake_driver.clone(), wake_stack.clone());
        let mut driver = Driver::new(layout, first.0, first.1, pools.0, wake_stack).unwrap();
        let mut stack = Stack::new(layout, second.0, second.1, pools.1, rings).unwrap();
        let thread = thread::spawn(move || {
            while stack.link().is_none() {
                if stack.sleep(false) {
                    waits.wait();
                }
            }
            let buffer = stack.transmit_buffer().unwrap();
            stack.submit(buffer, 60);
            stack.flush();
        });
        driver.set_link(LINK);
        loop {
            match driver.next_transmit().unwrap() {
                Some((_, length)) => {
                    assert_eq!(length, 60);
                    break;
                }
                None if driver.sleep(false) => wake_driver.wait(),
                None => {}
            }
        }
        thread.join().unwrap();
    });
}

/// The driver receives one frame more than there are buffers, and so waits for one to come back.
#[test]
fn received_frames_and_returned_buffers_wake_the_other_side() {
    check(|| {
        let Packets {
            mut driver,
            mut stack,
            wake_driver,
            wake_stack,
        } = packets();
        let thread = thread::spawn(move || {
            for length in [60, 61, 62] {
                let buffer = loop {
                    match driver.take_receive_buffer().unwrap() {
                        Some(buffer) => break buffer,
                        None if driver.sleep(true) => wake_driver.wait(),
                        None => {}
                    }
                };
                driver.received(buffer, length);
            }
            driver.flush();
        });
        for length in [60, 61, 62] {
            loop {
                match stack.receive(&mut [0; 128]).unwrap() {
                    Some(received) => {
                        assert_eq!(received, length);
                        break;
                    }
                    None if stack.sleep(false) => wake_stack.wait(),
                    None => {}
                }
            }
        }
        stack.flush();
        thread.join().unwrap();
    });
}

/// The stack sends one frame more than there are buffers, and so waits for one to come back.
#[test]
fn sent_frames_and_returned_buffers_wake_the_other_side() {
    check(|| {
        let Packets {
            mut driver,
            mut stack,
            wake_driver,
            wake_stack,
        } = packets();
        let thread = thread::spawn(move || {
            for length in [60, 61, 62] {
                let buffer = loop {
                    match stack.transmit_buffer() {
                        Some(buffer) => break buffer,
                        None if stack.sleep(true) => wake_stack.wait(),
                        None => {}
                    }
                };
                stack.submit(buffer, length);
            }
            stack.flush();
        });
        for length in [60, 61, 62] {
            loop {
                match driver.next_transmit().unwrap() {
                    Some((buffer, sent)) => {
                        assert_eq!(sent, length);
                        driver.transmitted(buffer);
                        break;
                    }
                    None if driver.sleep(false) => wake_driver.wait(),
                    None => {}
                }
            }
        }
        driver.flush();
        thread.join().unwrap();
    });
}
