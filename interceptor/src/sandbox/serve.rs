//! The loops behind the listeners of one network namespace.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, UdpSocket},
    sync::Semaphore,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

use super::Service;
use crate::{
    address::NetnsCookie,
    kernel::{Listeners, Netns, NetnsError, Programs, Question, Transport, is_exhausted},
};

/// How long accepting pauses when the process or the system is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the longest query that is read; longer ones are no DNS (RFC 6891 advises against more than 4096).
const QUERY_BYTES: usize = 4096;
/// Queries of one namespace that are being answered at a time.
const QUERIES: usize = 256;
/// For one answer; resolvers give up after 5 s.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What listeners count.
#[derive(Debug, Default)]
pub(super) struct Tally {
    strays: AtomicU64,
    accept_pauses: AtomicU64,
    queries_dropped: AtomicU64,
}

impl Tally {
    /// `strays`: connections and datagrams to a listener that came from no sandbox. `accept_pauses`: times that a
    /// listener found no descriptor or memory. `queries_dropped`: datagrams beyond those that are answered at a time.
    pub(super) fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("strays", self.strays.load(Relaxed)),
            ("accept_pauses", self.accept_pauses.load(Relaxed)),
            ("queries_dropped", self.queries_dropped.load(Relaxed)),
        ]
    }
}

/// What every loop of a namespace needs.
struct Desk<S> {
    netns: NetnsCookie,
    programs: Arc<Programs>,
    service: Arc<S>,
    tally: Arc<Tally>,
    queries: Arc<Semaphore>,
}

/// The listeners of one namespace, known to the runtime.
#[derive(Debug)]
pub(super) struct Sockets {
    netns: NetnsCookie,
    pairs: Vec<(Arc<TcpListener>, Arc<UdpSocket>)>,
    /// Queries that are being answered.
    queries: Arc<Semaphore>,
}

impl Sockets {
    pub(super) fn register(listeners: Listeners) -> io::Result<Self> {
        let pairs = [Some(listeners.v4), listeners.v6].into_iter().flatten();
        let pairs = pairs.map(|pair| {
            let tcp = TcpListener::from_std(pair.tcp)?;
            let udp = UdpSocket::from_std(pair.udp)?;
            Ok((Arc::new(tcp), Arc::new(udp)))
        });
        Ok(Self {
            netns: listeners.netns,
            pairs: pairs.collect::<io::Result<_>>()?,
            queries: Arc::new(Semaphore::new(QUERIES)),
        })
    }

    fn desk<S: Service>(
        &self,
        programs: &Arc<Programs>,
        service: &Arc<S>,
        tally: &Arc<Tally>,
    ) -> Arc<Desk<S>> {
        Arc::new(Desk {
            netns: self.netns,
            programs: Arc::clone(programs),
            service: Arc::clone(service),
            tally: Arc::clone(tally),
            queries: Arc::clone(&self.queries),
        })
    }

    /// Answers a query that came before them, as if it had been received.
    pub(super) fn answer_late<S: Service>(
        &self,
        programs: &Arc<Programs>,
        service: &Arc<S>,
        tally: &Arc<Tally>,
        question: &Question,
    ) {
        let mut sockets = self.pairs.iter().map(|(_, udp)| udp);
        let socket = sockets.find(|udp| {
            let own = udp.local_addr();
            own.is_ok_and(|own| own.is_ipv4() == question.asker.is_ipv4())
        });
        if let Some(socket) = socket {
            self.desk(programs, service, tally)
                .answer(socket, question.asker, &question.message);
        }
    }

    /// Starts the loops of all listeners; they end when the set is dropped, connections do not.
    pub(super) fn serve<S: Service>(
        &self,
        programs: &Arc<Programs>,
        service: &Arc<S>,
        tally: &Arc<Tally>,
    ) -> JoinSet<()> {
        let desk = self.desk(programs, service, tally);
        let mut loops = JoinSet::new();
        for (tcp, udp) in &self.pairs {
            loops.spawn(Arc::clone(&desk).accept(Arc::clone(tcp)));
            loops.spawn(Arc::clone(&desk).receive(Arc::clone(udp)));
        }
        loops
    }

    /// The namespace that they are in.
    pub(super) fn netns(&self) -> Result<Netns, NetnsError> {
        let (tcp, _) = self.pairs.first().ok_or(NetnsError::NoSocket)?;
        Netns::of_socket(tcp.as_fd())
    }

    /// In the order of [`Listeners::inherit`].
    pub(super) fn handles(&self) -> Vec<BorrowedFd<'_>> {
        let pairs = self.pairs.iter();
        pairs
            .flat_map(|(tcp, udp)| [tcp.as_fd(), udp.as_fd()])
            .collect()
    }
}

impl<S: Service> Desk<S> {
    async fn accept(self: Arc<Self>, listener: Arc<TcpListener>) {
        loop {
            let (client, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.pause(&error).await;
                    continue;
                }
            };
            let Some(origin) = self.programs.take_flow(self.netns, peer, Transport::Tcp) else {
                // Others can find the port; they gain nothing.
                self.tally.strays.fetch_add(1, Relaxed);
                tracing::debug!(netns = %self.netns, %peer, "a connection from no sandbox was closed");
                continue;
            };
            if let Err(error) = client.set_nodelay(true) {
                tracing::debug!(%error, "the client was gone before it was served");
                continue;
            }
            tokio::spawn(Arc::clone(&self.service).serve(client, origin));
            // Whoever connects as fast as it can has one connection more each time that all others had their turn.
            yield_now().await;
        }
    }

    async fn receive(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; QUERY_BYTES];
        loop {
            let (length, peer) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    self.pause(&error).await;
                    continue;
                }
            };
            self.answer(&socket, peer, buffer.get(..length).unwrap_or_default());
        }
    }

    fn answer(&self, socket: &Arc<UdpSocket>, peer: SocketAddr, query: &[u8]) {
        let Some(origin) = self.programs.take_flow(self.netns, peer, Transport::Udp) else {
            self.tally.strays.fetch_add(1, Relaxed);
            return;
        };
        let Ok(permit) = Arc::clone(&self.queries).try_acquire_owned() else {
            self.tally.queries_dropped.fetch_add(1, Relaxed);
            return;
        };
        let query: Box<[u8]> = query.into();
        let (socket, service) = (Arc::clone(socket), Arc::clone(&self.service));
        tokio::spawn(async move {
            let answer = timeout(ANSWER_DEADLINE, service.answer(&query, &origin)).await;
            if let Ok(Some(answer)) = answer
                && let Err(error) = socket.send_to(&answer, peer).await
            {
                tracing::debug!(%error, "cannot answer a query");
            }
            drop(permit);
        });
    }

    /// Waits where the next call would fail in the same way at once.
    async fn pause(&self, error: &io::Error) {
        if !is_exhausted(error) {
            tracing::debug!(netns = %self.netns, %error, "a client was gone before it was accepted");
            return;
        }
        self.tally.accept_pauses.fetch_add(1, Relaxed);
        tracing::error!(netns = %self.netns, %error, "cannot accept: raise the limit on open files or on memory");
        sleep(PAUSE).await;
    }
}
