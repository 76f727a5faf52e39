//! Fixtures for end-to-end tests on a real kernel.
