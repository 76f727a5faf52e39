//! The table of what was tried, what was to come of it and what did.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fs};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    events::{self, Refusal},
    ground::{POD, UPLINK},
    packets::{Kind, Origin, Strayed},
    stage::{Captured, Stage},
    trial::Seen,
    vector::{Control, Event, Group, Lack, Secret, Stated, Vector},
};
use crate::capture::Packet;

/// What of a packet or event is printed.
const SHORT: usize = 140;

/// The kernel that all of it happened on.
#[derive(Clone, Debug)]
pub struct Kernel(String);

impl Kernel {
    /// # Errors
    /// /proc is not mounted.
    pub fn running() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Self(format!(
            "Linux {} {}",
            release.trim(),
            std::env::consts::ARCH
        )))
    }
}

/// One vector and what came of it.
#[derive(Debug)]
pub struct Row {
    name: String,
    group: Group,
    tries: &'static str,
    /// What the same comes to without a sandbox.
    control: String,
    expected: String,
    observed: String,
    /// What is not as it should be; empty: all is.
    differences: Vec<String>,
    lacking: Option<(Lack, &'static str)>,
    leaves: bool,
    stated: Option<Stated>,
    origin: Option<Origin>,
    /// The one that was to be.
    event: Option<Refusal>,
    seen: Seen,
}

/// Whether the kernel itself let nothing go: other errors come from the other side, or from its silence.
fn was_kept_back(said: &str) -> bool {
    let silence = ["refused ECONNREFUSED", "refused ETIMEDOUT"];
    said.starts_with("refused E") && !silence.contains(&said)
}

impl Row {
    pub(super) fn new(vector: &Vector, seen: Seen) -> Self {
        let mut row = Self {
            name: vector.name.clone(),
            group: vector.group,
            tries: vector.tries,
            control: vector.control.to_string(),
            expected: vector.expected.to_string(),
            observed: String::new(),
            differences: Vec::new(),
            lacking: None,
            leaves: matches!(vector.control, Control::Leaves),
            stated: vector.expected.stated,
            origin: Origin::of(vector.place),
            event: None,
            seen,
        };
        row.judge(vector);
        row
    }

    fn judge(&mut self, vector: &Vector) {
        let Seen {
            control,
            said,
            refusals,
            arrived,
            strayed,
            doors,
            leaked,
            trouble,
            window: _,
            open: _,
        } = &self.seen;
        let without = control.as_ref().map(|(said, _)| said.as_str());
        self.lacking = vector.lacks(without, doors);
        self.observed.clone_from(said);
        self.differences.extend(trouble.clone());
        match self.lacking {
            Some((Lack::Feature | Lack::Operation, _)) => {
                if !said.starts_with("refused") {
                    self.differences.push("it is not refused".into());
                }
            }
            Some((Lack::Fence, _)) => {}
            None => {
                if let (Control::Says(right), Some(without)) = (&vector.control, without)
                    && !right.contains(&without)
                {
                    self.differences
                        .push(format!("without a sandbox it says {without:?}"));
                }
                if !vector.expected.admits(said) {
                    self.differences
                        .push("the program sees something else".into());
                }
            }
        }
        let watched = matches!(vector.expected.event, Event::Watched(_));
        if watched && said == "opened" {
            if doors.is_empty() {
                self.differences.push("no door is said to be open".into());
            } else {
                self.observed.push_str("; said to be left to seccomp");
            }
        }
        let reasons = vector.expected.event.reasons(said);
        if let Some(reasons) = reasons.filter(|_| self.lacking.is_none()) {
            let of_reason = |reason: &&str| {
                let mut own = refusals.iter();
                own.find(|refusal| refusal.reason == **reason)
            };
            match reasons.iter().find_map(of_reason) {
                Some(refusal) if !refusal.detail.contains(vector.expected.detail) => self
                    .differences
                    .push(format!("its event says something else: {refusal:?}")),
                Some(refusal) if refusal.is_readable() => {
                    self.event = Some(refusal.clone());
                    let text = format!("; event {}: {}", refusal.reason, refusal.detail);
                    self.observed.push_str(&short(&text));
                }
                Some(refusal) => self
                    .differences
                    .push(format!("its event does not say enough: {refusal:?}")),
                None => {
                    let others: Vec<&str> = refusals.iter().map(|r| r.reason.as_str()).collect();
                    self.differences
                        .push(format!("no such event, but {others:?}"));
                }
            }
        }
        match (vector.expected.secret, arrived) {
            (Secret::Stays, 0) => {}
            (Secret::Stays, _) => self.differences.push("a secret went out".into()),
            (Secret::Arrives, 0) => self.differences.push("no secret arrived".into()),
            (Secret::Arrives, _) => self.observed.push_str("; secret at its host"),
        }
        if let Some(strayed) = strayed.first() {
            self.differences
                .push(format!("it arrives outside: {strayed}"));
        }
        if *leaked {
            self.differences.push("a secret came back".into());
        }
    }

    /// Who sent each packet is a matter of when and where.
    fn has_sent(&self, packet: &Strayed) -> bool {
        self.origin == Some(packet.origin) && self.seen.window.holds(packet.at)
    }

    /// Whether it was sent when there was no sandbox.
    fn is_before(&self, packet: &Strayed) -> bool {
        let mut open = self.seen.open.iter();
        self.origin == Some(packet.origin) && open.any(|window| window.holds(packet.at))
    }

    fn attribute(&mut self, strayed: &[Strayed], of_control: &[f64]) {
        let own: Vec<_> = strayed.iter().filter(|one| self.has_sent(one)).collect();
        let fenceless = matches!(self.lacking, Some((Lack::Fence, _)));
        let may = |packet: &Strayed| {
            fenceless || self.stated.is_some_and(|stated| stated.is_of(&packet.text))
        };
        if let Some(packet) = own.iter().find(|packet| !may(packet)) {
            let text = short(&packet.text);
            self.differences.push(format!("a packet leaves: {text}"));
        } else if !own.is_empty() {
            self.observed.push_str("; packets leave");
        } else if self.stated.is_some() {
            self.differences.push("nothing leaves".into());
        }
        if let (true, None, Some((said, window))) = (self.leaves, &self.lacking, &self.seen.control)
            && (was_kept_back(said) || !of_control.iter().any(|at| window.holds(*at)))
        {
            self.differences
                .push(format!("without a sandbox nothing leaves either: {said}"));
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// So far as the captures do not say otherwise.
    pub fn verdict(&self) -> &'static str {
        match (&self.lacking, self.differences.is_empty()) {
            (_, false) => "DIFFERS",
            (Some(_), true) => "lacking",
            (None, true) => "as expected",
        }
    }

    pub fn observed(&self) -> String {
        let mut text = self.observed.clone();
        if let Some((_, lack)) = &self.lacking {
            text = format!("{text}; lacking: this kernel does not have it ({lack})");
        }
        for difference in &self.differences {
            text.push_str("; DIFFERS: ");
            text.push_str(difference);
        }
        text
    }
}

/// Everything that was tried.
#[derive(Debug)]
pub struct Matrix {
    kernel: Kernel,
    rows: Vec<Row>,
    /// By device, what was captured of each kind.
    kernels_own: Vec<(&'static str, BTreeMap<Kind, usize>)>,
    /// Packets that no vector explains.
    unexplained: Vec<String>,
    captured: usize,
}

impl Matrix {
    /// Ends the captures, and judges.
    ///
    /// # Errors
    /// The captures have failed.
    pub fn conclude(stage: &mut Stage, kernel: Kernel, mut rows: Vec<Row>) -> Result<Self> {
        // An event is written when a second has passed in which it could come again.
        let Captured { sandbox, host } = stage.captured()?;
        let written = events::in_file(stage.events())?;
        let mut strayed = sandbox.on_devices();
        strayed.extend(host.strayed());
        let of_control = host.of_control();
        let next: Vec<_> = rows.iter().skip(1).map(|row| row.seen.begins()).collect();
        for (row, next) in rows.iter_mut().zip(next) {
            row.seen.window.make_way(next);
        }
        for row in &mut rows {
            row.attribute(&strayed, &of_control);
            if row
                .event
                .as_ref()
                .is_some_and(|event| !written.contains(event))
            {
                row.differences.push("its event is not in the file".into());
            }
        }
        let port = stage.listener();
        let ends = [format!(".{port} >"), format!(".{port}:")];
        let listeners = |packet: &Packet| ends.iter().any(|end| packet.text.contains(end));
        let unexplained = |packet: &&Strayed| {
            let mut rows = rows.iter();
            !rows.any(|row| row.has_sent(packet) || row.is_before(packet))
        };
        let unexplained = strayed.iter().filter(unexplained);
        Ok(Self {
            kernel,
            unexplained: unexplained.map(|packet| short(&packet.text)).collect(),
            kernels_own: vec![
                (
                    "sandbox, lo, the daemon's listeners",
                    sandbox.kinds(|packet| packet.device == "lo" && listeners(packet)),
                ),
                (
                    "sandbox, lo, all else",
                    sandbox.kinds(|packet| packet.device == "lo" && !listeners(packet)),
                ),
                (
                    "sandbox, every other device",
                    sandbox.kinds(|packet| packet.device != "lo"),
                ),
                (
                    "host, towards the sandbox",
                    host.kinds(|packet| packet.device == POD),
                ),
                (
                    "host, towards the outside",
                    host.kinds(|packet| packet.device == UPLINK),
                ),
            ],
            captured: sandbox.len() + host.len(),
            rows,
        })
    }

    pub fn holds(&self) -> bool {
        self.unexplained.is_empty() && self.rows.iter().all(|row| row.differences.is_empty())
    }

    pub fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "vector": row.name,
                "group": group(row.group),
                "tries": row.tries,
                "without": row.control,
                "without_observed": row.seen.control.as_ref().map(|(said, _)| said),
                "expected": row.expected,
                "observed": row.observed(),
                "verdict": row.verdict(),
                "kernel": self.kernel.0,
            })
        });
        let captured = self.kernels_own.iter().map(|(device, kinds)| {
            let kinds = kinds.iter().map(|(kind, count)| (kind.name(), *count));
            json!({"device": device, "packets": kinds.collect::<BTreeMap<_, _>>()})
        });
        json!({
            "kernel": self.kernel.0,
            "vectors": rows.collect::<Vec<_>>(),
            "captured": captured.collect::<Vec<_>>(),
            "unexplained": self.unexplained,
        })
    }

    pub fn to_markdown(&self) -> String {
        let mut text = format!("Kernel: {}\n", self.kernel.0);
        let mut current = None;
        for row in &self.rows {
            if current != Some(row.group) {
                current = Some(row.group);
                text.push_str(&format!(
                    "\n## {}\n\n| vector | tries | without a sandbox | expected | observed | |\n|---|---|---|---|---|---|\n",
                    group(row.group)
                ));
            }
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} |\n",
                row.name,
                cell(row.tries),
                cell(&row.control),
                cell(&row.expected),
                cell(&row.observed()),
                row.verdict()
            ));
        }
        text.push_str("\n## Captured\n\n");
        text.push_str(&self.captures());
        text
    }

    /// For people, as lines.
    pub fn to_text(&self) -> String {
        let mut text = format!("kernel: {}\n", self.kernel.0);
        for row in &self.rows {
            text.push_str(&format!(
                "{:<11} {}/{}\n            tries     {}\n            without   {}\n            expected  {}\n            observed  {}\n",
                row.verdict(),
                group(row.group),
                row.name,
                row.tries,
                row.control,
                row.expected,
                row.observed()
            ));
        }
        text.push('\n');
        text.push_str(&self.captures());
        text
    }

    fn captures(&self) -> String {
        let mut text = String::new();
        for (device, kinds) in &self.kernels_own {
            let kinds = kinds
                .iter()
                .map(|(kind, count)| format!("{} {count}", kind.name()));
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            text.push_str(&format!("- {device}: {kinds}\n"));
        }
        for packet in &self.unexplained {
            text.push_str(&format!("- DIFFERS, a packet of no vector: {packet}\n"));
        }
        text
    }

    /// The last line.
    pub fn totals(&self) -> String {
        let count = |verdict| {
            let rows = self.rows.iter();
            rows.filter(|row| row.verdict() == verdict).count()
        };
        format!(
            "{} vectors on {}: {} as expected, {} differ, {} lacking here; {} packets captured, {} of no vector",
            self.rows.len(),
            self.kernel.0,
            count("as expected"),
            count("DIFFERS"),
            count("lacking"),
            self.captured,
            self.unexplained.len()
        )
    }
}

fn group(group: Group) -> String {
    format!("{group:?}").to_lowercase()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        Some((at, _)) => {
            let mut short = text.get(..at).unwrap_or_default().to_owned();
            short.push('…');
            short
        }
        None => text.to_owned(),
    }
}

fn cell(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '|' => out.push_str("\\|"),
            '\n' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
