//! A bus of fakes: functions with sizes, capabilities and lies of their own.

use std::collections::BTreeMap;

use registers::Ports;

use crate::{Address, Assignment, Bar, Identity, PciError, Space, Virtio, Window, set_up, virtio};

const NET: Address = Address(2 << 3);
const DISK: Address = Address(31 << 3 | 2);
const BRIDGE: Address = Address(1 << 3);
const BEHIND: Address = Address(5 << 8);
const NET_BAR: Bar = Bar {
    index: 4,
    address: 0xfe00_0000,
    size: 0x4000,
};

#[derive(Clone)]
struct Device {
    words: [u32; 64],
    /// Bits of each BAR that keep what is written.
    bar_masks: [u32; 6],
}

#[derive(Default)]
struct Bus {
    devices: BTreeMap<u16, Device>,
    selected: u32,
}

impl Ports for &mut Bus {
    fn read32(&mut self, offset: u16) -> u32 {
        assert_eq!(offset, 4);
        let address = (self.selected >> 8) as u16;
        let word = (self.selected & 0xff) as usize / 4;
        self.devices
            .get(&address)
            .map_or(u32::MAX, |device| device.words[word])
    }
    fn write32(&mut self, offset: u16, value: u32) {
        if offset == 0 {
            assert_eq!(value & 0x8000_0003, 0x8000_0000);
            self.selected = value;
            return;
        }
        let address = (self.selected >> 8) as u16;
        let word = (self.selected & 0xff) as usize / 4;
        let device = self.devices.get_mut(&address).expect("a write to nobody");
        device.words[word] = match word {
            1 => device.words[1] & 0xffff_0000 | value & 0xffff,
            4..=9 if device.words[3] >> 16 & 0x7f == 0 => {
                let mask = device.bar_masks[word - 4];
                value & mask | device.words[word] & !mask
            }
            _ => value,
        };
    }
    fn read8(&mut self, _: u16) -> u8 {
        unreachable!("configuration space is read by words")
    }
    fn write8(&mut self, _: u16, _: u8) {
        unreachable!("configuration space is written by words")
    }
}

fn device(vendor_and_device: u32, class: u32) -> Device {
    let mut words = [0; 64];
    words[0] = vendor_and_device;
    words[1] = 0b111;
    words[2] = class << 24;
    Device {
        words,
        bar_masks: [0; 6],
    }
}

/// A virtio network device as QEMU's: one 64-bit BAR of 16 KiB, four structures of a page each.
fn network() -> Device {
    let mut device = device(0x1041_1af4, 2);
    device.words[8] = 0xc;
    device.bar_masks[4] = 0xffff_c000;
    device.bar_masks[5] = 0xffff_ffff;
    device.words[1] |= 1 << 20;
    device.words[13] = 0x40;
    // Each: identifier 9, the next one's offset, length, kind; BAR; offset; length; multiplier.
    let kinds = [
        (0x40, 0x50, 16, 1),
        (0x50, 0x60, 16, 3),
        (0x60, 0x70, 16, 4),
        (0x70, 0, 20, 2),
    ];
    for (page, (at, next, length, kind)) in kinds.into_iter().enumerate() {
        let words = &mut device.words[at / 4..];
        words[0] = u32::from_le_bytes([9, next, length, kind]);
        words[1] = 4;
        words[2] = page as u32 * 0x1000;
        words[3] = 0x1000;
        if kind == 2 {
            words[4] = 4;
        }
    }
    device
}

fn bus_with(network: Device) -> Bus {
    let mut bus = Bus::default();
    bus.devices.insert(0, device(0x29c0_8086, 6));
    bus.devices.insert(NET.0, network);
    bus.devices.insert(31 << 3, device(0x2918_8086, 6));
    bus.devices.get_mut(&(31 << 3)).unwrap().words[3] = 0x80 << 16;
    bus.devices.insert(DISK.0, device(0x2922_8086, 1));
    let mut bridge = device(0x0001_1b36, 6);
    bridge.words[3] = 1 << 16;
    bridge.words[6] = 0x05_05_00;
    bus.devices.insert(BRIDGE.0, bridge);
    bus.devices.insert(BEHIND.0, device(0x1234_5678, 2));
    bus
}

fn set_up_net(bus: &mut Bus, bars: &[Bar]) -> Result<Identity, PciError> {
    let mut result = None;
    let assignments = [Assignment { address: NET, bars }];
    set_up(&mut Space::new(bus), &assignments, |index, done| {
        assert_eq!(index, 0);
        result = Some(done);
    });
    result.expect("every assignment is reported")
}

fn structures(bus: &mut Bus, bars: &[Bar]) -> Virtio {
    let mut space = Space::new(bus);
    virtio(|offset| space.read(NET, offset), bars)
}

fn command(bus: &Bus, address: Address) -> u32 {
    bus.devices[&address.0].words[1] & 0xffff
}

#[test]
fn only_the_driven_function_masters_the_bus() {
    let mut bus = bus_with(network());
    let identity = set_up_net(&mut bus, &[NET_BAR]).unwrap();
    assert_eq!(
        identity,
        Identity {
            identity: 0x1041_1af4,
            class: 2 << 24
        }
    );
    let window = |offset| {
        Some(Window {
            bar: 4,
            offset,
            length: 0x1000,
        })
    };
    let expected = Virtio {
        common: window(0),
        isr: window(0x1000),
        device: window(0x2000),
        notify: window(0x3000),
        notify_multiplier: 4,
    };
    assert_eq!(structures(&mut bus, &[NET_BAR]), expected);
    assert_eq!(bus.devices[&NET.0].words[8], 0xfe00_000c);
    assert_eq!(command(&bus, NET), 0b111);
    // The disk's controller and the card behind the bridge are off; bridges stay as they were.
    assert_eq!(command(&bus, DISK), 0b001);
    assert_eq!(command(&bus, BEHIND), 0b001);
    assert_eq!(command(&bus, BRIDGE), 0b111);
    assert_eq!(command(&bus, Address(31 << 3)), 0b111);
}

#[test]
fn a_function_that_cannot_be_set_up_stays_off() {
    let wrong_size = Bar {
        size: 0x8000,
        ..NET_BAR
    };
    let unaligned = Bar {
        address: 0xfe00_2000,
        ..NET_BAR
    };
    let at_the_end = Bar {
        address: !0x3fff,
        ..NET_BAR
    };
    let no_bar = |index| Bar { index, ..NET_BAR };
    for (bar, error) in [
        (wrong_size, PciError::WrongSize(4, 0x4000)),
        (unaligned, PciError::BadAddress(4)),
        (no_bar(0), PciError::NoMemoryBar(0)),
        (no_bar(6), PciError::NoMemoryBar(6)),
        (no_bar(255), PciError::NoMemoryBar(255)),
    ] {
        let mut bus = bus_with(network());
        assert_eq!(set_up_net(&mut bus, &[bar]), Err(error));
        assert_eq!(command(&bus, NET), 0b001);
    }
    let mut bus = bus_with(network());
    assert!(set_up_net(&mut bus, &[at_the_end]).is_ok());
    let mut bus = bus_with(network());
    bus.devices.remove(&NET.0);
    assert_eq!(set_up_net(&mut bus, &[NET_BAR]), Err(PciError::Absent));
    let mut bus = bus_with(network());
    assert_eq!(
        set_up_net(&mut bus, &[NET_BAR; 7]),
        Err(PciError::TooManyBars)
    );
}

#[test]
fn a_bar_that_only_pretends_to_keep_its_address_is_refused() {
    let mut stuck = network();
    stuck.bar_masks[5] = 0;
    stuck.words[9] = 0xffff_ffff;
    let mut bus = bus_with(stuck);
    assert_eq!(set_up_net(&mut bus, &[NET_BAR]), Err(PciError::Stuck(4)));
    let mut holes = network();
    holes.bar_masks[4] = 0xfff0_c000;
    let mut bus = bus_with(holes);
    assert_eq!(
        set_up_net(&mut bus, &[NET_BAR]),
        Err(PciError::NoMemoryBar(4))
    );
}

#[test]
fn a_bar_left_by_firmware_over_a_device_is_refused() {
    let mut device = network();
    device.bar_masks[1] = 0xffff_f000;
    device.words[5] = 0xfe00_3000;
    let mut bus = bus_with(device.clone());
    assert_eq!(set_up_net(&mut bus, &[NET_BAR]), Err(PciError::Overlap(1)));
    device.words[5] = 0xfe00_4000;
    assert!(set_up_net(&mut bus_with(device), &[NET_BAR]).is_ok());
}

#[test]
fn message_interrupts_are_switched_off() {
    let mut device = network();
    device.words[0x70 / 4] = u32::from_le_bytes([9, 0x90, 20, 2]);
    device.words[0x90 / 4] = 0x8003_0011;
    let mut bus = bus_with(device);
    set_up_net(&mut bus, &[NET_BAR]).unwrap();
    assert_eq!(bus.devices[&NET.0].words[0x90 / 4], 0x0003_0011);
}

#[test]
fn lying_capabilities_are_left_out() {
    let mut device = network();
    // The list runs in a circle, one structure sticks out, one is in no BAR, one is empty, one too short.
    device.words[0x70 / 4] = u32::from_le_bytes([9, 0x40, 16, 2]);
    device.words[0x40 / 4 + 2] = 0xffff_f000;
    device.words[0x50 / 4 + 1] = 3;
    device.words[0x60 / 4 + 3] = 0;
    let mut bus = bus_with(device);
    assert_eq!(structures(&mut bus, &[NET_BAR]), Virtio::default());
}

proptest::proptest! {
    #[test]
    fn arbitrary_configuration_space_is_survived(
        words in proptest::collection::vec(proptest::num::u32::ANY, 64),
        masks in proptest::array::uniform6(proptest::num::u32::ANY),
        index in 0u8..8,
    ) {
        let mut device = network();
        device.words[1..].copy_from_slice(&words[1..]);
        device.bar_masks = masks;
        let mut bus = bus_with(device);
        let bars = [Bar { index, ..NET_BAR }];
        let _ = set_up_net(&mut bus, &bars);
        let found = structures(&mut bus, &bars);
        for window in [found.common, found.notify, found.isr, found.device].into_iter().flatten() {
            proptest::prop_assert_eq!(window.bar, index);
            proptest::prop_assert!(window.offset as u64 + window.length as u64 <= NET_BAR.size);
        }
    }
}
