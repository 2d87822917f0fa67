//! Slow readers.
