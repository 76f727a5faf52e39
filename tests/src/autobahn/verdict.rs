//! What the suite says of a case, and where that differs between two runs.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// What the suite says of one case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verdict {
    /// Such as `OK`, `NON-STRICT` or `FAILED`.
    behavior: String,
    behavior_close: String,
    /// The code with which the testee closed.
    close_code: Option<u64>,
}

/// Verdicts by case.
pub type Verdicts = BTreeMap<String, Verdict>;

/// A case with other verdicts direct than through interceptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub case: String,
    /// Missing, if the case did not come to its end.
    pub direct: Option<Verdict>,
    pub through: Option<Verdict>,
}

impl Verdict {
    /// Whether the suite blames the testee, as it also does when a busy machine exceeds a time limit.
    fn is_failure(&self) -> bool {
        [&self.behavior, &self.behavior_close]
            .iter()
            .any(|said| matches!(said.as_str(), "FAILED" | "UNCLEAN"))
    }

    /// A line of the suite's, as `(case, verdict)`.
    pub(super) fn read(event: &Value) -> Option<(String, Self)> {
        let text = |name| event.get(name).and_then(Value::as_str).map(str::to_owned);
        (event.get("event").and_then(Value::as_str)? == "case").then_some(())?;
        let verdict = Self {
            behavior: text("behavior")?,
            behavior_close: text("behaviorClose")?,
            close_code: event.get("remoteCloseCode")?.as_u64(),
        };
        Some((text("id")?, verdict))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            behavior,
            behavior_close,
            close_code,
        } = self;
        let code = close_code.map_or("none".into(), |code| code.to_string());
        write!(f, "{behavior}, close {behavior_close} {code}")
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            case,
            direct,
            through,
        } = self;
        let said = |verdict: &Option<Verdict>| match verdict {
            Some(verdict) => verdict.to_string(),
            None => "no verdict".into(),
        };
        write!(f, "{case:<10}{:<32}{}", said(direct), said(through))
    }
}

/// The differences between two runs of `cases`. A case without a verdict is one, even if it has none twice.
pub fn differences(cases: &[String], direct: &Verdicts, through: &Verdicts) -> Vec<Difference> {
    cases
        .iter()
        .map(|case| Difference {
            case: case.clone(),
            direct: direct.get(case).cloned(),
            through: through.get(case).cloned(),
        })
        .filter(|pair| pair.direct.is_none() || pair.direct != pair.through)
        .collect()
}

/// The cases whose verdicts differ, and those that fail alike: both may be for the want of time.
pub fn doubtful(cases: &[String], direct: &Verdicts, through: &Verdicts) -> Vec<String> {
    let differing = differences(cases, direct, through)
        .into_iter()
        .map(|difference| difference.case);
    let failing = cases
        .iter()
        .filter(|case| direct.get(*case).is_some_and(Verdict::is_failure))
        .filter(|case| direct.get(*case) == through.get(*case))
        .cloned();
    differing.chain(failing).collect()
}

/// How often each verdict was given.
pub fn tally(verdicts: &Verdicts) -> BTreeMap<&Verdict, usize> {
    let mut tally = BTreeMap::new();
    for verdict in verdicts.values() {
        *tally.entry(verdict).or_default() += 1;
    }
    tally
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(behavior: &str, code: Option<u64>) -> Verdict {
        let event = json!({
            "event": "case", "id": "1.1.1", "behavior": behavior, "behaviorClose": "OK",
            "remoteCloseCode": code, "duration": 2,
        });
        Verdict::read(&event).unwrap().1
    }

    #[test]
    fn lines_that_are_no_verdict_are_passed_over() {
        assert_eq!(
            Verdict::read(&json!({"event": "listening", "port": 1})),
            None
        );
    }

    #[test]
    fn another_verdict_another_code_and_no_verdict_are_differences_and_failing_alike_is_doubtful() {
        let cases = ["1.1.1", "1.1.2", "1.1.3", "1.1.4", "1.1.5"].map(str::to_owned);
        let direct = Verdicts::from([
            ("1.1.1".into(), verdict("OK", Some(1000))),
            ("1.1.2".into(), verdict("OK", Some(1000))),
            ("1.1.3".into(), verdict("OK", Some(1000))),
            ("1.1.5".into(), verdict("FAILED", None)),
        ]);
        let through = Verdicts::from([
            ("1.1.1".into(), verdict("NON-STRICT", Some(1000))),
            ("1.1.2".into(), verdict("OK", Some(1002))),
            ("1.1.5".into(), verdict("FAILED", None)),
        ]);
        let found: Vec<_> = differences(&cases, &direct, &through)
            .into_iter()
            .map(|difference| difference.case)
            .collect();
        assert_eq!(found, ["1.1.1", "1.1.2", "1.1.3", "1.1.4"]);
        assert_eq!(
            doubtful(&cases, &direct, &through),
            ["1.1.1", "1.1.2", "1.1.3", "1.1.4", "1.1.5"]
        );
    }
}
