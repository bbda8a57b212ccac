//! The kernel's fixes: each has a root task that fails on a kernel without the fix, and passes with it.

use crate::machine::{End, FAILED, Machine, PASSED};
use selkie_kernel::{Config, Fix};

#[test]
fn interrupts_during_long_system_calls() {
    passes_with_and_fails_without(Fix::StackReset, |end, printed| {
        // It crashes at some point, and says nothing more.
        end != End::Status(PASSED) && !printed.contains("OK")
    });
}

#[test]
fn a_page_goes_with_its_capability() {
    passes_with_and_fails_without(Fix::UnmapOnDelete, |end, printed| {
        end == End::Status(FAILED) && printed.contains("can still be read without a capability")
    });
}

#[test]
fn fault_addresses_are_whole() {
    passes_with_and_fails_without(Fix::FaultAddress, |end, printed| {
        end == End::Status(FAILED) && printed.contains("reading 0x100000000 gave Err")
    });
}

/// Runs the fix's program on the release and the debug kernel, then on the release kernel without the fix.
fn passes_with_and_fails_without(fix: Fix, failed: impl Fn(End, &str) -> bool) {
    for config in [Config::release(), Config::debug()] {
        let (end, printed) = run(fix, &config);
        assert!(
            end == End::Status(PASSED) && printed.contains("OK"),
            "{config:?}: {end:?}\n{printed}"
        );
    }
    let config = Config {
        without: Some(fix),
        ..Config::release()
    };
    let (end, printed) = run(fix, &config);
    assert!(
        failed(end, &printed),
        "{config:?} did not fail as expected, so that the test proves nothing: {end:?}\n{printed}"
    );
}

fn run(fix: Fix, config: &Config) -> (End, String) {
    let mut machine = Machine::start(fix.name(), config, &[]);
    let end = machine.end();
    (end, machine.printed())
}
