//! The boards of the Microkit SDK: the SDK itself, and its tool that makes a `.system` file an image.

mod fit;
mod sdk;
mod tool;

pub use fit::needed;
pub use sdk::{Found, Sdk, SdkError, default_place, download};
pub use tool::{Image, ToolError, image};
