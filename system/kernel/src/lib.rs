//! How the pc99 kernel is configured and built
