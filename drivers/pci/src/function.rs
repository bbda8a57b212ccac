//! What a driver has to know of its function (section numbers: PCI 3.0).

/// The most BARs that a function has (section 6.2.5).
pub const MAX_BARS: usize = 6;

const CAPABILITY_VENDOR: u8 = 0x09;
/// Bytes of a virtio capability, and of the one for notifications (virtio 1.2, sections 4.1.4 and 4.1.4.4).
const VIRTIO_LENGTH: u8 = 16;
const VIRTIO_NOTIFY_LENGTH: u8 = 20;

/// The command's word, whose upper half is the status.
const STATUS: u8 = 0x04;
const STATUS_CAPABILITIES: u32 = 1 << 20;
const CAPABILITIES: u8 = 0x34;
/// Capabilities begin behind the header and take 4 bytes at least: more than these cannot be.
const MAX_CAPABILITIES: usize = (256 - 64) / 4;
const FIRST_CAPABILITY: u8 = 0x40;
const LAST_WORD: u8 = 0xfc;

/// A base address register (BAR): memory of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// The register, 0 to 5.
    pub index: u8,
    /// Physical address.
    pub address: u64,
    /// Size in bytes, a power of two.
    pub size: u64,
}

impl Bar {
    /// Whether two BARs have an address in common.
    pub(crate) fn overlaps(&self, other: &Bar) -> bool {
        self.address < other.address.saturating_add(other.size)
            && other.address < self.address.saturating_add(self.size)
    }
}

/// The register structures of a virtio device (virtio 1.2, section 4.1.4). Each lies inside a BAR that the
/// board places; one that does not is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Virtio {
    /// Common configuration.
    pub common: Option<Window>,
    /// Notifications.
    pub notify: Option<Window>,
    /// Bytes between the places of notification of two queues, times the queue's offset.
    pub notify_multiplier: u32,
    /// Interrupt status.
    pub isr: Option<Window>,
    /// Configuration of this kind of device.
    pub device: Option<Window>,
}

/// A part of a BAR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The BAR, 0 to 5.
    pub bar: u8,
    /// Offset in it, in bytes.
    pub offset: u32,
    /// Length in bytes.
    pub length: u32,
}

/// Finds the register structures of a virtio device whose configuration space `read` reads by words, and
/// whose BARs are `bars`.
///
/// The first structure of a kind counts; what is not understood is passed over (virtio 1.2, section 4.1.4.1).
pub fn virtio(mut read: impl FnMut(u8) -> u32, bars: &[Bar]) -> Virtio {
    let mut virtio = Virtio::default();
    for_each_capability(&mut read, |_, words| {
        let [id, _, length, kind] = words[0].to_le_bytes();
        let window = Window {
            bar: words[1] as u8,
            offset: words[2],
            length: words[3],
        };
        if id != CAPABILITY_VENDOR || length < VIRTIO_LENGTH || !window.is_inside(bars) {
            return;
        }
        match kind {
            1 => virtio.common = virtio.common.or(Some(window)),
            2 if length >= VIRTIO_NOTIFY_LENGTH && virtio.notify.is_none() => {
                virtio.notify = Some(window);
                virtio.notify_multiplier = words[4];
            }
            3 => virtio.isr = virtio.isr.or(Some(window)),
            4 => virtio.device = virtio.device.or(Some(window)),
            _ => {}
        }
    });
    virtio
}

/// Calls `visit` with the offset and the first words of each capability (PCI 3.0, section 6.7). A list that
/// loops ends after as many entries as fit in configuration space.
pub(crate) fn for_each_capability(
    read: &mut impl FnMut(u8) -> u32,
    mut visit: impl FnMut(u8, &[u32; 5]),
) {
    if read(STATUS) & STATUS_CAPABILITIES == 0 {
        return;
    }
    let mut offset = read(CAPABILITIES) as u8 & !3;
    for _ in 0..MAX_CAPABILITIES {
        if offset < FIRST_CAPABILITY {
            return;
        }
        let mut words = [0; 5];
        for (word, offset) in words.iter_mut().zip((offset..=LAST_WORD).step_by(4)) {
            *word = read(offset);
        }
        visit(offset, &words);
        offset = (words[0] >> 8) as u8 & !3;
    }
}

impl Window {
    /// Whether the window is not empty and lies inside one of the BARs.
    fn is_inside(&self, bars: &[Bar]) -> bool {
        let end = u64::from(self.offset) + u64::from(self.length);
        self.length > 0
            && bars
                .iter()
                .any(|bar| bar.index == self.bar && end <= bar.size)
    }
}
