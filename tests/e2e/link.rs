//! The network device's link, which QEMU takes down and up again.

use std::time::Duration;

use libtest_mimic::Trial;
use selkie::cli::Protocol;
use selkie_tests::system::System;
use selkie_tests::{Outcome, client, ensure};

use crate::trial;

/// Time for the driver to notice the change and for the console to print the line.
const NOTICED: Duration = Duration::from_secs(10);

pub fn trials() -> Vec<Trial> {
    vec![trial("link::changes", changes)]
}

/// The device signals a link change by a configuration interrupt, with the PCI and the MMIO transport.
fn changes() -> Outcome {
    let system = System::boot("http")?;
    let (guest, serial) = (&system.guest, system.guest.serial());
    for _ in 0..2 {
        for (up, line) in [(false, "link down"), (true, "link up")] {
            let before = serial.length();
            guest
                .qmp()?
                .set_link("net0", up)
                .map_err(selkie_qemu::Error::from)?;
            serial.wait_for_from(before, line, NOTICED, guest)?;
        }
    }
    let body = client::curl(system.endpoint(Protocol::Http)?, "/bytes/10", &[])?.out;
    ensure(body.len() == 10, || format!("{} bytes", body.len()))
}
