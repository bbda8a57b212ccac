//! The sources of noise.

use cpu_random::CpuRandom;
use entropy::{Entropy, RESEED, STARTUP};
use registers::Mapped;
use virtio::AnyTransport;
use virtio_rng::{DEVICE_TYPE, REQUEST, Rng};
use zeroize::Zeroizing;

/// Numbers of the sources.
const DEVICE: usize = 0;
const CPU: usize = 1;

/// Looks at the device's answer at the start, each some nanoseconds: a second or more, where the answer takes about
/// a millisecond.
const LOOKS: u32 = 200_000_000;

/// The device, the processor, and what is made of their noise.
pub struct Sources {
    pub entropy: Entropy,
    device: Option<Rng<AnyTransport<Mapped>>>,
    cpu: Option<CpuRandom>,
}

impl Sources {
    /// Finds the sources and asks each for noise. A processor without the instruction is no source; a device that
    /// does not work is one that says nothing, so that nothing is given out.
    pub fn new() -> Self {
        let cpu = CpuRandom::find();
        let device = device::virtio(DEVICE_TYPE, None)
            .map_err(|error| pd::error!("{error}"))
            .and_then(|transport| Rng::new(transport).map_err(|error| pd::error!("{error}")))
            .ok();
        let mut sources = Self {
            entropy: Entropy::new(1 + usize::from(cpu.is_some())),
            device,
            cpu,
        };
        sources.feed();
        sources
    }

    /// Waits, within bounds, until the generator is seeded.
    pub fn wait_for_seed(&mut self) {
        for _ in 0..LOOKS {
            if self.entropy.is_seeded() || self.device.is_none() {
                break;
            }
            if self.take() {
                self.feed();
            }
            core::hint::spin_loop();
        }
        match self.entropy.is_seeded() {
            true => pd::info!("seeded from {}", self.names()),
            false => pd::error!("not seeded: {} must be heard", self.names()),
        }
    }

    /// Takes note of the device's interrupt and of what it gave.
    pub fn interrupt(&mut self) {
        if let Some(device) = &mut self.device {
            device.acknowledge();
        }
        let seeded = self.entropy.is_seeded();
        self.take();
        if self.entropy.is_seeded() && !seeded {
            pd::info!("seeded from {}", self.names());
        }
    }

    /// Asks the sources for as much noise as is wanted.
    pub fn feed(&mut self) {
        if !self.entropy.wants_noise() {
            return;
        }
        let wanted = self.entropy.wanted(CPU);
        if let Some(cpu) = self.cpu.filter(|_| wanted > 0) {
            let mut noise = Zeroizing::new([0; if STARTUP > RESEED { STARTUP } else { RESEED }]);
            let noise = &mut noise[..wanted];
            match cpu.fill(noise) {
                Ok(()) => self.absorb(CPU, noise),
                Err(error) => {
                    pd::error!("{error}");
                    self.entropy.lose(CPU);
                }
            }
        }
        let wanted = self.entropy.wanted(DEVICE);
        if let Some(device) = self.device.as_mut().filter(|_| wanted > 0) {
            device.request(wanted);
        }
    }

    /// Takes what the device has given; `false` if it has given nothing.
    fn take(&mut self) -> bool {
        let Some(device) = &mut self.device else {
            return false;
        };
        let mut noise = Zeroizing::new([0; REQUEST]);
        match device.take(&mut noise) {
            Ok(None) => return false,
            Ok(Some(length)) => self.absorb(DEVICE, &noise[..length]),
            Err(misbehaviour) => pd::warn!("{misbehaviour}; it was reset"),
        }
        if self.device.as_ref().is_some_and(Rng::is_given_up) {
            pd::error!("the device misbehaves too often and is off");
            self.device = None;
            self.entropy.lose(DEVICE);
        }
        true
    }

    fn absorb(&mut self, source: usize, noise: &[u8]) {
        if let Err(failure) = self.entropy.absorb(source, noise) {
            pd::error!("source {source}: {failure}");
        }
    }

    fn names(&self) -> &'static str {
        if self.cpu.is_some() {
            "virtio-rng and RDRAND"
        } else {
            "virtio-rng"
        }
    }
}
