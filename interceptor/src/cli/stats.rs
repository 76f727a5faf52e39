//! `interceptor stats`

use std::{collections::BTreeMap, fmt::Write, path::Path};

use serde::Serialize;

use super::{
    Json, events,
    output::{self, escape},
    table::{Column, Table},
    units,
};
use crate::{
    control::{
        api::{CountsView, Info, StatsView},
        client::Client,
    },
    stats::view::TotalsView,
};

pub(super) const EXAMPLES: &str = "\
SENT and RECEIVED are bytes, MSG SENT and MSG RECEIVED messages, as seen from the clients. REWRITES are placeholders that \
became secrets, PASSED those that stood outside their binding and went on as they were, REDACTED secrets that came back \
and became placeholders again, OPAQUE messages and responses that could not be looked into, REUSED connections to \
servers that had served another client. `(all)` are the \
totals since the daemon's start; a line of its own has each sandbox that is attached.

Examples:
  interceptor stats
  interceptor stats --json | jq '.denials[] | .reason'";

/// Events shown to people; `interceptor events` has all that are remembered.
const DENIALS: usize = 10;

/// Everything, for programs.
#[derive(Serialize)]
struct Report<'a> {
    daemon: &'a Info,
    #[serde(flatten)]
    stats: &'a StatsView,
}

pub(super) fn run(json: Json, run_dir: &Path) -> anyhow::Result<()> {
    let client = Client::new(run_dir);
    let report = Report {
        daemon: &client.info()?,
        stats: &client.stats()?,
    };
    if json.json {
        return output::json(&report);
    }
    output::print(&render(&report)?)
}

fn render(Report { daemon, stats }: &Report<'_>) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(
        text,
        "interceptor {}, pid {}, {}, since {}\n",
        escape(&daemon.version),
        daemon.pid,
        escape(&daemon.config.display().to_string()),
        escape(&stats.since),
    )?;
    if let Some(rejected) = &stats.counts.rejected {
        writeln!(
            text,
            "SINCE {} {}:",
            escape(&rejected.since),
            escape(&rejected.error)
        )?;
        for fault in &rejected.detail {
            writeln!(text, "  {}", escape(fault))?;
        }
        text.push('\n');
    }
    text.push_str(&totals(&stats.counts).render());
    let overall = &stats.counts.overall;
    for (title, counts) in [
        ("SECRET", &overall.rewrites),
        ("DENIED BECAUSE OF", &overall.denied),
        ("KERNEL", &stats.counts.kernel),
    ] {
        section(&mut text, &counted(title, counts));
    }
    section(&mut text, &draining(stats));
    let recent = stats.denials.len().saturating_sub(DENIALS);
    section(
        &mut text,
        &events::table(stats.denials.get(recent..).unwrap_or_default()),
    );
    Ok(text)
}

/// Daemons that another one has taken over from, and still have connections.
fn draining(stats: &StatsView) -> Table {
    let mut table = Table::new(&[
        Column::Number("DRAINING DAEMON"),
        Column::Text("VERSION"),
        Column::Number("LIVE"),
    ]);
    for daemon in &stats.draining {
        table.row([
            daemon.pid.to_string(),
            daemon.version.clone(),
            daemon.live_connections.to_string(),
        ]);
    }
    table
}

fn section(text: &mut String, table: &Table) {
    if !table.is_empty() {
        text.push('\n');
        text.push_str(&table.render());
    }
}

fn totals(counts: &CountsView) -> Table {
    let mut table = Table::new(&[
        Column::Text("SANDBOX"),
        Column::Number("OPENED"),
        Column::Number("LIVE"),
        Column::Number("DENIED"),
        Column::Number("DNS"),
        Column::Number("DNS REFUSED"),
        Column::Number("SENT"),
        Column::Number("RECEIVED"),
        Column::Number("MSG SENT"),
        Column::Number("MSG RECEIVED"),
        Column::Number("REWRITES"),
        Column::Number("PASSED"),
        Column::Number("REDACTED"),
        Column::Number("OPAQUE"),
        Column::Number("REUSED"),
    ]);
    let mut row = |name: String, totals: &TotalsView| {
        table.row([
            name,
            totals.opened.to_string(),
            totals.live.to_string(),
            totals.denied.values().sum::<u64>().to_string(),
            totals.dns_answered.to_string(),
            totals.dns_refused.to_string(),
            units::bytes(totals.sent.bytes),
            units::bytes(totals.received.bytes),
            totals.sent.messages.to_string(),
            totals.received.messages.to_string(),
            totals.rewrites.values().sum::<u64>().to_string(),
            totals.placeholders_passed.to_string(),
            totals.redactions.to_string(),
            totals.opaque_messages.to_string(),
            totals.upstreams_reused.to_string(),
        ]);
    };
    for sandbox in &counts.sandboxes {
        row(sandbox.sandbox.clone(), &sandbox.totals);
    }
    row("(all)".into(), &counts.overall);
    table
}

fn counted(title: &'static str, counts: &BTreeMap<String, u64>) -> Table {
    let mut table = Table::new(&[Column::Text(title), Column::Number("COUNT")]);
    for (name, count) in counts {
        table.row([name.clone(), count.to_string()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::{DrainingView, RejectionView};
    use crate::stats::view::{DirectionView, EventView, SandboxTotalsView};

    fn totals() -> TotalsView {
        TotalsView {
            opened: 12,
            live: 3,
            denied: [("policy".to_owned(), 2), ("certificate".to_owned(), 1)].into(),
            dns_answered: 5,
            dns_refused: 1,
            sent: DirectionView {
                bytes: 2048,
                messages: 7,
            },
            received: DirectionView {
                bytes: 10,
                messages: 8,
            },
            rewrites: [("DISCORD_BOT_TOKEN".to_owned(), 4)].into(),
            placeholders_passed: 1,
            redactions: 6,
            opaque_messages: 2,
            upstreams_reused: 9,
        }
    }

    fn denial(number: usize) -> EventView {
        EventView {
            daemon: 77,
            id: number as u64 + 1,
            at: format!("2026-01-31T23:59:{number:02}.000Z"),
            count: 1,
            sandbox_id: Some(1),
            sandbox: Some("micky".into()),
            pid: 4242,
            uid: 1000,
            comm: "node".into(),
            destination: Some("192.0.2.1:443".parse().unwrap()),
            name: Some("example.com".into()),
            connection: None,
            reason: "policy".into(),
            detail: "no rule for example.com:443".into(),
        }
    }

    fn stats() -> StatsView {
        StatsView {
            since: "2026-01-31T00:00:00.000Z".into(),
            counts: CountsView {
                overall: totals(),
                sandboxes: vec![SandboxTotalsView {
                    sandbox_id: 1,
                    sandbox: "micky".into(),
                    totals: totals(),
                }],
                kernel: [("connects".to_owned(), 12), ("fenced".to_owned(), 0)].into(),
                rejected: None,
            },
            denials: (0..12).map(denial).collect(),
            draining: vec![DrainingView {
                pid: 66,
                version: "0.0.9".into(),
                live_connections: 2,
            }],
        }
    }

    fn info() -> Info {
        Info {
            version: "0.1.0".into(),
            pid: 77,
            live_connections: 3,
            config: "/etc/interceptor.yaml".into(),
            ca_certificate: "/run/interceptor/ca.pem".into(),
            ca_bundle: "/run/interceptor/ca-bundle.pem".into(),
        }
    }

    #[test]
    fn people_see_totals_counters_and_the_last_denials() {
        let (daemon, stats) = (&info(), &stats());
        let text = render(&Report { daemon, stats }).unwrap();
        let head: Vec<_> = text.lines().take(21).collect();
        assert_eq!(
            head,
            [
                "interceptor 0.1.0, pid 77, /etc/interceptor.yaml, since 2026-01-31T00:00:00.000Z",
                "",
                "SANDBOX  OPENED  LIVE  DENIED  DNS  DNS REFUSED     SENT  RECEIVED  MSG SENT  MSG RECEIVED  REWRITES  PASSED  REDACTED  OPAQUE  REUSED",
                "micky        12     3       3    5            1  2.0 KiB      10 B         7             8         4       1         6       2       9",
                "(all)        12     3       3    5            1  2.0 KiB      10 B         7             8         4       1         6       2       9",
                "",
                "SECRET             COUNT",
                "DISCORD_BOT_TOKEN      4",
                "",
                "DENIED BECAUSE OF  COUNT",
                "certificate            1",
                "policy                 2",
                "",
                "KERNEL    COUNT",
                "connects     12",
                "fenced        0",
                "",
                "DRAINING DAEMON  VERSION  LIVE",
                "             66  0.0.9       2",
                "",
                "REFUSED AT                COUNT  SANDBOX  PROCESS      UID  DESTINATION                  REASON  DETAIL",
            ]
        );
        assert_eq!(text.lines().count(), head.len() + DENIALS);
        assert!(text.ends_with(
            "2026-01-31T23:59:11.000Z      1  micky    node[4242]  1000  example.com (192.0.2.1:443)  policy  no rule for example.com:443\n"
        ));
    }

    #[test]
    fn a_configuration_that_is_not_gone_by_is_the_first_thing_that_is_told() {
        let daemon = &info();
        let rejected = RejectionView {
            since: "2026-01-31T01:00:00.000Z".into(),
            error: "the configuration is faulty".into(),
            detail: vec!["a.yaml:1:2: \u{1b}unknown key".into()],
        };
        let mut stats = stats();
        stats.counts.rejected = Some(rejected);
        let stats = &stats;
        let text = render(&Report { daemon, stats }).unwrap();
        let told: Vec<_> = text.lines().skip(2).take(4).collect();
        let expected = [
            "SINCE 2026-01-31T01:00:00.000Z the configuration is faulty:",
            "  a.yaml:1:2: \\u{1b}unknown key",
            "",
        ];
        assert_eq!(told[..3], expected);
        assert!(told[3].starts_with("SANDBOX"));
    }

    #[test]
    fn programs_see_everything() {
        let (daemon, stats) = (&info(), &stats());
        let json = serde_json::to_value(Report { daemon, stats }).unwrap();
        assert_eq!(json["daemon"]["pid"], 77);
        assert_eq!(json["overall"]["denied"]["policy"], 2);
        assert_eq!(json["sandboxes"][0]["opened"], 12);
        assert_eq!(json["denials"].as_array().unwrap().len(), 12);
    }
}
