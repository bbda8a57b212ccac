//! What a driver has to know of its function.

/// The most BARs that a function has (section 6.2.5).
pub const MAX_BARS: usize = 6;

const CAPABILITY_VENDOR: u8 = 0x09;
/// Bytes of a virtio capability, and of the one for notifications (virtio 1.2, sections 4.1.4 and 4.1.4.4).
const VIRTIO_LENGTH: u8 = 16;
const VIRTIO_NOTIFY_LENGTH: u8 = 20;

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

/// A function as its driver needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Vendor identifier.
    pub vendor: u16,
    /// Device identifier.
    pub device: u16,
    /// Where its registers are, if it is a virtio device of version 1 or later.
    pub virtio: Virtio,
    bars: [Bar; MAX_BARS],
    bar_count: usize,
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

impl Function {
    pub(crate) fn new(vendor: u16, device: u16, placed: &[Bar]) -> Self {
        let mut bars = [Bar::default(); MAX_BARS];
        for (slot, bar) in bars.iter_mut().zip(placed) {
            *slot = *bar;
        }
        Self {
            vendor,
            device,
            virtio: Virtio::default(),
            bars,
            bar_count: placed.len().min(MAX_BARS),
        }
    }

    /// The BARs that the board placed.
    pub fn bars(&self) -> &[Bar] {
        &self.bars[..self.bar_count]
    }

    /// Takes note of a capability, given as its first words. The first of a kind counts; what is not
    /// understood is passed over (virtio 1.2, section 4.1.4.1).
    pub(crate) fn add_capability(&mut self, id: u8, words: &[u32; 5]) {
        let [_, _, length, kind] = words[0].to_le_bytes();
        if id != CAPABILITY_VENDOR || length < VIRTIO_LENGTH {
            return;
        }
        let window = Window {
            bar: words[1] as u8,
            offset: words[2],
            length: words[3],
        };
        if !self.contains(&window) {
            return;
        }
        let virtio = &mut self.virtio;
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
    }

    /// Whether a window is not empty and lies inside a BAR that the board placed.
    fn contains(&self, window: &Window) -> bool {
        let end = u64::from(window.offset) + u64::from(window.length);
        window.length > 0
            && self
                .bars()
                .iter()
                .any(|bar| bar.index == window.bar && end <= bar.size)
    }
}
