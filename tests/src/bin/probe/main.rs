//! Asks the network one question, as a program in a sandbox would, and prints the answer as JSON lines.
//!
//! It knows nothing of proxies; it trusts what `SSL_CERT_FILE` holds.

#![allow(
    clippy::print_stdout,
    reason = "standard output is this program's result"
)]

mod abuse;
mod connect;
mod datagram;
mod frames;
mod hold;
mod load;
mod login;
mod message;
mod request;
mod script;
mod tls;
mod websocket;

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde_json::Value;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Opens TCP connections and tells who the peer is said to be.
    Connect(connect::Arguments),
    /// Sends datagrams.
    Datagram(datagram::Datagram),
    /// Asks a DNS server.
    Dns(datagram::Dns),
    /// Writes HTTP/2 frame by frame, as no library would.
    Frames(frames::Arguments),
    /// Holds connections, and sends over them when told.
    Hold(hold::Hold),
    /// Logs in to the gateway with the library tungstenite.
    Login,
    /// Logs in with messages cut in two, at every byte.
    Split(message::Split),
    /// Sends and receives much.
    Load(load::Load),
    /// Sends messages as they are given, and prints what comes back.
    Talk(message::Talk),
    /// Sends bytes exactly as they are given.
    Script(script::Arguments),
    /// Connects again and again.
    Renew,
    /// Sends one HTTP request.
    Request(request::Arguments),
    /// Opens connections as fast as it can.
    Flood(abuse::Flood),
    /// Asks again and again, and tells how long it took.
    Pace(abuse::Pace),
}

fn main() -> Result<()> {
    match Arguments::parse().question {
        Question::Connect(arguments) => connect::run(&arguments),
        Question::Datagram(arguments) => datagram::send(&arguments),
        Question::Dns(arguments) => datagram::ask(&arguments),
        Question::Frames(arguments) => frames::run(&arguments),
        Question::Hold(arguments) => hold::hold(&arguments),
        Question::Login => login::run(),
        Question::Split(arguments) => message::split(&arguments),
        Question::Load(arguments) => load::run(&arguments),
        Question::Talk(arguments) => message::talk(&arguments),
        Question::Script(arguments) => script::run(&arguments),
        Question::Renew => hold::renew(),
        Question::Request(arguments) => request::run(&arguments),
        Question::Flood(arguments) => abuse::flood(&arguments),
        Question::Pace(arguments) => abuse::pace(&arguments),
    }
}

/// Prints one event.
fn say(event: &Value) {
    println!("{event}");
}
