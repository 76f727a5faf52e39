//! Sends bytes exactly as they are given, over several connections at once, and tells every byte that comes back.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::{message::bytes, say, tls};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A JSON list of `{name, host, records}`: what each connection sends, in hexadecimal, one TLS record after the
    /// other. The answer's head is awaited behind the first.
    file: PathBuf,
    /// Longest silence of the other side that is waited through.
    #[arg(long, default_value_t = 15_000)]
    patience_ms: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let vectors: Vec<Value> = serde_json::from_slice(&fs::read(&arguments.file)?)?;
    let config = tls::config()?;
    let patience = Duration::from_millis(arguments.patience_ms);
    for vectors in vectors.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let threads: Vec<_> = vectors
                .iter()
                .map(|vector| scope.spawn(|| play(vector, &config, patience)))
                .collect();
            for (vector, thread) in vectors.iter().zip(threads) {
                let received = thread.join().ok().context("a connection's thread")??;
                let digits = received.iter().map(|byte| format!("{byte:02x}"));
                let received: String = digits.collect();
                say(&json!({"event": "answer", "name": vector["name"], "received": received}));
            }
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

/// Connections at a time: more would wait for each other's handshakes.
const AT_ONCE: usize = 16;

fn play(vector: &Value, config: &Arc<ClientConfig>, patience: Duration) -> Result<Vec<u8>> {
    let host = vector["host"].as_str().context("a host")?;
    let records = vector["records"].as_array().context("records")?;
    let tcp = tls::connect(tls::resolve(host, 443)?)?;
    let mut stream = tls::handshake(tcp, host, Arc::clone(config))?;
    stream.sock.set_read_timeout(Some(patience))?;
    let mut received = Vec::new();
    for (number, record) in records.iter().enumerate() {
        let record = bytes(record.as_str().context("hexadecimal")?)?;
        // The other side may be gone: what it said is what counts.
        if stream
            .write_all(&record)
            .and_then(|()| stream.flush())
            .is_err()
        {
            break;
        }
        while number == 0 && !received.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => received.push(byte[0]),
                _ => return Ok(received),
            }
        }
    }
    // However it ends.
    drop(stream.read_to_end(&mut received));
    Ok(received)
}
