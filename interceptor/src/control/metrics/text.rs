//! Totals in Prometheus' text format 0.0.4.

use std::fmt::Write;

use crate::{control::api::StatsView, stats::view::TotalsView};

pub(super) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A sample's labels, each with its value.
type Labels<'a> = Vec<(&'a str, String)>;

/// Totals of all sandboxes that there ever were, and of each that is attached.
pub(super) fn of(stats: &StatsView) -> String {
    let mut text = String::new();
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    metric(&mut text, "interceptor_build_info", "gauge", [(version, 1)]);
    let rejected = u64::from(stats.rejected.is_some());
    let name = "interceptor_config_rejected";
    metric(&mut text, name, "gauge", [(Vec::new(), rejected)]);
    totals(&mut text, "interceptor_", &[(Vec::new(), &stats.overall)]);
    let sandboxes: Vec<_> = stats
        .sandboxes
        .iter()
        .map(|view| {
            let labels = vec![
                ("sandbox", view.sandbox.clone()),
                ("id", view.sandbox_id.to_string()),
            ];
            (labels, &view.totals)
        })
        .collect();
    totals(&mut text, "interceptor_sandbox_", &sandboxes);
    let kernel = stats.kernel.iter();
    let kernel = kernel.map(|(name, count)| (vec![("counter", name.clone())], *count));
    metric(&mut text, "interceptor_counted_total", "counter", kernel);
    text
}

fn totals(text: &mut String, prefix: &str, all: &[(Labels<'_>, &TotalsView)]) {
    let mut one = |name: &str, kind, value: fn(&TotalsView) -> u64| {
        let samples = all
            .iter()
            .map(|(labels, totals)| (labels.clone(), value(totals)));
        metric(text, &format!("{prefix}{name}"), kind, samples);
    };
    one("connections_open", "gauge", |totals| totals.live);
    one("connections_total", "counter", |totals| totals.opened);
    one("dns_answered_total", "counter", |totals| {
        totals.dns_answered
    });
    one("dns_refused_total", "counter", |totals| totals.dns_refused);
    one("sent_bytes_total", "counter", |totals| totals.sent.bytes);
    one("received_bytes_total", "counter", |totals| {
        totals.received.bytes
    });
    one("sent_messages_total", "counter", |totals| {
        totals.sent.messages
    });
    one("received_messages_total", "counter", |totals| {
        totals.received.messages
    });
    one("placeholders_passed_total", "counter", |totals| {
        totals.placeholders_passed
    });
    one("redactions_total", "counter", |totals| totals.redactions);
    one("upstreams_reused_total", "counter", |totals| {
        totals.upstreams_reused
    });
    let refusals = all.iter().flat_map(|(labels, totals)| {
        let denied = totals.denied.iter();
        denied.map(|(reason, count)| (with(labels, "reason", reason), *count))
    });
    metric(
        text,
        &format!("{prefix}refusals_total"),
        "counter",
        refusals,
    );
    let rewrites = all.iter().flat_map(|(labels, totals)| {
        let rewrites = totals.rewrites.iter();
        rewrites.map(|(secret, count)| (with(labels, "secret", secret), *count))
    });
    metric(
        text,
        &format!("{prefix}rewrites_total"),
        "counter",
        rewrites,
    );
}

fn with<'a>(labels: &Labels<'a>, name: &'a str, value: &str) -> Labels<'a> {
    let mut labels = labels.clone();
    labels.push((name, value.to_owned()));
    labels
}

/// One metric with all its samples; nothing if it has none.
fn metric<'a>(
    text: &mut String,
    name: &str,
    kind: &str,
    samples: impl IntoIterator<Item = (Labels<'a>, u64)>,
) {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return;
    }
    line(text, format_args!("# TYPE {name} {kind}"));
    for (labels, value) in samples {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.join(",") {
            none if none.is_empty() => none,
            some => format!("{{{some}}}"),
        };
        line(text, format_args!("{name}{labels} {value}"));
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    if writeln!(text, "{line}").is_err() {
        tracing::debug!("a metric was left out");
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::view::SandboxTotalsView;

    #[test]
    fn totals_stand_once_for_all_and_once_for_each_sandbox() {
        let totals = TotalsView {
            opened: 12,
            live: 3,
            denied: [("policy".to_owned(), 2), ("dns".to_owned(), 1)].into(),
            rewrites: [("TOKEN".to_owned(), 4)].into(),
            ..TotalsView::default()
        };
        let stats = StatsView {
            since: String::new(),
            overall: totals.clone(),
            sandboxes: vec![SandboxTotalsView {
                sandbox_id: 7,
                sandbox: "a\"b\\c\nd".into(),
                totals,
            }],
            kernel: [("connects".to_owned(), 12)].into(),
            denials: Vec::new(),
            draining: Vec::new(),
            rejected: None,
        };
        let text = of(&stats);
        let lines: Vec<_> = text.lines().collect();
        for expected in [
            "# TYPE interceptor_connections_open gauge",
            "interceptor_connections_open 3",
            "# TYPE interceptor_refusals_total counter",
            "interceptor_refusals_total{reason=\"dns\"} 1",
            "interceptor_refusals_total{reason=\"policy\"} 2",
            r#"interceptor_sandbox_connections_total{sandbox="a\"b\\c\nd",id="7"} 12"#,
            r#"interceptor_sandbox_rewrites_total{sandbox="a\"b\\c\nd",id="7",secret="TOKEN"} 4"#,
            "interceptor_counted_total{counter=\"connects\"} 12",
            "interceptor_config_rejected 0",
        ] {
            assert!(lines.contains(&expected), "{expected}\n{text}");
        }
        let types = lines.iter().filter(|line| line.starts_with("# TYPE "));
        let mut names: Vec<_> = types.collect();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{text}");
    }
}
