//! A guest's memory and a fake device, for tests of drivers. The device does what the test says, be it nonsense.

mod device;
mod guest;
mod registers;

pub use device::{Bus, Chain, FakeDevice, LAYOUT, Part};
pub use guest::Guest;
