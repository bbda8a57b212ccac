//! Both ends of a `packets` connection against each other.
#![cfg(not(loom))]

use channel::packets::{Buffer, Driver, HEADROOM, Layout, Link, Stack};
use channel::testing::{Bell, packets_pair};

const COUNT: usize = 4;

fn pair() -> (Driver, Stack, [Bell; 2]) {
    packets_pair(Layout::new(COUNT, 256).unwrap()).unwrap()
}

/// Puts a frame into a buffer as a device does.
fn fill(driver: &Driver, buffer: &impl Buffer, frame: &[u8]) {
    let memory = driver.memory(buffer);
    assert_eq!(memory.len(), 256);
    // SAFETY: the pool outlives the test and nothing else uses the buffer now.
    unsafe {
        let place = memory.cast::<u8>().add(HEADROOM);
        core::ptr::copy_nonoverlapping(frame.as_ptr(), place.as_ptr(), frame.len());
    }
}

fn sent(driver: &Driver, buffer: &impl Buffer, length: usize) -> Vec<u8> {
    // SAFETY: as in `fill`.
    unsafe {
        let place = driver.memory(buffer).cast::<u8>().add(HEADROOM);
        core::slice::from_raw_parts(place.as_ptr(), length).to_vec()
    }
}

#[test]
fn frames_travel_both_ways_more_often_than_there_are_buffers() {
    let (mut driver, mut stack, _) = pair();
    let mut frame = [0; 256];
    for round in 0..3 * COUNT as u8 {
        let buffer = driver.take_receive_buffer().unwrap().unwrap();
        fill(&driver, &buffer, &[round; 60]);
        driver.received(buffer, 60);
        assert_eq!(stack.receive(&mut frame), Ok(Some(60)));
        assert_eq!(frame[..60], [round; 60]);

        let mut buffer = stack.transmit_buffer().unwrap();
        stack.frame_mut(&mut buffer)[..70].fill(round);
        stack.submit(buffer, 70);
        let (buffer, length) = driver.next_transmit().unwrap().unwrap();
        assert_eq!(sent(&driver, &buffer, length), [round; 70]);
        driver.transmitted(buffer);
    }
    assert_eq!(stack.receive(&mut frame), Ok(None));
}

#[test]
fn each_side_runs_out_of_buffers_and_gets_them_back() {
    let (mut driver, mut stack, _) = pair();
    let held: Vec<_> = (0..COUNT)
        .map(|_| driver.take_receive_buffer().unwrap().unwrap())
        .collect();
    assert_eq!(driver.take_receive_buffer(), Ok(None));
    let offsets: Vec<_> = held.iter().map(|buffer| driver.offset(buffer)).collect();
    assert_eq!(offsets, [0, 256, 512, 768]);

    for _ in 0..COUNT {
        let buffer = stack.transmit_buffer().unwrap();
        stack.submit(buffer, 1);
    }
    assert!(stack.transmit_buffer().is_none());
    let (buffer, _) = driver.next_transmit().unwrap().unwrap();
    driver.transmitted(buffer);
    assert_eq!(stack.free_transmit_buffers(), 1);
}

#[test]
fn a_frame_longer_than_the_private_buffer_is_cut() {
    let (mut driver, mut stack, _) = pair();
    let buffer = driver.take_receive_buffer().unwrap().unwrap();
    driver.received(buffer, 9999);
    assert_eq!(stack.receive(&mut [0; 256]), Ok(Some(240)));
    let buffer = driver.take_receive_buffer().unwrap().unwrap();
    driver.received(buffer, 100);
    assert_eq!(stack.receive(&mut [0; 64]), Ok(Some(64)));
}

#[test]
fn returned_buffers_wake_only_a_side_that_wants_them() {
    let (mut driver, mut stack, [driver_rings, stack_rings]) = pair();
    let buffer = driver.take_receive_buffer().unwrap().unwrap();
    driver.received(buffer, 60);
    assert!(driver.sleep(false));
    driver_rings.take();
    assert_eq!(stack.receive(&mut [0; 256]), Ok(Some(60)));
    assert!(stack.sleep(false));
    assert_eq!(stack_rings.take(), 0, "the driver has buffers enough");

    let buffer = stack.transmit_buffer().unwrap();
    stack.submit(buffer, 60);
    assert!(stack.sleep(true));
    assert_eq!(stack_rings.take(), 1);
    let (buffer, _) = driver.next_transmit().unwrap().unwrap();
    driver.transmitted(buffer);
    driver.flush();
    assert_eq!(driver_rings.take(), 1, "the stack waits for room");
}

#[test]
fn what_comes_before_the_first_look_is_notified() {
    let (mut driver, _, [driver_rings, _]) = pair();
    let buffer = driver.take_receive_buffer().unwrap().unwrap();
    driver.received(buffer, 60);
    driver.flush();
    assert_eq!(driver_rings.take(), 1);
}

#[test]
fn a_frame_that_comes_while_lying_down_is_seen() {
    let (mut driver, mut stack, [driver_rings, _]) = pair();
    assert_eq!(stack.receive(&mut [0; 256]), Ok(None));
    let buffer = driver.take_receive_buffer().unwrap().unwrap();
    driver.received(buffer, 60);
    driver.flush();
    assert_eq!(driver_rings.take(), 0);
    assert!(!stack.sleep(false));
    stack.receive(&mut [0; 256]).unwrap();
    assert!(stack.sleep(false));
}

#[test]
fn the_link_is_told_and_wakes_the_stack() {
    let (mut driver, mut stack, [driver_rings, _]) = pair();
    assert_eq!(stack.link(), None);
    assert!(stack.sleep(false));
    let link = Link {
        address: [0x52, 0x54, 0, 0x12, 0x34, 0xff],
        up: true,
        mtu: 1500,
    };
    driver.set_link(link);
    driver.flush();
    assert_eq!(driver_rings.take(), 1);
    assert_eq!(stack.link(), Some(link));
    driver.set_link(Link { up: false, ..link });
    assert!(!stack.sleep(false), "a change is news");
    assert_eq!(stack.link(), Some(Link { up: false, ..link }));
}

#[test]
fn layouts_out_of_range_are_refused() {
    for (buffers, size) in [
        (3, 256),
        (1, 256),
        (2048, 256),
        (4, 100),
        (4, 64),
        (4, 1 << 17),
    ] {
        assert!(Layout::new(buffers, size).is_err());
    }
    assert_eq!(Layout::new(128, 2048).unwrap().pool_size(), 512 * 1024);
}
