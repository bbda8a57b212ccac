//! virtio network driver
