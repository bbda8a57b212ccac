//! The fake device's registers, over PCI and in memory.

use registers::Registers;

use super::device::{Bus, DEVICE, FakeDevice, ISR, NOTIFY, State};

/// Where device configuration begins over MMIO.
const MMIO_CONFIG: usize = 0x100;

impl State {
    fn feature_half(&self) -> u32 {
        (self.features >> (32 * (self.feature_select[0] & 1))) as u32
    }

    fn accept_half(&mut self, half: u32) {
        let shift = 32 * (self.feature_select[1] & 1);
        self.accepted &= !(0xffff_ffff << shift);
        self.accepted |= u64::from(half) << shift;
    }

    fn set_status(&mut self, status: u8) {
        self.status = if self.stuck {
            self.status | 0x80
        } else {
            status
        };
        if self.refuses_features {
            self.status &= !8;
        }
        if status == 0 {
            self.reset();
        }
    }

    fn set_area(&mut self, area: usize, upper: bool, half: u32) {
        let shift = if upper { 32 } else { 0 };
        if let Some(queue) = self.chosen() {
            let area = &mut queue.areas[area];
            *area = *area & !(0xffff_ffff << shift) | u64::from(half) << shift;
        }
    }

    fn set_size(&mut self, size: u16) {
        if let Some(queue) = self.chosen() {
            queue.size = size;
        }
    }

    fn enable(&mut self, enabled: u16) {
        if let Some(queue) = self.chosen() {
            queue.enabled = enabled;
        }
    }

    fn notify(&mut self, queue: usize) {
        match self.queues.get_mut(queue) {
            Some(queue) => queue.notifications += 1,
            None => self.unknown("a notification", queue),
        }
    }

    fn config(&mut self, offset: usize) -> u8 {
        let byte = self.config.get(offset).copied().unwrap_or(0);
        if let Some(next) = self.next_config.take() {
            self.config = next;
            self.generation = self.generation.wrapping_add(1);
        }
        byte
    }

    fn pci8(&mut self, offset: usize) -> u8 {
        match offset {
            0x14 => self.status,
            0x15 => self.generation,
            ISR => std::mem::take(&mut self.isr),
            DEVICE.. => self.config(offset - DEVICE),
            _ => self.none("an 8-bit read", offset),
        }
    }

    fn pci16(&mut self, offset: usize) -> u16 {
        if offset >= DEVICE {
            return u16::from_le_bytes([self.pci8(offset), self.pci8(offset + 1)]);
        }
        let queue = self.queue();
        match offset {
            0x18 => queue.map_or(0, |queue| queue.max),
            0x1c => queue.map_or(0, |queue| queue.enabled),
            0x1e => queue.map_or(0, |queue| queue.notify_offset),
            _ => self.none("a 16-bit read", offset),
        }
    }

    fn mmio32(&mut self, offset: usize) -> u32 {
        match offset {
            0x000 => 0x7472_6976,
            0x004 => 2,
            0x008 => self.device_type,
            0x010 => self.feature_half(),
            0x034 => self.queue().map_or(0, |queue| queue.max.into()),
            0x044 => self.queue().map_or(0, |queue| queue.enabled.into()),
            0x060 => self.isr.into(),
            0x070 => self.status.into(),
            0x0fc => self.generation.into(),
            _ => self.none("a 32-bit read", offset),
        }
    }

    fn write_mmio32(&mut self, offset: usize, value: u32) {
        match offset {
            0x014 => self.feature_select[0] = value,
            0x020 => self.accept_half(value),
            0x024 => self.feature_select[1] = value,
            0x030 => self.queue_select = value as usize,
            0x038 => self.set_size(value as u16),
            0x044 => self.enable(value as u16),
            0x050 => self.notify(value as usize),
            0x064 => self.isr &= !(value as u8),
            0x070 => self.set_status(value as u8),
            0x080 | 0x084 => self.set_area(0, offset & 4 != 0, value),
            0x090 | 0x094 => self.set_area(1, offset & 4 != 0, value),
            0x0a0 | 0x0a4 => self.set_area(2, offset & 4 != 0, value),
            _ => self.unknown("a 32-bit write", offset),
        }
    }

    /// What a register that there is not reads as.
    fn none<T: Default>(&self, access: &str, offset: usize) -> T {
        self.unknown(access, offset);
        T::default()
    }
}

impl Registers for FakeDevice {
    fn size(&self) -> usize {
        match self.bus {
            Bus::Pci => 0x4000,
            Bus::Mmio => 0x200,
        }
    }

    fn read8(&self, offset: usize) -> u8 {
        let state = &mut *self.state.borrow_mut();
        if let Some(lie) = state.lie(offset) {
            return lie as u8;
        }
        match self.bus {
            Bus::Pci => state.pci8(offset),
            Bus::Mmio if offset >= MMIO_CONFIG => state.config(offset - MMIO_CONFIG),
            Bus::Mmio => state.none("an 8-bit read", offset),
        }
    }

    fn read16(&self, offset: usize) -> u16 {
        let state = &mut *self.state.borrow_mut();
        if let Some(lie) = state.lie(offset) {
            return lie as u16;
        }
        match self.bus {
            Bus::Pci => state.pci16(offset),
            Bus::Mmio if offset >= MMIO_CONFIG => {
                let mut byte = |n| state.config(offset - MMIO_CONFIG + n);
                u16::from_le_bytes([byte(0), byte(1)])
            }
            Bus::Mmio => state.none("a 16-bit read", offset),
        }
    }

    fn read32(&self, offset: usize) -> u32 {
        let state = &mut *self.state.borrow_mut();
        if let Some(lie) = state.lie(offset) {
            return lie;
        }
        match (self.bus, offset) {
            (Bus::Pci, 0x04) => state.feature_half(),
            (Bus::Pci, _) => state.none("a 32-bit read", offset),
            (Bus::Mmio, _) => state.mmio32(offset),
        }
    }

    fn write8(&mut self, offset: usize, value: u8) {
        let state = &mut *self.state.borrow_mut();
        match (self.bus, offset) {
            (Bus::Pci, 0x14) => state.set_status(value),
            _ => state.unknown("an 8-bit write", offset),
        }
    }

    fn write16(&mut self, offset: usize, value: u16) {
        let state = &mut *self.state.borrow_mut();
        let queue = state.queues.get(usize::from(value));
        let place = queue.map(|queue| NOTIFY + 4 * usize::from(queue.notify_offset));
        match offset {
            _ if self.bus == Bus::Mmio => state.unknown("a 16-bit write", offset),
            _ if Some(offset) == place => state.notify(value.into()),
            0x16 => state.queue_select = value.into(),
            0x18 => state.set_size(value),
            0x1c => state.enable(value),
            _ => state.unknown("a 16-bit write", offset),
        }
    }

    fn write32(&mut self, offset: usize, value: u32) {
        let state = &mut *self.state.borrow_mut();
        match (self.bus, offset) {
            (Bus::Mmio, _) => state.write_mmio32(offset, value),
            (Bus::Pci, 0x00) => state.feature_select[0] = value,
            (Bus::Pci, 0x08) => state.feature_select[1] = value,
            (Bus::Pci, 0x0c) => state.accept_half(value),
            (Bus::Pci, 0x20..0x38) => {
                let half = (offset - 0x20) / 4;
                state.set_area(half / 2, half % 2 == 1, value);
            }
            (Bus::Pci, _) => state.unknown("a 32-bit write", offset),
        }
    }
}
