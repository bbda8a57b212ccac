//! Tests of the image builder; what it builds runs in the end-to-end tests.
