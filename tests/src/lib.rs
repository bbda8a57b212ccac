//! The harness of the end-to-end tests: systems booted in QEMU, clients that ask them from outside.
//!
//! Every wait is bounded, every QEMU is ended with the tests (also when they are killed), and whoever fails
//! gets the end of the serial log with the error.

pub mod certificates;
pub mod client;
pub mod data;
pub mod debugger;
pub mod ground;
pub mod namespace;
pub mod program;
pub mod system;
pub mod tls;

pub use ground::ground;
pub use libtest_mimic::Failed;

/// What a test returns.
pub type Outcome = Result<(), Failed>;

/// Fails with a message unless the condition holds.
///
/// # Errors
/// The message, when it does not.
pub fn ensure(condition: bool, message: impl FnOnce() -> String) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(message().into())
    }
}
