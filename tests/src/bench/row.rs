//! One row of the table: what is measured, and what came of it.

use std::{fmt, time::Duration};

use anyhow::{Result, ensure};

use super::{
    cpu,
    order::{Answer, Version, Work},
    spread::Spread,
    stand::{Client, Stand},
};

/// How a server-sent event may be later than without interceptor, in µs.
pub const LATEST_EVENT: f64 = 2000.0;

/// What is told of a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    /// The median of its samples.
    Latency,
    /// Samples in a second.
    Rate,
    /// Bytes in a second.
    Throughput,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) host: &'static str,
    pub(super) version: Version,
    pub(super) bearer: bool,
    pub(super) work: Work,
    pub(super) tells: Tells,
    pub(super) rounds: u32,
}

#[derive(Clone, Debug)]
pub struct Figure {
    what: String,
    tells: Tells,
    direct: Spread,
    through: Spread,
    /// Of each round, the difference of latencies or the quotient of rates.
    against: Spread,
    /// µs of the daemon for each sample or MiB.
    processor: Spread,
    limit: Option<f64>,
}

impl Row {
    /// Direct, through, direct, through …
    pub(super) fn measure(
        &self,
        stand: &Stand,
        direct: &mut Client,
        through: &mut Client,
    ) -> Result<Figure> {
        let daemon = stand.daemon().pid()?;
        let order =
            |client: &mut Client| client.order(self.host, self.version, self.bearer, self.work);
        let (mut without, mut with, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let answer_direct = order(direct)?;
            without.push(self.tells.of(&answer_direct));
            let before = cpu::time(daemon)?;
            let answer = order(through)?;
            let time = cpu::time(daemon)?.saturating_sub(before);
            self.ensure_same(&answer_direct, &answer)?;
            with.push(self.tells.of(&answer));
            taken.push(micros(time) / self.tells.units(&answer));
        }
        let pairs = with.iter().zip(&without);
        Ok(Figure {
            what: self.what.clone(),
            tells: self.tells,
            against: Spread::of(pairs.map(|(with, without)| match self.tells {
                Tells::Latency => with - without,
                Tells::Rate | Tells::Throughput => with / without,
            })),
            direct: Spread::of(without),
            through: Spread::of(with),
            processor: Spread::of(taken),
            limit: matches!(self.work, Work::Events { .. }).then_some(LATEST_EVENT),
        })
    }
}

impl Row {
    /// Less work is done sooner.
    fn ensure_same(&self, direct: &Answer, through: &Answer) -> Result<()> {
        let (samples, expected) = (through.samples.len(), self.work.samples());
        ensure!(
            direct.samples.len() == expected && samples == expected,
            "{} samples direct and {samples} through, not {expected}",
            direct.samples.len()
        );
        // Events hold times, whose digits are not always as many, and compress by what they hold.
        ensure!(
            direct.bytes == through.bytes || matches!(self.work, Work::Events { .. }),
            "{} bytes direct, {} through",
            direct.bytes,
            through.bytes
        );
        Ok(())
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

impl Tells {
    fn of(self, answer: &Answer) -> f64 {
        let seconds = Duration::from_nanos(answer.elapsed).as_secs_f64();
        match self {
            Self::Latency => {
                let samples = answer.samples.iter().map(|sample| *sample as f64 / 1e3);
                Spread::of(samples).median
            }
            Self::Rate => answer.samples.len() as f64 / seconds,
            Self::Throughput => answer.bytes as f64 / 1e6 / seconds,
        }
    }

    fn units(self, answer: &Answer) -> f64 {
        match self {
            Self::Latency | Self::Rate => answer.samples.len() as f64,
            Self::Throughput => answer.bytes as f64 / f64::from(1 << 20),
        }
    }
}

impl Figure {
    pub fn holds(&self) -> bool {
        self.limit.is_none_or(|limit| self.against.median <= limit)
    }
}

/// The head of a table of figures.
pub const HEAD: &str = "\
| | direct | through | against direct | daemon's processor |
|---|---|---|---|---|";

/// A row of a table in Markdown.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            tells,
            direct,
            through,
            against,
            processor,
            limit: _,
        } = self;
        let (unit, sign, of, each) = match tells {
            Tells::Latency => ("µs", "+", " µs", "each"),
            Tells::Rate => ("/s", "× ", "", "each"),
            Tells::Throughput => ("MB/s", "× ", "", "per MiB"),
        };
        let verdict = if self.holds() { "" } else { " **TOO LATE**" };
        write!(
            f,
            "| {what} | {direct} {unit} | {through} {unit} | {sign}{against}{of}{verdict} | {processor} µs {each} |"
        )
    }
}
