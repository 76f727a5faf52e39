//! A server by the `h2` crate, which remembers what arrived.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::wire::ALPN;
use crate::pki::{Authority, Resolver};

/// A request with this field is never answered.
pub const HELD: &str = "x-held";
/// The answer to a request with this field has so many bytes.
pub const LARGE: &str = "x-large";

/// What everybody else gets.
const ANSWER: &[u8] = b"a short answer";

/// What arrived of one request.
#[derive(Clone, Debug)]
pub struct Arrived {
    pub path: String,
    pub authorization: Option<String>,
    /// It came to its end, in order.
    pub whole: bool,
}

/// A running server. Its thread ends with the process.
pub struct Recorder {
    record: Arc<Mutex<Record>>,
    authority: Arc<Authority>,
    address: SocketAddr,
}

#[derive(Debug, Default)]
struct Record {
    arrived: Vec<Arrived>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What a server under TLS needs to speak HTTP/2 under every name.
///
/// # Errors
/// rustls refuses.
pub fn tls(authority: &Arc<Authority>) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver::new(Arc::clone(authority))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

impl Recorder {
    /// Listens on a free port of 127.0.0.1, with a certificate for every name.
    ///
    /// # Errors
    /// No port, no thread or no randomness to be had.
    pub fn start() -> Result<Self> {
        let authority = Arc::new(Authority::new("test authority of the recorder")?);
        let acceptor = TlsAcceptor::from(tls(&authority)?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let record = Arc::<Mutex<Record>>::default();
        let all = Arc::clone(&record);
        thread::spawn(move || {
            runtime.block_on(async {
                while let Ok((tcp, _)) = listener.accept().await {
                    let (acceptor, record) = (acceptor.clone(), Arc::clone(&all));
                    // What was recorded until it failed is what counts.
                    tokio::spawn(async move { drop(serve(tcp, acceptor, record).await) });
                }
            });
        });
        Ok(Self {
            record,
            authority,
            address,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Every request so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.record().arrived.clone()
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, record: Arc<Mutex<Record>>) -> Result<()> {
    let stream = acceptor.accept(tcp).await?;
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(1000)
        // Bodies in many small frames are not what is tested here.
        .data_frame_budget(1 << 24)
        .handshake::<_, Bytes>(stream)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let field = |name: &str| {
            let value = request.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let arrived = Arrived {
            path: request.uri().path().to_owned(),
            authorization: field("authorization"),
            whole: false,
        };
        let stream = Stream::begin(Arc::clone(&record), arrived);
        tokio::spawn(async move { drop(stream.answer(request, respond).await) });
    }
    Ok(())
}

/// One request under way.
struct Stream {
    number: usize,
    record: Arc<Mutex<Record>>,
}

impl Stream {
    fn begin(record: Arc<Mutex<Record>>, arrived: Arrived) -> Self {
        let number = {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.arrived.push(arrived);
            record.arrived.len() - 1
        };
        Self { number, record }
    }

    async fn answer(
        self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> Result<()> {
        let (head, mut body) = request.into_parts();
        if head.headers.contains_key(HELD) {
            // Nor is its body read.
            std::future::poll_fn(|cx| respond.poll_reset(cx)).await?;
            return Ok(());
        }
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
        }
        body.trailers().await?;
        self.note(|record, number| {
            if let Some(arrived) = record.arrived.get_mut(number) {
                arrived.whole = true;
            }
        });
        let large = head.headers.get(LARGE).map(|value| value.to_str());
        let mut left = large.map_or(Ok(0), |value| anyhow::Ok(value?.parse::<usize>()?))?;
        let mut answer = respond.send_response(Response::new(()), false)?;
        if left == 0 {
            answer.send_data(Bytes::from_static(ANSWER), true)?;
        }
        while left > 0 {
            answer.reserve_capacity(left.min(1 << 16));
            let room = std::future::poll_fn(|cx| answer.poll_capacity(cx)).await;
            let room = room.context("the stream was reset")??.min(left);
            left -= room;
            answer.send_data(vec![b'x'; room].into(), left == 0)?;
        }
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut Record, usize)) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut record, self.number);
    }
}
