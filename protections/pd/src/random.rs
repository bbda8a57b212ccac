//! Random bytes from the entropy PD.

use channel::CallError;
use channel::random::Random;

use crate::ports;
use crate::single::Once;

static RANDOM: Once<Option<Random>> = Once::new();

/// The client of the `random` port.
///
/// # Panics
/// When the port is not connected.
pub fn random() -> &'static Random {
    client().unwrap_or_else(|| panic!("port `random` is not connected"))
}

/// Fills the buffer with random bytes.
///
/// # Errors
/// [`CallError::Unavailable`] when the entropy PD is not seeded or not connected.
pub fn fill_random(buffer: &mut [u8]) -> Result<(), CallError> {
    client().ok_or(CallError::Unavailable)?.fill(buffer)
}

fn client() -> Option<&'static Random> {
    RANDOM.get_or_init(ports::random_client).as_ref()
}

/// Where the replaced getrandom crate gets its bytes from.
#[unsafe(no_mangle)]
fn selkie_fill_random(buffer: &mut [u8]) -> bool {
    fill_random(buffer).is_ok()
}
