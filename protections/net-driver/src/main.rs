//! `net-driver` owns the network device.
//!
//! Duties: move frames between the device and the stack's `packets` port, survive a device that returns nonsense,
//! and say what the link does.
//!
//! It must never look into a frame (that is the stack's work, in another address space), never give the device an
//! address outside of the pool and its own memory (where no IOMMU confines the device this is all that keeps it
//! from other memory), and never poll. After a fault it starts over with the device.
#![no_std]
#![no_main]

mod counters;

use registers::Mapped;
use sel4_microkit::{ChannelSet, Handler, Infallible, protection_domain};
use virtio::{AnyTransport, Reset};
use virtio_net::{DEVICE_TYPE, Driver, Error, Report};

use crate::counters::Published;

struct Network {
    /// None without a device that can be driven.
    driver: Option<Driver<AnyTransport<Mapped>>>,
    counters: Option<Published>,
}

#[protection_domain]
fn init() -> Network {
    let transport = device::virtio(DEVICE_TYPE, Some("packets"));
    let transport = transport.inspect_err(|error| pd::error!("{error}")).ok();
    let driver = transport.and_then(|mut transport| {
        // A device that the life before has set up touches no buffer any more when the stack learns of this one.
        let quiet = transport.reset().map_err(Error::from);
        let driver = quiet.and_then(|()| Driver::new(transport, pd::packets_driver("packets").0));
        driver.inspect_err(|error| pd::error!("{error}")).ok()
    });
    let counters = Published::new();
    let mut network = Network { driver, counters };
    network.work();
    network
}

impl Handler for Network {
    type Error = Infallible;

    fn notified(&mut self, channels: ChannelSet) -> Result<(), Infallible> {
        let interrupted = channels.contains(device::interrupt());
        if interrupted && let Some(driver) = &mut self.driver {
            driver.interrupt(say);
        }
        self.work();
        if interrupted {
            device::acknowledge(device::interrupt());
        }
        Ok(())
    }
}

impl Network {
    fn work(&mut self) {
        let Some(driver) = &mut self.driver else {
            return;
        };
        driver.work(say);
        if let Some(counters) = &mut self.counters {
            counters.publish(&driver.counters());
        }
    }
}

fn say(report: Report) {
    match report {
        Report::Link(_) => pd::info!("{report}"),
        Report::Recovered(_) => pd::warn!("{report}"),
        Report::GivenUp(_) | Report::Stack(_) => pd::error!("{report}"),
    }
}
