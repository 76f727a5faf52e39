//! Traffic by which the daemon's memory is measured, to a gateway that keeps nothing.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tests::{
    bulk::{Bulk, PIECE},
    gateway::frame::{TEXT, encode},
    load::open_many_files,
};

use crate::{
    say, tls,
    websocket::{Client, HOST, MASK, Received, identify, token},
};

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Offers permessage-deflate, and compresses what is long.
    #[arg(long)]
    deflate: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sends one message with the token in its field.
    Up {
        length: u64,
        /// The token stands before the filling, not behind it.
        #[arg(long)]
        token_first: bool,
    },
    /// Logs in and receives one message.
    Down { length: u64 },
    /// Logs in, sends small messages, then receives as many.
    Many { messages: u64 },
    /// Logs in on many connections, and holds them until standard input ends.
    Idle { connections: usize },
}

pub(crate) fn run(load: &Load) -> Result<()> {
    match load.what {
        What::Up {
            length,
            token_first,
        } => up(length, load.deflate, token_first),
        What::Down { length } => down(length, load.deflate),
        What::Many { messages } => many(messages, load.deflate),
        What::Idle { connections } => idle(connections, load.deflate),
    }
}

fn open(deflate: bool) -> Result<Client> {
    let extensions = deflate.then_some("permessage-deflate");
    Client::open_offering(HOST, &tls::config()?, extensions)
}

fn log_in(deflate: bool) -> Result<Client> {
    let mut client = open(deflate)?;
    client.send(TEXT, identify()?.as_bytes())?;
    ensure!(client.is_ready()?, "the login failed");
    Ok(client)
}

fn up(length: u64, deflate: bool, token_first: bool) -> Result<()> {
    let member = format!(r#""d":{{"token":"{}"}}"#, token()?);
    let (head, tail) = if token_first {
        (format!(r#"{{"op":2,{member},"x":""#), "\"}".to_owned())
    } else {
        (r#"{"op":2,"x":""#.to_owned(), format!(r#"",{member}}}"#))
    };
    let bulk = Bulk::new(&head, &tail, length, deflate)?;
    let mut client = open(deflate)?;
    let rsv1 = u8::from(deflate) << 6;
    let mut header = vec![0x80 | rsv1 | TEXT, 0x80 | 127];
    header.extend_from_slice(&bulk.length().to_be_bytes());
    header.extend_from_slice(&MASK);
    client.stream.write_all(&header)?;
    let mut keys = MASK.iter().cycle();
    let mut masked = Vec::new();
    for piece in bulk.pieces() {
        masked.clear();
        masked.extend(piece.iter().zip(&mut keys).map(|(byte, key)| byte ^ key));
        client.stream.write_all(&masked)?;
    }
    client.stream.flush()?;
    let received = client.received()?;
    let text = Bulk::new(&head, &tail, length, false)?.length();
    say(&json!({"event": "sent", "text": text, "received": received["bytes"]}));
    Ok(())
}

fn down(length: u64, deflate: bool) -> Result<()> {
    let mut client = log_in(deflate)?;
    order(&mut client, 104, length)?;
    // Whatever frames carry it, and however large they are.
    let mut poured = 0;
    let mut piece = vec![0; PIECE];
    loop {
        let mut header = [0; 2];
        client.stream.read_exact(&mut header)?;
        let [first, short] = header;
        let mut left = match short {
            127 => u64::from_be_bytes(client.field()?),
            126 => u16::from_be_bytes(client.field()?).into(),
            short => short.into(),
        };
        poured += left;
        while left > 0 {
            let room = usize::try_from(left)?.min(PIECE);
            client
                .stream
                .read_exact(piece.get_mut(..room).unwrap_or_default())?;
            left -= room as u64;
        }
        if first & 0x80 != 0 {
            break;
        }
    }
    say(&json!({"event": "poured", "bytes": poured}));
    Ok(())
}

fn many(messages: u64, deflate: bool) -> Result<()> {
    let mut client = log_in(deflate)?;
    let mut batch = Vec::new();
    for number in 0..messages {
        let text = format!(r#"{{"op":1,"d":{number}}}"#);
        batch.extend(encode(true, TEXT, Some(MASK), text.as_bytes()));
        if batch.len() > PIECE {
            client.stream.write_all(&batch)?;
            batch.clear();
        }
    }
    client.stream.write_all(&batch)?;
    order(&mut client, 103, 0)?;
    let received = client.received()?;
    // The login and the order as well.
    ensure!(received["messages"] == messages + 2, "{received}");
    order(&mut client, 105, messages)?;
    for _ in 0..messages {
        match client.receive()? {
            Received::Json(message) if message["op"] == 11 => {}
            _ => anyhow::bail!("something else came"),
        }
    }
    say(&json!({"event": "exchanged", "messages": messages}));
    Ok(())
}

fn idle(connections: usize, deflate: bool) -> Result<()> {
    open_many_files()?;
    let mut clients = Vec::new();
    while clients.len() < connections {
        clients.push(log_in(deflate)?);
    }
    say(&json!({"event": "idle", "connections": clients.len()}));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn order(client: &mut Client, op: u64, d: u64) -> Result<()> {
    client.send(TEXT, json!({"op": op, "d": d}).to_string().as_bytes())
}

impl Client {
    fn field<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut field = [0; N];
        self.stream.read_exact(&mut field)?;
        Ok(field)
    }

    /// What the gateway says it got.
    fn received(&mut self) -> Result<Value> {
        match self.receive()? {
            Received::Json(message) => message.get("d").cloned().context("no report"),
            Received::Other { .. } | Received::Close { .. } => anyhow::bail!("no report"),
        }
    }
}
