//! Runtime and initialiser alone, with a system that is written by hand: `tests/systems/exercise.system`.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;
use selkie::cli::root;
use selkie_tests::system::{Options, System, built_with_memory, machine};
use selkie_tests::{Failed, Outcome, ensure, ground};

use crate::trial;

/// A system without devices is up in a fraction of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("runtime::calls_signals_and_regions", exercise)];
    // The initialiser of the Microkit SDK is not ours.
    if !ground().is_microkit() {
        trials.extend([
            trial("runtime::leaves_no_copy_of_what_fills_a_region", copies),
            trial("runtime::keeps_no_authority_of_the_initialiser", authority),
            trial("runtime::says_how_much_memory_is_missing", too_large),
            trial("runtime::names_what_cannot_be_set_up", impossible_interrupt),
        ]);
    }
    trials
}

/// Two PDs call and signal each other, and look at regions that are filled in three ways.
fn exercise() -> Outcome {
    let system = System::boot(&variant("exercise", |text| text)?.to_string_lossy())?;
    let zeros = if ground().is_microkit() { 3192 } else { 11_384 };
    for line in [
        &format!("caller: region small: 5000 bytes of content, {zeros} zeros"),
        &format!("caller: region fixed: 5000 bytes of content, {zeros} zeros"),
        "caller: region large: 5000 bytes of content, 2092152 zeros",
        "caller: copies and fills, 0 wrong",
        "caller: 1000 calls, 0 wrong",
        "caller: 1000 notifications each way",
    ] {
        system.wait_for_line(0, line, PATIENCE)?;
    }
    Ok(())
}

/// What fills a region is in the boot module, in the image that the kernel unpacks from it, and in the region. Only
/// the last may be left: one copy for each of the three regions.
fn copies() -> Outcome {
    let file = variant("copies", |text| text)?;
    let marker = noise()?;
    let mut content = vec![0; 5000];
    content[100..164].copy_from_slice(&marker);
    fs::write(file.with_file_name("exercise.bin"), content)?;

    let system = System::boot(&file.to_string_lossy())?;
    system.wait_for_line(0, "caller: 1000 notifications each way", PATIENCE)?;
    let dump = tempfile::NamedTempFile::new()?;
    let size = u64::from(machine(&system.built)?.memory) << 20;
    system.guest.qmp()?.save_memory(0, size, dump.path())?;
    let memory = fs::read(dump.path())?;
    let found = memory
        .windows(64)
        .filter(|window| *window == marker)
        .count();
    ensure(found == 3, || {
        format!("{found} copies in memory, 3 regions")
    })
}

/// When the PDs begin, the initialiser has no capability left with which anything could be made, taken or reached: no
/// untyped memory, no device, no interrupt, no I/O port, no endpoint, no table and no address space of a PD. The kernel
/// itself is asked, which only a debug kernel answers; what gives the capabilities up is the same in a release.
fn authority() -> Outcome {
    let file = variant("authority", |text| text)?;
    let options = Options {
        debug: true,
        ..Options::default()
    };
    let system = System::boot_with(&file.to_string_lossy(), &options)?;
    system.wait_for_line(0, "initialiser: left: nothing else", PATIENCE)?;
    let log = system.guest.serial().text();
    let mut left: Vec<(&str, u32)> = Vec::new();
    for line in log.lines() {
        let words = line.trim().strip_prefix("initialiser: left: ");
        let Some((count, kind)) = words.and_then(|words| words.split_once(' ')) else {
            continue;
        };
        if let Ok(count) = count.parse() {
            left.push((kind, count));
        }
    }
    // Frames and what maps them keep the PDs' memory mapped; the pool keeps their identifiers valid. Its own: a table,
    // its address space's paging structures, and a thread that stops, beside the two PDs' threads, which have no parent.
    let alive = [
        "frame",
        "page table",
        "page directory",
        "page directory pointer table",
    ];
    let others: Vec<_> = left
        .iter()
        .filter(|(kind, _)| !alive.contains(kind))
        .collect();
    let expected = [&("table", 1), &("thread", 3), &("identifier pool", 1)];
    ensure(others == expected, || format!("{others:?} are left\n{log}"))
}

/// Bytes that are nowhere else.
fn noise() -> Result<[u8; 64], Failed> {
    let mut noise = [0; 64];
    fs::File::open("/dev/urandom")?.read_exact(&mut noise)?;
    Ok(noise)
}

/// 128 MiB are more than the machine has. The image is built for a larger machine, because the builder would refuse it otherwise.
fn too_large() -> Outcome {
    let file = variant("too-large", |text| {
        text.replace(r#"size="0x400000""#, r#"size="0x8000000""#)
    })?;
    let mut built = built_with_memory(&file.to_string_lossy(), Some(256))?;
    built.memory = machine(&built)?.memory;
    let line = halted(
        System::boot_built(&built, &Options::default())?,
        "not enough memory",
    )?;
    ensure(line.contains("KiB are missing"), || line.clone())
}

/// The IOAPIC has 24 pins.
fn impossible_interrupt() -> Outcome {
    let interrupt =
        r#"<irq pin="40" vector="3" id="9" trigger="level" polarity="low"/><ioport id="0""#;
    let file = variant("impossible-interrupt", |text| {
        text.replace(r#"<ioport id="0""#, interrupt)
    })?;
    let system = System::boot(&file.to_string_lossy())?;
    let line = halted(system, "cannot start the system")?;
    ensure(
        line.contains("caller: interrupt") && line.contains("out of range"),
        || line.clone(),
    )
}

/// The line in which the initialiser says why it stops. No PD may have run.
fn halted(system: System, why: &str) -> Result<String, Failed> {
    system.wait_for_line(0, "initialiser: halted", PATIENCE)?;
    let log = system.guest.serial().text();
    ensure(!log.contains("caller: 1000"), || log.clone())?;
    let line = log.lines().find(|line| line.contains(why));
    Ok(line.ok_or_else(|| Failed::from(log.clone()))?.to_owned())
}

/// The exercise with the board's serial port and memory.
pub fn on_the_board(text: &str) -> Result<String, Failed> {
    let board = &ground().board;
    let mut text = text.replace(
        "0x2100000",
        &format!("{:#x}", board.dma_address + 0x10_0000),
    );
    if ground().is_microkit() {
        // Microkit's tool (2.3.0) cannot fill a region whose last page gets nothing of the file.
        text = text.replace(r#"size="0x4000""#, r#"size="0x2000""#);
    }
    let serial = board.device("serial0").ok_or("the board has no serial0")?;
    let Some(registers) = serial.registers.first() else {
        return Ok(text);
    };
    let map = r#"<map mr="registers" vaddr="0x30000000" perms="rw" cached="false""#;
    let with_symbol = format!(r#"{map} setvar_vaddr="{}""#, serial.kind);
    Ok(text
        .replace("0xfed00000", &format!("{:#x}", registers.address))
        .replace(map, &with_symbol)
        .replace(r#"<ioport id="0" addr="0x3f8" size="8" />"#, ""))
}

/// The system, changed, in a folder with the file that fills its regions.
fn variant(name: &str, change: impl FnOnce(String) -> String) -> Result<PathBuf, Failed> {
    // A folder of its own: tests run at the same time.
    let folder = root().join("target/selkie/tests/systems").join(name);
    fs::create_dir_all(&folder)?;
    let content: Vec<u8> = (0..5000_u32).map(|n| (7 * n + 3) as u8).collect();
    fs::write(folder.join("exercise.bin"), content)?;
    let text = fs::read_to_string(root().join("tests/systems/exercise.system"))?;
    let text = on_the_board(&text)?;
    let file = folder.join(format!("{name}.system"));
    fs::write(&file, change(text))?;
    Ok(file)
}
