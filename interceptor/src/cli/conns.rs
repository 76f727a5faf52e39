//! `interceptor conns`

use std::{path::Path, time::Duration};

use clap::Args;

use super::{
    Json, output,
    table::{Column, Table, or_dash, terminal_width},
    units,
};
use crate::{
    control::client::Client,
    stats::view::{ConnectionView, DirectionView},
};

const EXAMPLES: &str = "\
SENT and RECEIVED are seen from the client: bytes (inside TLS where it is opened) / messages (WebSocket messages, HTTP \
requests or responses). REWRITES are placeholders that became secrets; `passed` are those that stood outside their \
binding and went on as they were, `opaque` messages that mention one in a format that is not known, and responses \
that cannot be searched, `redacted` secrets that came back and became placeholders again. SETUP is both handshakes and \
the dial together, the client's alone where a connection to the server was `reused`; --json has each.

A terminal of less than 200 columns does not show UID, ADDRESS, RULE, SETUP and START.

Examples:
  interceptor conns
  interceptor conns --all --json | jq '.[] | select(.verdict == \"deny\")'";

/// Least width of a terminal that shows all columns.
const WIDE: u16 = 200;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ConnsArgs {
    /// Show the last ended connections too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: Json,
}

pub(super) fn run(args: ConnsArgs, run_dir: &Path) -> anyhow::Result<()> {
    let connections = Client::new(run_dir).connections(args.all)?;
    if args.json.json {
        return output::json(&connections);
    }
    let wide = terminal_width().is_none_or(|width| width >= WIDE);
    let table = table(&connections, wide);
    if table.is_empty() {
        return output::print(if args.all {
            "no connections\n"
        } else {
            "no live connections: --all shows ended ones\n"
        });
    }
    output::print(&table.render())
}

/// The address, the user, the rule and the times are left out where there is no room for them.
fn table(connections: &[ConnectionView], wide: bool) -> Table {
    let columns = [
        (Column::Number("ID"), true),
        (Column::Text("SANDBOX"), true),
        (Column::Text("PROCESS"), true),
        (Column::Number("UID"), wide),
        (Column::Text("DESTINATION"), true),
        (Column::Word("ADDRESS"), wide),
        (Column::Text("VERDICT"), true),
        (Column::Text("RULE"), wide),
        (Column::Word("SENT"), true),
        (Column::Word("RECEIVED"), true),
        (Column::Text("REWRITES"), true),
        (Column::Number("SETUP"), wide),
        (Column::Word("START"), wide),
        (Column::Number("TIME"), true),
        (Column::Text("END"), true),
    ];
    let shown: Vec<_> = columns
        .iter()
        .filter_map(|(column, shown)| shown.then_some(*column))
        .collect();
    let mut table = Table::new(&shown);
    for connection in connections {
        let cells = [
            connection.id.to_string(),
            connection.sandbox.clone(),
            format!("{}[{}]", connection.comm, connection.pid),
            connection.uid.to_string(),
            destination(connection),
            connection.destination.to_string(),
            verdict(connection),
            or_dash(connection.rule.clone()),
            direction(connection.sent),
            direction(connection.received),
            rewrites(connection),
            or_dash(setup(connection)),
            connection.start.clone(),
            units::duration(Duration::from_millis(connection.duration_ms)),
            end(connection),
        ];
        let cells = cells.into_iter().zip(&columns);
        table.row(cells.filter_map(|(cell, (_, shown))| shown.then_some(cell)));
    }
    table
}

fn destination(connection: &ConnectionView) -> String {
    match &connection.sni {
        Some(sni) => format!("{sni}:{}", connection.destination.port()),
        None => connection.destination.to_string(),
    }
}

fn verdict(connection: &ConnectionView) -> String {
    let known = [&connection.verdict, &connection.protocol];
    let known: Vec<_> = known.into_iter().flatten().map(String::as_str).collect();
    if known.is_empty() {
        "-".into()
    } else {
        known.join(" ")
    }
}

fn direction(direction: DirectionView) -> String {
    match direction.messages {
        0 => units::bytes(direction.bytes),
        count => format!("{} / {count}", units::bytes(direction.bytes)),
    }
}

fn rewrites(connection: &ConnectionView) -> String {
    let mut parts: Vec<_> = connection
        .rewrites
        .iter()
        .map(|(name, count)| format!("{name} ×{count}"))
        .collect();
    if connection.placeholders_passed > 0 {
        parts.push(format!("{} passed", connection.placeholders_passed));
    }
    if connection.redactions > 0 {
        parts.push(format!("{} redacted", connection.redactions));
    }
    if connection.opaque_messages > 0 {
        parts.push(format!("{} opaque", connection.opaque_messages));
    }
    if parts.is_empty() {
        "-".into()
    } else {
        parts.join(", ")
    }
}

fn setup(connection: &ConnectionView) -> Option<String> {
    let steps = [
        connection.client_handshake_us,
        connection.dial_us,
        connection.upstream_handshake_us,
    ];
    steps
        .into_iter()
        .flatten()
        .reduce(u64::saturating_add)
        .map(|micros| {
            let took = units::duration(Duration::from_micros(micros));
            let reused = if connection.upstream_reused {
                " reused"
            } else {
                ""
            };
            took + reused
        })
}

fn end(connection: &ConnectionView) -> String {
    let end = match (&connection.end, connection.live) {
        (Some(end), _) => end.as_str(),
        (None, true) => "live",
        (None, false) => "ended",
    };
    let daemon = connection.draining.map(|pid| format!("in daemon {pid}"));
    let remarks = connection.remarks.iter().map(String::as_str);
    let parts: Vec<_> = [Some(end), daemon.as_deref()]
        .into_iter()
        .flatten()
        .chain(remarks)
        .collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn websocket() -> ConnectionView {
        ConnectionView {
            draining: None,
            id: 12,
            sandbox_id: 1,
            sandbox: "micky".into(),
            pid: 4242,
            uid: 1000,
            comm: "node".into(),
            destination: "192.0.2.1:443".parse().unwrap(),
            sni: Some("gateway.discord.gg".into()),
            verdict: Some("intercept".into()),
            rule: Some("discord/gateway.discord.gg:443".into()),
            protocol: Some("websocket".into()),
            sent: DirectionView {
                bytes: 1536,
                messages: 3,
            },
            received: DirectionView {
                bytes: 90,
                messages: 0,
            },
            rewrites: [("DISCORD_BOT_TOKEN".to_owned(), 1)].into(),
            placeholders_passed: 2,
            redactions: 3,
            remarks: vec!["a message outgrew".into()],
            opaque_messages: 1,
            upstream_reused: false,
            dial_us: Some(1_000),
            upstream_handshake_us: Some(3_500),
            client_handshake_us: Some(900),
            start: "2026-01-31T23:59:59.123Z".into(),
            duration_ms: 307_000,
            live: true,
            end: None,
        }
    }

    fn denied() -> ConnectionView {
        ConnectionView {
            draining: Some(77),
            id: 13,
            comm: "\x1b]0;evil\x07".into(),
            destination: "[2001:db8::1]:25".parse().unwrap(),
            sni: None,
            verdict: Some("deny".into()),
            rule: None,
            protocol: None,
            sent: DirectionView::default(),
            received: DirectionView::default(),
            rewrites: Default::default(),
            placeholders_passed: 0,
            redactions: 0,
            remarks: Vec::new(),
            opaque_messages: 0,
            dial_us: None,
            upstream_handshake_us: None,
            client_handshake_us: None,
            duration_ms: 2,
            live: false,
            end: Some("denied: no rule for 2001:db8::1 port 25".into()),
            ..websocket()
        }
    }

    #[test]
    fn connections_are_shown_a_line_each() {
        let text = table(&[websocket(), denied()], true).render();
        let lines: Vec<_> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
            })
            .map(Iterator::collect::<Vec<_>>)
            .collect();
        assert_eq!(
            lines[1],
            [
                "12",
                "micky",
                "node[4242]",
                "1000",
                "gateway.discord.gg:443",
                "192.0.2.1:443",
                "intercept websocket",
                "discord/gateway.discord.gg:443",
                "1.5 KiB / 3",
                "90 B",
                "DISCORD_BOT_TOKEN ×1, 2 passed, 3 redacted, 1 opaque",
                "5 ms",
                "2026-01-31T23:59:59.123Z",
                "5m 07s",
                "live; a message outgrew",
            ]
        );
        assert_eq!(
            lines[2],
            [
                "13",
                "micky",
                r"\u{1b}]0;evil\u{7}[4242]",
                "1000",
                "[2001:db8::1]:25",
                "[2001:db8::1]:25",
                "deny",
                "-",
                "0 B",
                "0 B",
                "-",
                "-",
                "2026-01-31T23:59:59.123Z",
                "2 ms",
                "denied: no rule for 2001:db8::1 port 25; in daemon 77",
            ]
        );
        assert_eq!(lines[0].len(), lines[1].len());
    }

    #[test]
    fn connections_fit_a_terminal() {
        let connections = [websocket(), denied()];
        for width in [110, 200, 250] {
            let text = table(&connections, width >= WIDE).at_width(width).render();
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.into()), "{width}:\n{text}");
        }
    }
}
