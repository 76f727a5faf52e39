//! What is measured.

use super::{
    order::{Framing, Place, Version, Work},
    row::{Row, Tells},
    stand::{API, PLAIN, SOCKET, TUNNEL},
};

/// The versions that interceptor carries.
pub const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

pub(super) fn rows(quick: bool) -> Vec<Row> {
    let few = |many: u32, few: u32| if quick { few } else { many };
    let long = if quick { 4 << 20 } else { 256 << 20 };
    let mut rows = Vec::new();
    for version in VERSIONS {
        let mut add = |what: &str, host, bearer, work, tells, rounds| {
            rows.push(Row {
                what: format!("{what}, {version}"),
                host,
                version,
                bearer,
                work,
                tells,
                rounds: few(rounds, 1),
            });
        };
        for (what, gzip) in [
            ("event of a stream", false),
            ("event of a gzip stream", true),
        ] {
            let (count, pause) = (few(5, 3), 20);
            let work = Work::Events { count, pause, gzip };
            add(what, API, true, work, Tells::Latency, 20);
        }
        let requests = few(500, 20);
        let small = Work::Small { requests };
        add(
            "first byte of a small answer",
            API,
            true,
            small,
            Tells::Latency,
            7,
        );
        add(
            "small requests on one connection",
            API,
            true,
            small,
            Tells::Rate,
            7,
        );
        let connections = few(50, 3);
        let connect = Work::Connect { connections };
        add(
            "new connections with a small request",
            API,
            true,
            connect,
            Tells::Rate,
            7,
        );
        let framing = Framing::Sized;
        let sized = Work::Download {
            bytes: long,
            framing,
        };
        add("download", PLAIN, false, sized, Tells::Throughput, 5);
        add(
            "download after a secret",
            API,
            true,
            sized,
            Tells::Throughput,
            5,
        );
        let framing = Framing::Gzip;
        let gzip = Work::Download {
            bytes: long,
            framing,
        };
        add(
            "download of gzip after a secret",
            API,
            true,
            gzip,
            Tells::Throughput,
            5,
        );
        let upload = Work::Upload {
            bytes: long,
            token: None,
        };
        add("upload", PLAIN, false, upload, Tells::Throughput, 5);
        let token = Some(Place::Last);
        let upload = Work::Upload { bytes: long, token };
        add(
            "upload with a secret in its last field",
            API,
            false,
            upload,
            Tells::Throughput,
            5,
        );
        add(
            "download in a tunnel",
            TUNNEL,
            false,
            sized,
            Tells::Throughput,
            5,
        );
    }
    let messages = few(3000, 50);
    rows.push(Row {
        what: "WebSocket message of 128 bytes and back".into(),
        host: SOCKET,
        version: Version::Http1,
        bearer: false,
        work: Work::Echo { messages },
        tells: Tells::Latency,
        rounds: few(7, 1),
    });
    rows
}
