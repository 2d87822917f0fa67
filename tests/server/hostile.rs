//! Broken and hostile clients.
