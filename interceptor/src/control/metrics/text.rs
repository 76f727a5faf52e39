//! Totals in Prometheus' text format 0.0.4.

use std::{collections::BTreeMap, fmt::Write};

use crate::{
    control::api::CountsView,
    stats::view::{DirectionView, TotalsView},
};

pub(super) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A sample's labels, each with its value.
type Labels<'a> = Vec<(&'a str, String)>;

/// Totals of all sandboxes that there ever were, and of each that is attached.
pub(super) fn of(counts: &CountsView) -> String {
    let CountsView {
        overall,
        sandboxes,
        kernel,
        rejected,
    } = counts;
    let mut text = String::new();
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    metric(&mut text, "interceptor_build_info", "gauge", [(version, 1)]);
    let rejected = u64::from(rejected.is_some());
    let name = "interceptor_config_rejected";
    metric(&mut text, name, "gauge", [(Vec::new(), rejected)]);
    totals(&mut text, "interceptor_", [(Vec::new(), overall)]);
    let sandboxes = sandboxes.iter().map(|view| {
        let labels = vec![
            ("sandbox", view.sandbox.clone()),
            ("id", view.sandbox_id.to_string()),
        ];
        (labels, &view.totals)
    });
    totals(&mut text, "interceptor_sandbox_", sandboxes);
    let kernel = kernel.iter();
    let kernel = kernel.map(|(name, count)| (vec![("counter", name.clone())], *count));
    metric(&mut text, "interceptor_counted_total", "counter", kernel);
    text
}

fn totals<'a>(
    text: &mut String,
    prefix: &str,
    all: impl IntoIterator<Item = (Labels<'a>, &'a TotalsView)>,
) {
    let mut metrics = BTreeMap::<_, Vec<_>>::new();
    for (labels, totals) in all {
        for (name, labels, value) in samples(&labels, totals) {
            metrics.entry(name).or_default().push((labels, value));
        }
    }
    for (name, samples) in metrics {
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        metric(text, &format!("{prefix}{name}"), kind, samples);
    }
}

/// Everything that is counted, each with its metric's name.
fn samples<'a>(labels: &Labels<'a>, totals: &TotalsView) -> Vec<(&'static str, Labels<'a>, u64)> {
    let TotalsView {
        opened,
        live,
        denied,
        dns_answered,
        dns_refused,
        sent,
        received,
        rewrites,
        placeholders_passed,
        redactions,
        opaque_messages,
        upstreams_reused,
    } = totals;
    let DirectionView {
        bytes: sent_bytes,
        messages: sent_messages,
    } = sent;
    let DirectionView {
        bytes: received_bytes,
        messages: received_messages,
    } = received;
    let numbers = [
        ("connections_open", live),
        ("connections_total", opened),
        ("dns_answered_total", dns_answered),
        ("dns_refused_total", dns_refused),
        ("sent_bytes_total", sent_bytes),
        ("sent_messages_total", sent_messages),
        ("received_bytes_total", received_bytes),
        ("received_messages_total", received_messages),
        ("placeholders_passed_total", placeholders_passed),
        ("redactions_total", redactions),
        ("opaque_messages_total", opaque_messages),
        ("upstreams_reused_total", upstreams_reused),
    ];
    let numbers = numbers.map(|(name, value)| (name, labels.clone(), *value));
    let refusals = denied
        .iter()
        .map(|(reason, count)| ("refusals_total", with(labels, "reason", reason), *count));
    let rewrites = rewrites
        .iter()
        .map(|(secret, count)| ("rewrites_total", with(labels, "secret", secret), *count));
    numbers
        .into_iter()
        .chain(refusals)
        .chain(rewrites)
        .collect()
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
            opaque_messages: 5,
            ..TotalsView::default()
        };
        let counts = CountsView {
            overall: totals.clone(),
            sandboxes: vec![SandboxTotalsView {
                sandbox_id: 7,
                sandbox: "a\"b\\c\nd".into(),
                totals,
            }],
            kernel: [("connects".to_owned(), 12)].into(),
            rejected: None,
        };
        let text = of(&counts);
        let lines: Vec<_> = text.lines().collect();
        for expected in [
            "# TYPE interceptor_connections_open gauge",
            "interceptor_connections_open 3",
            "# TYPE interceptor_refusals_total counter",
            "interceptor_refusals_total{reason=\"dns\"} 1",
            "interceptor_refusals_total{reason=\"policy\"} 2",
            "# TYPE interceptor_opaque_messages_total counter",
            "interceptor_opaque_messages_total 5",
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
