//! Heap use of the endpoints of a channel.
#![cfg(not(loom))]

use channel::streams::{Consumer, HEAP_PER_CONNECTION, Layout, Provider};
use channel::testing::{Bell, region_pair};

#[global_allocator]
static HEAP: heap_meter::Meter = heap_meter::Meter;

/// Returns the heap bytes of both endpoints with this number of connections.
fn heap(connections: usize) -> [isize; 2] {
    let layout = Layout::new(connections, 256).unwrap();
    let (provider_own, consumer_peer) = region_pair(layout.provider_size());
    let (consumer_own, provider_peer) = region_pair(layout.consumer_size());
    let provider = heap_meter::measure(|| {
        Provider::new(layout, provider_own, provider_peer, Bell::default()).unwrap()
    });
    let consumer = heap_meter::measure(|| {
        Consumer::new(layout, consumer_own, consumer_peer, Bell::default()).unwrap()
    });
    [provider.1.most, consumer.1.most]
}

#[test]
fn a_stream_takes_at_most_the_stated_heap_for_each_connection() {
    let (few, many) = (heap(256), heap(1024));
    for (few, many) in few.into_iter().zip(many) {
        let each = (many - few) / (1024 - 256);
        let stated = HEAP_PER_CONNECTION as isize;
        assert!((stated * 3 / 4..=stated).contains(&each), "{each} bytes");
    }
}
