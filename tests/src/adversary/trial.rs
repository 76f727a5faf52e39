//! Tries one vector, beside the sandbox and in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use super::{
    attacker::Tried,
    events::{self, Refusal},
    matrix::Row,
    stage::{Side, Stage},
    upstream,
    vector::{Control, Event, Lack, Vector},
};
use crate::bytes::holds;

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

    #[cfg(test)]
    pub(super) fn between(from: f64, to: f64) -> Self {
        Self { from, to }
    }

    /// Ends it where the next one begins.
    pub(super) fn make_way(&mut self, next: f64) {
        self.to = self.to.min(next);
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
    /// When there was no sandbox yet: what left then is no concern.
    pub(super) open: Vec<Window>,
    pub(super) refusals: Vec<Refusal>,
    /// Secrets that have arrived at a server.
    pub(super) arrived: usize,
    /// What servers outside got that they should not.
    pub(super) strayed: Vec<String>,
    /// What the sandbox is said to leave open, where that matters.
    pub(super) doors: Vec<String>,
    /// A secret came back to the sandbox.
    pub(super) leaked: bool,
    /// What is wrong with others than the program.
    pub(super) trouble: Option<String>,
}

impl Seen {
    /// When the first of all that was done for it began.
    pub(super) fn begins(&self) -> f64 {
        let control = self.control.iter().map(|(_, window)| window);
        let windows = self.open.iter().chain(control);
        windows.fold(self.window.from, |first, window| first.min(window.from))
    }
}

/// One attempt.
struct Attempt {
    tried: Tried,
    /// When the program was told to prepare itself, and when it could begin.
    told: f64,
    begun: f64,
    trouble: Option<String>,
}

/// # Errors
/// A fixture has failed: what a vector comes to is in the row.
pub fn try_out(stage: &mut Stage, vector: &Vector) -> Result<Row> {
    let control = match vector.control {
        Control::None(_) => None,
        Control::Leaves | Control::Says(_) => {
            let attempt = attempt(stage, vector, Side::Control)?;
            Some((attempt.tried.said, Window::since(attempt.told)))
        }
    };
    let fenced = vector.may_lack.contains(&Lack::Fence);
    let sandbox = vector.place.sandbox();
    let without_process = if fenced {
        events::without_process(&stage.daemon, sandbox)?
    } else {
        0
    };
    let secrets = stage.upstream.secrets();
    let mark = stage.outside.mark();
    let Attempt {
        tried,
        told,
        begun,
        trouble,
    } = attempt(stage, vector, Side::Sandbox)?;
    let watched = matches!(vector.expected.event, Event::Watched(_));
    let doors = if watched || fenced {
        stage.doors(vector.place)?
    } else {
        Vec::new()
    };
    // The kernel refuses what it does not have before any hook.
    let lacks = vector.lacks(control.as_ref().map(|(said, _)| said.as_str()), &doors);
    let refusals = match vector.expected.event.reasons(&tried.said) {
        Some(reasons) if lacks.is_none() => events::of_attempt(
            &stage.daemon,
            &tried.pids,
            sandbox,
            without_process,
            &reasons,
        )?,
        _ => Vec::new(),
    };
    let mut open = Vec::new();
    let mut window = Window::since(told);
    if vector.place.is_late() {
        open.extend(control.as_ref().map(|(_, window)| *window));
        open.push(Window {
            from: told,
            to: begun,
        });
        window.from = begun;
    }
    let seen = Seen {
        control,
        window,
        open,
        refusals,
        arrived: stage.upstream.secrets().saturating_sub(secrets),
        strayed: stage.outside.strayed(mark, vector.expected.stated),
        doors,
        leaked: leaks(&tried),
        said: tried.said,
        trouble,
    };
    if let Some(what) = vector.meanwhile {
        stage.restore(what)?;
    }
    Ok(Row::new(vector, seen))
}

/// Has the program try. Where something is to happen meanwhile, it prepares itself, and goes on when that has happened;
/// without a sandbox nothing happens.
fn attempt(stage: &mut Stage, vector: &Vector, side: Side) -> Result<Attempt> {
    let with = (vector.with)(&stage.facts(vector.place, side));
    if vector.meanwhile.is_some() {
        stage.clear_meeting()?;
    }
    let told = Window::open();
    let attacker = stage.cast.attacker(vector.place, side)?;
    let order = attacker.order(vector.order, &with)?;
    let (mut begun, mut trouble) = (told, None);
    if let Some(what) = vector.meanwhile {
        let pid = stage.wait_for_prepared()?;
        if side == Side::Sandbox {
            trouble = stage.let_happen(what, pid)?;
        }
        begun = Window::open();
        stage.go()?;
    }
    let help = stage.help(vector, side)?;
    let tried = stage.cast.attacker(vector.place, side)?.outcome(order)?;
    let harm = stage.helped(vector, help)?;
    Ok(Attempt {
        tried,
        told,
        begun,
        trouble: trouble.or(harm),
    })
}

fn leaks(tried: &Tried) -> bool {
    let spellings = upstream::spellings();
    let holds = |bytes: &[u8]| spellings.iter().any(|spelling| holds(bytes, spelling));
    holds(&tried.received) || holds(tried.said.as_bytes())
}
