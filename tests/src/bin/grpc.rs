//! A client on tonic: a call of each kind, with the token as metadata. What it prints is compared.
//!
//! Messages are bytes as they are: what they mean is nobody's business between client and server.

#![allow(
    clippy::print_stdout,
    reason = "standard output is this program's result"
)]

use std::{env, time::Duration};

use anyhow::{Context as _, Result};
use bytes::{Buf as _, BufMut as _};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Request, Status,
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
    let answer = call(&mut client, "/echo.Echo/Unary", one).await;
    println!("unary {answer:?}");

    let many = tokio_stream::iter(["one", "two", "three"].map(str::to_owned));
    client.ready().await?;
    let path = "/echo.Echo/Collect".parse()?;
    let answer = client
        .client_streaming(request(many, &token)?, path, Plain)
        .await;
    println!(
        "client streams {:?}",
        answer.map(tonic::Response::into_inner)
    );

    client.ready().await?;
    let path = "/echo.Echo/Repeat".parse()?;
    let one = request("again".to_owned(), &token)?;
    let answers = client.server_streaming(one, path, Plain).await?;
    print("server streams", answers.into_inner()).await;

    // Each message waits for the answer to the one before.
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    client.ready().await?;
    let path = "/echo.Echo/Converse".parse()?;
    sender.send("0".to_owned()).await?;
    let answers = client
        .streaming(request(messages, &token)?, path, Plain)
        .await?;
    let mut answers = answers.into_inner();
    for number in 1..10 {
        println!("both stream {:?}", answers.next().await.transpose());
        sender.send(number.to_string()).await?;
    }
    drop(sender);
    print("both stream", answers).await;

    let long = request("x".repeat(1_000_000), &token)?;
    let answer = call(&mut client, "/echo.Echo/Unary", long).await;
    println!("long {:?}", answer.map(|text| text.len()));
    for path in ["/echo.Echo/Fail", "/echo.Echo/Missing"] {
        let answer = call(&mut client, path, request(String::new(), &token)?).await;
        println!(
            "{path} {:?}",
            answer.map_err(|status| (status.code(), status.message().to_owned()))
        );
    }
    Ok(())
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

async fn print(what: &str, mut answers: impl Stream<Item = Result<String, Status>> + Unpin) {
    while let Some(answer) = answers.next().await {
        println!("{what} {answer:?}");
    }
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
