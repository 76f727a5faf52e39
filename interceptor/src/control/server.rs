//! Serves the control interface, on a thread and a runtime of its own: neither it nor the data path waits for the
//! other.

mod routes;

use std::{
    convert::Infallible,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime, select,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Backend, listener::ControlListener};
use crate::kernel::Peer;

/// Connections served at a time; others wait to be accepted.
const CONNECTIONS: usize = 64;
/// For a request's head to arrive.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// For a whole connection: one request and its answer.
pub(super) const CONNECTION_DEADLINE: Duration = Duration::from_secs(60);
/// Largest request head, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// For requests under way when the server stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Between attempts when accept fails: out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running server. Dropping it stops it, waiting at most two seconds for requests under way, and removes the
/// socket.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<Surrender>>,
    thread: Option<JoinHandle<()>>,
}

/// Stops, and leaves the socket to another daemon that has it too.
#[derive(Debug)]
struct Surrender;

impl Server {
    /// Serves what `socket` receives from now on.
    ///
    /// # Errors
    /// No thread, or no runtime.
    pub(crate) fn start<B: Backend>(socket: ControlListener, backend: Arc<B>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let listener = {
            let _context = runtime.enter();
            UnixListener::from_std(socket.listener().try_clone()?)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                let ended = runtime.block_on(serve(listener, backend, stopped));
                if let Some(Surrender) = ended {
                    socket.leave();
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Accepts nothing more, and leaves the socket to the daemon that has it too. Requests under way are answered.
    pub(crate) fn surrender(mut self) {
        if let Some(stop) = self.stop.take()
            && stop.send(Surrender).is_err()
        {
            tracing::error!("the control thread has ended before");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The receiver notices that its sender is gone.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
    }
}

async fn serve<B: Backend>(
    listener: UnixListener,
    backend: Arc<B>,
    mut stopped: oneshot::Receiver<Surrender>,
) -> Option<Surrender> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let ended = loop {
        let accepted = select! {
            biased;
            // Without a word: its server was dropped.
            ended = &mut stopped => break ended.ok(),
            accepted = accept(&listener, &permits) => accepted,
        };
        // Nothing is learned from how a connection's task ended; taking it out frees it.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, permit)) => {
                let backend = Arc::clone(&backend);
                connections.spawn(async move {
                    connection(stream, backend).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a control connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    };
    drop(listener);
    let drained = timeout(DRAIN, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!("control requests were cut off");
    }
    ended
}

async fn accept(
    listener: &UnixListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection<B: Backend>(stream: UnixStream, backend: Arc<B>) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%error, "control connection refused: the peer is unknown");
            return;
        }
    };
    if let Err(why) = backend.admit(peer).await {
        tracing::debug!(why, "control connection refused");
        return;
    }
    let service = service_fn(|request| {
        let backend = Arc::clone(&backend);
        async move { Ok::<_, Infallible>(routes::answer(backend, request).await) }
    });
    let exchange = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .keep_alive(false)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_DEADLINE, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "control connection ended early"),
        Err(elapsed) => tracing::warn!(%elapsed, "control connection took too long"),
    }
}
