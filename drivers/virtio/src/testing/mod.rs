//! A guest's memory and a fake device, for tests of drivers. The device does what the test says, be it nonsense.

mod device;
mod guest;

pub use device::{Chain, FakeDevice, LAYOUT, Part};
pub use guest::Guest;
