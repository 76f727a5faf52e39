//! A client on tonic: a call of each kind, with the token as metadata. What it prints is compared.
//!
//! Messages are bytes as they are: what they mean is nobody's business between client and server.

#![allow(
    clippy::print_stdout,
    reason = "standard output is this program's result"
)]

use std::{env, fmt::Display, time::Duration};

use anyhow::{Context as _, Result};
use bytes::{Buf as _, BufMut as _};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataValue,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

const SITE: &str = "https://grpc.site.example";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let tls = ClientTlsConfig::new().with_native_roots();
    let channel = Endpoint::from_static(SITE)
        .tls_config(tls)?
        .timeout(Duration::from_secs(10))
        .connect()
        .await
        .context("connecting")?;
    let mut client = Grpc::new(channel);
    let token = env::var("TOKEN")?;

    let one = request("one".to_owned(), &token)?;
    say("unary", call(&mut client, "/echo.Echo/Unary", one).await);

    let many = tokio_stream::iter(["one", "two", "three"].map(str::to_owned));
    client.ready().await?;
    let path = "/echo.Echo/Collect".parse()?;
    let many = request(many, &token)?;
    let answer = client.client_streaming(many, path, Plain).await;
    say("client streams", answer.map(Response::into_inner));

    client.ready().await?;
    let path = "/echo.Echo/Repeat".parse()?;
    let one = request("again".to_owned(), &token)?;
    let answers = client.server_streaming(one, path, Plain).await?;
    let mut answers = answers.into_inner();
    while let Some(answer) = answers.next().await {
        say("server streams", answer);
    }

    // Each message waits for the answer to the one before.
    let (sender, messages) = mpsc::channel(1);
    let messages = request(ReceiverStream::new(messages), &token)?;
    client.ready().await?;
    let path = "/echo.Echo/Converse".parse()?;
    sender.send("0".to_owned()).await?;
    let answers = client.streaming(messages, path, Plain).await?;
    let mut answers = answers.into_inner();
    for number in 1..10 {
        say("both stream", answers.next().await.context("an answer")?);
        sender.send(number.to_string()).await?;
    }
    drop(sender);
    while let Some(answer) = answers.next().await {
        say("both stream", answer);
    }

    let long = request("x".repeat(1_000_000), &token)?;
    let answer = call(&mut client, "/echo.Echo/Unary", long).await;
    say("long", answer.map(|text| text.len()));
    for path in ["/echo.Echo/Fail", "/echo.Echo/Missing"] {
        let nothing = request(String::new(), &token)?;
        say(path, call(&mut client, path, nothing).await);
    }
    Ok(())
}

fn say(what: &str, answer: Result<impl Display, Status>) {
    match answer {
        Ok(answer) => println!("{what}: {answer}"),
        Err(status) => println!("{what}: {}, {}", status.code(), status.message()),
    }
}

async fn call(
    client: &mut Grpc<Channel>,
    path: &'static str,
    request: Request<String>,
) -> Result<String, Status> {
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(path);
    Ok(client.unary(request, path, Plain).await?.into_inner())
}

fn request<T>(message: T, token: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    let token: MetadataValue<_> = format!("Bearer {token}").parse()?;
    request.metadata_mut().insert("authorization", token);
    Ok(request)
}

/// Text as a message.
#[derive(Clone, Copy, Debug)]
struct Plain;

impl Codec for Plain {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
