//! Tries one vector, beside the sandbox and in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::{
    attacker::Tried,
    events::{self, Refusal},
    matrix::Row,
    stage::{Side, Stage},
    vector::{Control, Group, Vector},
};
use crate::scenario::TOKEN;

/// From and to, in seconds since 1970: whose a packet is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    from: f64,
    to: f64,
}

impl Window {
    fn open() -> f64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap_or(Duration::ZERO).as_secs_f64()
    }

    fn since(from: f64) -> Self {
        // What a socket has sent is on its device well before that.
        let to = Self::open() + 0.02;
        Self { from, to }
    }

    pub(super) fn holds(self, at: f64) -> bool {
        self.from <= at && at < self.to
    }
}

/// What came of a vector, as far as is known before the captures have ended.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) control: Option<(String, Window)>,
    pub(super) said: String,
    pub(super) window: Window,
    pub(super) refusals: Vec<Refusal>,
    /// Secrets that have arrived at a server.
    pub(super) arrived: usize,
    /// What servers outside got that they should not.
    pub(super) strayed: Vec<String>,
    /// What the sandbox is said to leave to seccomp.
    pub(super) doors: usize,
    /// A secret came back to the sandbox.
    pub(super) leaked: bool,
}

/// # Errors
/// A fixture has failed: what a vector comes to is in the row.
pub fn try_out(stage: &mut Stage, vector: &Vector) -> Result<Row> {
    if vector.group == Group::Around {
        return try_late(stage, vector);
    }
    let control = match vector.control {
        Control::None(_) => None,
        Control::Leaves | Control::Says(_) => {
            let with = (vector.with)(stage.facts(Side::Control));
            let from = Window::open();
            let order = stage.control.order(vector.order, &with)?;
            let help = stage.help(vector.accomplice, Side::Control)?;
            let said = stage.control.outcome(order)?.said;
            stage.helped(help)?;
            Some((said, Window::since(from)))
        }
    };
    let secrets = stage.upstream.secrets();
    let mark = stage.outside.mark();
    let with = (vector.with)(stage.facts(Side::Sandbox));
    let from = Window::open();
    let attacker = if vector.as_root {
        &mut stage.rooted
    } else {
        &mut stage.hostile
    };
    let order = attacker.order(vector.order, &with)?;
    let help = stage.help(vector.accomplice, Side::Sandbox)?;
    let attacker = if vector.as_root {
        &stage.rooted
    } else {
        &stage.hostile
    };
    let tried = attacker.outcome(order)?;
    stage.helped(help)?;
    let refusals = match vector.expected.event.reasons(&tried.said) {
        Some(reasons) => events::of_process(&stage.daemon, &tried.pids, &reasons)?,
        None => Vec::new(),
    };
    let seen = Seen {
        control,
        window: Window::since(from),
        refusals,
        arrived: stage.upstream.secrets().saturating_sub(secrets),
        strayed: stage.outside.strayed(mark),
        doors: stage.doors()?,
        leaked: leaks(&tried),
        said: tried.said,
    };
    Ok(Row::new(vector, seen))
}

/// The program prepares itself, and goes on when its sandbox is attached; without one, when it is not.
fn try_late(stage: &mut Stage, vector: &Vector) -> Result<Row> {
    let with = (vector.with)(stage.facts(Side::Sandbox));
    let mut meet = |attached: bool| -> Result<(Tried, f64)> {
        stage.late.clear()?;
        let order = stage.late.attacker.order(vector.order, &with)?;
        stage.late.go(&stage.daemon, attached)?;
        let from = Window::open();
        Ok((stage.late.attacker.outcome(order)?, from))
    };
    let (control, from) = meet(false)?;
    let control = Some((control.said, Window::since(from)));
    let (tried, from) = meet(true)?;
    let refusals = match vector.expected.event.reasons(&tried.said) {
        Some(reasons) => events::of_process(&stage.daemon, &tried.pids, &reasons)?,
        None => Vec::new(),
    };
    let window = Window::since(from);
    stage.late.detach(&stage.daemon)?;
    let seen = Seen {
        control,
        window,
        refusals,
        arrived: 0,
        strayed: Vec::new(),
        doors: 0,
        leaked: leaks(&tried),
        said: tried.said,
    };
    Ok(Row::new(vector, seen))
}

fn leaks(tried: &Tried) -> bool {
    let holds = |bytes: &[u8]| {
        bytes
            .windows(TOKEN.len())
            .any(|window| window == TOKEN.as_bytes())
    };
    holds(&tried.received) || holds(tried.said.as_bytes())
}
