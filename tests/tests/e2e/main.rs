//! End-to-end tests on this kernel, with real clients. They need root, and run one at a time.

mod addresses;
mod alike;
mod bench;
mod clients;
mod compression;
mod configuration;
mod containment;
mod dns;
mod encodings;
mod exec;
mod gateway;
mod hostile;
mod http2;
mod isolation;
mod libraries;
mod lifecycle;
mod lives;
mod memory;
mod messages;
mod rebirth;
mod reflection;
mod requests;
mod smuggling;
mod translation;
mod upgrade;
mod upstream;
