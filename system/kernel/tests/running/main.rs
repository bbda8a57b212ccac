//! Tests of running kernels: that the fixes are needed and work, and what the kernel costs.

mod costs;
mod fixes;
mod machine;
