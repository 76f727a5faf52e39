//! End-to-end tests on this kernel, with real clients. They need root, and run one at a time.

mod addresses;
mod clients;
mod compression;
mod configuration;
mod containment;
mod dns;
mod exec;
mod gateway;
mod isolation;
mod libraries;
mod lifecycle;
mod messages;
mod upstream;
