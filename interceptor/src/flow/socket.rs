//! Options of the sockets on both sides of a connection.

use std::{io, time::Duration};

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// A peer that vanished is noticed within idle + 4 × interval; a session that is merely quiet lives for ever. NATs and
/// load balancers forget a quiet connection after 4 minutes at the soonest: the idle time is well below that. There is
/// no TCP_USER_TIMEOUT: it would also end a connection whose peer lives but does not read (tcp_probe_timer).
const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Small messages go at once, and dead peers are noticed by TCP keepalive, since nothing of ours times a quiet
/// connection out.
pub(super) fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, IDLE)?;
    sockopt::set_tcp_keepintvl(socket, INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::flow::dial;

    #[tokio::test]
    async fn dead_peers_are_found_in_two_minutes_on_either_side_and_a_quiet_one_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = dial::connect(listener.local_addr().unwrap()).await.unwrap();
        let (client, _) = listener.accept().await.unwrap();
        tune(&client).unwrap();
        for socket in [&upstream, &client] {
            assert!(sockopt::socket_keepalive(socket).unwrap());
            let idle = sockopt::tcp_keepidle(socket).unwrap();
            let interval = sockopt::tcp_keepintvl(socket).unwrap();
            let probes = sockopt::tcp_keepcnt(socket).unwrap();
            assert_eq!(idle + interval * probes, Duration::from_secs(120));
            assert!(idle < Duration::from_secs(4 * 60));
            assert_eq!(sockopt::tcp_user_timeout(socket).unwrap(), 0);
            assert!(socket.nodelay().unwrap());
        }
    }
}
