//! What the release kernel costs. The measured numbers are in `README.md`.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::machine::{End, Machine, PASSED};
use selkie_kernel::Config;

/// Upper bounds for the instructions of a round trip, about a tenth above what was measured.
const ROUND_TRIPS: [(&str, u64); 4] = [
    ("call, equal priority", 420),
    ("call, higher priority", 1170),
    ("signal, equal priority", 1950),
    ("signal, higher priority", 1750),
];

#[test]
fn instructions_of_a_round_trip() {
    let counting = ["-icount", "shift=0"];
    let mut machine = Machine::start("round-trips", &Config::release(), &counting);
    let end = machine.end();
    let printed = machine.printed();
    assert_eq!(end, End::Status(PASSED), "{printed}");
    for (name, bound) in ROUND_TRIPS {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        let instructions = line.and_then(|rest| rest.strip_prefix(": ")?.parse().ok());
        let instructions: u64 = instructions.unwrap_or_else(|| panic!("no `{name}` in {printed}"));
        assert!(
            (100..=bound).contains(&instructions),
            "{name}: {instructions}"
        );
    }
}

/// With the shipped tick of 2 ms it was 2.7 % of a CPU.
#[test]
fn an_idle_machine_takes_little_time() {
    const TIME: Duration = Duration::from_secs(10);
    const PERCENT: f64 = 2.0;

    let machine = Machine::start("idle", &Config::release(), &[]);
    let start = Instant::now();
    while !machine.printed().contains("waiting") {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "it does not boot"
        );
        sleep(Duration::from_millis(100));
    }
    let before = processor_ticks(machine.process());
    sleep(TIME);
    let ticks = processor_ticks(machine.process()) - before;
    // Linux counts in hundredths of a second (proc(5), sysconf _SC_CLK_TCK), on every machine.
    let percent = ticks as f64 / TIME.as_secs_f64();
    assert!(percent < PERCENT, "{percent} % of a CPU");
}

/// User and system time of a process (proc(5), `/proc/PID/stat`, fields 14 and 15).
fn processor_ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The program's name, in parentheses, may hold spaces; field 3 follows it.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let times = fields.skip(14 - 3).take(2);
    times.map(|time| time.parse::<u64>().unwrap()).sum()
}
