//! Shared-memory channels between mutually distrusting protection domains
