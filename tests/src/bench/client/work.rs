//! Orders carried out.

use std::time::Instant;

use anyhow::{Result, ensure};
use http_body_util::BodyExt as _;
use hyper::{Response, body::Incoming};
use serde_json::Value;

use super::{
    connection::{Connection, Network},
    echo, events,
};
use crate::bench::{
    content::{self, Content},
    order::{Answer, Framing, Order, Work},
};

pub(super) async fn work(
    network: &mut Network,
    order: &Order,
    held: &mut Vec<Connection>,
) -> Result<Answer> {
    match order.work {
        Work::Connect { connections } => connect(network, order, connections).await,
        Work::Hold { connections } => {
            for _ in 0..connections {
                held.push(open(network, order).await?);
            }
            Ok(Answer::default())
        }
        Work::Echo { messages } => echo::exchange(network, order, messages).await,
        Work::Events { count, .. } => {
            let mut connection = open(network, order).await?;
            let response = ask(&mut connection, order).await?;
            events::read(response, count).await
        }
        Work::Small { requests } => {
            let mut connection = open(network, order).await?;
            small(&mut connection, order, requests).await
        }
        Work::Download { bytes, framing } => {
            let mut connection = open(network, order).await?;
            let mut answer = download(&mut connection, order).await?;
            if framing == Framing::Gzip {
                ensure!(answer.bytes > bytes / 4, "{} bytes arrived", answer.bytes);
                // What was asked for is what the text is long.
                answer.bytes = bytes;
            }
            Ok(answer)
        }
        Work::Upload { bytes, token } => {
            let mut connection = open(network, order).await?;
            let token = token.map(|place| (place, order.credential.as_str()));
            let body = Content::bulk(content::json(bytes, token)?, true);
            let begun = Instant::now();
            let response = connection.ask(order, order.work, body).await?;
            let seen = response.into_body().collect().await?.to_bytes();
            let seen: Value = serde_json::from_slice(&seen)?;
            let bytes = seen["bytes"].as_u64().unwrap_or_default();
            Ok(Answer {
                bytes,
                ..once(nanoseconds(begun))
            })
        }
    }
}

async fn ask(connection: &mut Connection, order: &Order) -> Result<Response<Incoming>> {
    connection.ask(order, order.work, Content::whole("")).await
}

/// A connection that has carried a request already.
async fn open(network: &mut Network, order: &Order) -> Result<Connection> {
    let mut connection = network.connect(&order.host, order.version).await?;
    small(&mut connection, order, 1).await?;
    Ok(connection)
}

async fn small(connection: &mut Connection, order: &Order, requests: u32) -> Result<Answer> {
    let work = Work::Small { requests: 1 };
    let mut samples = Vec::new();
    let begun = Instant::now();
    for _ in 0..requests {
        let begun = Instant::now();
        let response = connection.ask(order, work, Content::whole("")).await?;
        samples.push(nanoseconds(begun));
        response.into_body().collect().await?;
    }
    Ok(Answer {
        samples,
        elapsed: nanoseconds(begun),
        ..Answer::default()
    })
}

async fn connect(network: &mut Network, order: &Order, connections: u32) -> Result<Answer> {
    let mut samples = Vec::new();
    let begun = Instant::now();
    for _ in 0..connections {
        let begun = Instant::now();
        open(network, order).await?;
        samples.push(nanoseconds(begun));
    }
    Ok(Answer {
        samples,
        elapsed: nanoseconds(begun),
        ..Answer::default()
    })
}

async fn download(connection: &mut Connection, order: &Order) -> Result<Answer> {
    let begun = Instant::now();
    let mut body = ask(connection, order).await?.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(Answer {
        bytes,
        ..once(nanoseconds(begun))
    })
}

fn once(elapsed: u64) -> Answer {
    Answer {
        samples: vec![elapsed],
        elapsed,
        ..Answer::default()
    }
}

pub(super) fn nanoseconds(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
