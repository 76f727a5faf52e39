//! The other side of `interceptor run --takeover`.

use std::{os::fd::AsFd, time::Duration};

use tokio::{
    sync::OwnedMutexGuard,
    time::{sleep, timeout},
};

use super::{Standing, backend::Interceptor};
use crate::{
    control::listener::Shared,
    error::chain,
    handover::{Channel, Door, HandoverError, Offer, STANDSTILL},
    sandbox::Frozen,
};

/// Where descriptors or memory are out, the next attempt would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The word has been given that another daemon serves from now on.
pub(super) struct Taken {
    channel: Channel,
    frozen: Frozen,
    /// The other one takes memories.
    memories: bool,
    _turn: OwnedMutexGuard<()>,
}

/// Waits until a daemon has taken over; attempts that fail leave no trace but in the log.
pub(super) async fn until_taken(standing: &Standing) -> Taken {
    let Standing {
        interceptor,
        shared,
        door,
        ..
    } = standing;
    loop {
        match attempt(interceptor, shared, door).await {
            Ok(taken) => return taken,
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "another daemon did not take over: this one goes on"
                );
                sleep(PAUSE).await;
            }
        }
    }
}

async fn attempt(
    interceptor: &Interceptor,
    shared: &Shared,
    door: &Door,
) -> Result<Taken, HandoverError> {
    let channel = door.accept().await?;
    let peer = channel.peer()?;
    interceptor
        .admit_to("handover.sock", &peer)
        .map_err(HandoverError::Unwelcome)?;
    let Some(pins) = interceptor.registry().lock() else {
        return Err(HandoverError::Closed);
    };
    let offer = Offer {
        pins,
        control: shared,
        door: door.as_fd(),
    };
    channel.greet(offer).await?;
    let Ok((turn, frozen)) = timeout(STANDSTILL, interceptor.freeze()).await else {
        let busy = "an attach, a detach or a reload takes too long: try again";
        channel.refuse(busy).await?;
        return Err(HandoverError::Refused(busy.to_owned()));
    };
    let memories = channel.give(&frozen).await?;
    Ok(Taken {
        channel,
        frozen,
        memories,
        _turn: turn,
    })
}

impl Taken {
    /// Stops to accept, and says so.
    pub(super) async fn surrender(self, interceptor: &Interceptor) {
        interceptor.registry().surrender(self.frozen).await;
        // Now that no more is learned.
        if self.memories
            && let Err(error) = self.channel.recount(interceptor.engine().memories()).await
        {
            tracing::error!(
                error = chain(&error),
                "the daemon that has taken over does not know all that this one has learned"
            );
        }
        let last = interceptor.stats().last_connection();
        if let Err(error) = self.channel.release(last).await {
            tracing::error!(
                error = chain(&error),
                "the daemon that has taken over does not listen"
            );
        }
    }
}
