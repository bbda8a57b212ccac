//! End-to-end tests: systems booted in QEMU and asked from outside.
//!
//! The first group runs several tests at a time on shared systems; what measures, or needs the machine for
//! itself, comes after it, one at a time.

mod audit;
mod capacity;
mod commands;
mod cost;
mod echo;
mod field;
mod hostile;
mod http;
mod iommu;
mod isolation;
mod link;
mod mutual;
mod network;
mod pinata;
mod provision;
mod resources;
mod restart;
mod runtime;
mod scanners;
mod sdk;
mod tls;
mod tlsfuzzer;
mod upstream;
mod vault;
mod wiping;

use libtest_mimic::{Arguments, Trial};
use selkie::settings::Configuration;
use selkie_tests::system::{Shared, System, with_logs};
use selkie_tests::{Outcome, ground};

/// The systems that tests share.
static SYSTEMS: Shared = Shared::new();

fn main() {
    let arguments = Arguments::from_args();
    if ground().is_microkit() && ground().configuration == Configuration::Debug {
        debugged(&arguments);
    }
    let together = [
        http::trials(),
        tls::trials(),
        mutual::trials(),
        pinata::trials(),
        echo::trials(),
        hostile::trials(),
        runtime::trials(),
        iommu::trials(),
        sdk::trials(),
        upstream::trials(),
        wiping::trials(),
    ];
    let together = libtest_mimic::run(&arguments, together.into_iter().flatten().collect());
    let alone = Arguments {
        test_threads: Some(1),
        ..arguments
    };
    let last = [
        resources::trials(),
        capacity::trials(),
        link::trials(),
        isolation::trials(),
        vault::trials(),
        provision::trials(),
        restart::trials(),
        network::trials(),
        field::trials(),
        scanners::trials(),
        tlsfuzzer::trials(),
        commands::trials(),
        cost::trials(),
        audit::trials(),
    ];
    let last = libtest_mimic::run(&alone, last.into_iter().flatten().collect());
    SYSTEMS.end();
    if together.has_failed() {
        together.exit();
    }
    last.exit();
}

/// On a board of the Microkit SDK a debug kernel differs from a release kernel in what it checks and prints: what the runtime and
/// the SDK's programs do with it is tested, and a whole path through the network. The rest is tested in release
/// configuration: twice would double the time.
fn debugged(arguments: &Arguments) -> ! {
    let trials = [
        runtime::trials(),
        sdk::trials(),
        upstream::trials(),
        echo::trials(),
        // The most memory that a system of the repository needs, with the larger of the kernels.
        vec![trial("debug::https_serves", || {
            System::boot("https").map(drop)
        })],
    ];
    let outcome = libtest_mimic::run(arguments, trials.into_iter().flatten().collect());
    SYSTEMS.end();
    outcome.exit()
}

/// A named test.
fn trial(name: impl Into<String>, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::test(name, || with_logs(test))
}
