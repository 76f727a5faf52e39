//! End-to-end tests on this kernel, with real clients. They need root, and run one at a time.

mod gateway;
