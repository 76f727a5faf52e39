//! Many pods that start, log in, and end at once, again and again.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::{Census, Node, Pod, reject_all};
use crate::{
    clients::Clients, daemon::Daemon, gateway::record::Token, netns::Netns, scenario::Scenario,
};

/// How long things took, over all pods.
#[derive(Debug)]
pub struct Report {
    pods: usize,
    rounds: usize,
    took: Duration,
    /// From the pod's cgroup to the closed door, as seen by who runs `attach`.
    attach: Vec<Duration>,
    /// From the start of the container to READY.
    ready: Vec<Duration>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rounds of {} pods in {:.1} s, nothing left behind",
            self.rounds,
            self.pods,
            self.took.as_secs_f64()
        )?;
        for (what, times) in [
            ("pod's cgroup made until it is closed", &self.attach),
            ("container started until READY", &self.ready),
        ] {
            let mut times = times.clone();
            times.sort();
            let at = |part: usize| times.get((times.len() - 1) * part / 100);
            if let (Some(median), Some(longest)) = (at(50), at(100)) {
                writeln!(
                    f,
                    "{what}: median {} ms, longest {} ms",
                    median.as_millis(),
                    longest.as_millis()
                )?;
            }
        }
        Ok(())
    }
}

/// Each pod is behind a fence that rejects everything. Every other one is detached before it ends, the others just end.
///
/// # Errors
/// A client does not reach READY with its placeholder, or something is left behind.
pub fn run(pods: usize, rounds: usize) -> Result<Report> {
    let scenario = Scenario::discord()?;
    let node = Node::new(scenario.directory())?;
    let mut report = Report {
        pods,
        rounds,
        took: Duration::ZERO,
        attach: Vec::new(),
        ready: Vec::new(),
    };
    let (daemon, clients) = (&scenario.daemon, &scenario.clients);
    // What the daemon makes once and keeps is there after the first.
    report.round(1, &node, daemon, clients)?;
    report.attach.clear();
    report.ready.clear();
    let idle = Duration::from_secs(6);
    thread::sleep(idle);
    let before = Census::take(daemon)?;
    ensure!(before.of("sandboxes")? == 0, "a pod is left: {before:?}");
    let begun = Instant::now();
    for _ in 0..rounds {
        report.round(pods, &node, daemon, clients)?;
    }
    before.wait_for_return(daemon)?;
    report.took = begun.elapsed();
    let tokens = scenario.gateway.record().tokens();
    ensure!(
        tokens.len() == 1 + pods * rounds && tokens.iter().all(|token| *token == Token::Real),
        "not every login had the token: {tokens:?}"
    );
    Ok(report)
}

impl Report {
    fn round(
        &mut self,
        pods: usize,
        node: &Node,
        daemon: &Daemon,
        clients: &Clients,
    ) -> Result<()> {
        let lives = thread::scope(|scope| {
            let all: Vec<_> = (0..pods)
                .map(|number| scope.spawn(move || life(number, node, daemon, clients)))
                .collect();
            let joined = all.into_iter().map(|life| life.join());
            joined
                .map(|life| life.map_err(|_panic| anyhow!("a pod's thread panicked"))?)
                .collect::<Result<Vec<_>>>()
        })?;
        for (attach, ready) in lives {
            self.attach.push(attach);
            self.ready.push(ready);
        }
        Ok(())
    }
}

fn life(
    number: usize,
    node: &Node,
    daemon: &Daemon,
    clients: &Clients,
) -> Result<(Duration, Duration)> {
    let netns = Netns::new()?;
    reject_all(&netns)?;
    let begun = Instant::now();
    let pod: Pod<'_> = node.pod(netns)?;
    pod.attach(daemon, "demo")?;
    let attach = begun.elapsed();
    let begun = Instant::now();
    let mut container = pod.start(daemon, &clients.node())?;
    container
        .running()?
        .wait_for_event("ready")
        .context(number)?;
    let ready = begun.elapsed();
    container.finish()?.success()?;
    if number.is_multiple_of(2) {
        let detach = ["detach", "--pod", pod.uid()];
        daemon.cli(&detach)?.success()?;
    }
    pod.remove()?;
    Ok((attach, ready))
}
