//! Where an IOMMU confines the network device, it writes to its driver's memory and nowhere else, whatever the driver
//! tells it; and where none does, it writes to all memory, as the documents say.
//!
//! The system is `tests/systems/stray.toml`. The driver asks QEMU's network a question, whose answer the device is
//! to write to the memory of a bystander; then it asks again, with its own memory.

use std::fs;
use std::time::Duration;

use libtest_mimic::Trial;
use selkie_tests::system::{System, machine};
use selkie_tests::{Failed, Outcome, ensure, ground};

use crate::trial;

const PATIENCE: Duration = Duration::from_secs(60);

/// The answer of QEMU's network, 52:55:0a:00:02:02 at 10.0.2.2, to 02:00:00:00:00:02 at 10.0.2.15 (RFC 826).
const ANSWER: [u8; 42] = [
    2, 0, 0, 0, 0, 2, 0x52, 0x55, 10, 0, 2, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 0x52, 0x55, 10, 0, 2,
    2, 10, 0, 2, 2, 2, 0, 0, 0, 0, 2, 10, 0, 2, 15,
];
/// Bytes in front of a received frame (virtio 1.2, section 5.1.6).
const HEADER: usize = 12;
const PAGE: usize = 4096;

pub fn trials() -> Vec<Trial> {
    let name = match ground().board.iommu {
        true => "iommu::a_device_reaches_its_drivers_memory_only",
        false => "iommu::without_one_a_device_reaches_all_memory",
    };
    vec![trial(name, stray)]
}

fn stray() -> Outcome {
    let system = System::boot("stray")?;
    let own = memory(&system, "nic")?;
    let bystander = memory(&system, "bystander")?;
    ensure(own.0 + own.1 == bystander.0, || {
        format!("the bystander is not behind the driver: {own:x?}, {bystander:x?}")
    })?;
    system.wait_for_line(0, "nic: outside: the device", PATIENCE)?;
    system.wait_for_line(0, "nic: inside: the device says that it wrote", PATIENCE)?;

    let inside = contents(&system, own)?;
    let expected = &ANSWER[..];
    let page = inside.len() - PAGE;
    ensure(answer(&inside[page..]) == expected, || {
        "the answer did not arrive where the driver may receive".into()
    })?;
    let outside = contents(&system, bystander)?;
    if !ground().board.iommu {
        return ensure(answer(&outside) == expected, || {
            "the device did not write astray: the test tests nothing".into()
        });
    }
    ensure(outside.iter().all(|byte| *byte == 0), || {
        "the device wrote to the bystander's memory".into()
    })?;
    // Nor did it write anywhere else: there is one answer in all memory, which begins at 0 on this board.
    let all = contents(
        &system,
        (0, u64::from(machine(&system.built)?.memory) << 20),
    )?;
    let found = all.windows(expected.len()).filter(|w| *w == expected);
    let found = found.count();
    ensure(found == 1, || {
        format!("{found} answers in memory, one was received")
    })
}

fn answer(memory: &[u8]) -> &[u8] {
    &memory[HEADER..HEADER + ANSWER.len()]
}

/// Physical address and size of a protection's memory for transfers, as it says.
fn memory(system: &System, protection: &str) -> Result<(u64, u64), Failed> {
    let said = format!("{protection}: memory for transfers ");
    let line = system.wait_for_line(0, &said, PATIENCE)?;
    let numbers = line.split_once(&said).map_or("", |(_, numbers)| numbers);
    let mut numbers = numbers
        .split_whitespace()
        .map_while(|number| u64::from_str_radix(number.strip_prefix("0x")?, 16).ok());
    match (numbers.next(), numbers.next()) {
        (Some(address), Some(size)) => Ok((address, size)),
        _ => Err(format!("no address and size: {line}").into()),
    }
}

/// What is in the machine's memory there.
fn contents(system: &System, (address, size): (u64, u64)) -> Result<Vec<u8>, Failed> {
    let file = tempfile::NamedTempFile::new()?;
    system
        .guest
        .qmp()?
        .save_memory(address, size, file.path())?;
    Ok(fs::read(file.path())?)
}
