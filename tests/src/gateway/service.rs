//! Whose interface a host is.

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Shared, discord,
    http::{Answer, Request},
    openai,
    record::Token,
    session::Session,
    slack,
    socket::Socket,
    telegram,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Also under names that tests make up.
    Discord,
    Slack,
    OpenAi,
    Telegram,
}

impl Service {
    pub(super) fn of(host: &str) -> Self {
        match host {
            "slack.com" | "wss-primary.slack.com" => Self::Slack,
            "api.openai.com" => Self::OpenAi,
            "api.telegram.org" => Self::Telegram,
            _ => Self::Discord,
        }
    }

    /// A request's first line without a credential.
    pub(super) fn line(self, request: &Request) -> String {
        match self {
            Self::Telegram => telegram::line(request),
            Self::Discord | Self::Slack | Self::OpenAi => request.line(),
        }
    }

    /// What a request presents at the place of the service's credential.
    pub(super) fn judge(self, request: &Request, shared: &Shared) -> Option<Token> {
        match self {
            Self::Discord => discord::judge(request, &shared.options.token),
            Self::Slack => slack::judge(request),
            Self::OpenAi => openai::judge(request),
            Self::Telegram => telegram::judge(request),
        }
    }

    /// The answer to an upgrade that is refused.
    pub(super) fn refusal(self, request: &Request, token: Option<Token>) -> Option<Answer> {
        match self {
            Self::Discord => None,
            Self::Slack => slack::refusal(request),
            Self::OpenAi => openai::refusal(token),
            Self::Telegram => Some(telegram::not_found()),
        }
    }

    pub(super) async fn answer(
        self,
        request: &Request,
        token: Option<Token>,
        shared: &Shared,
    ) -> Answer {
        match self {
            Self::Discord => discord::answer(request, token),
            Self::Slack => slack::answer(request, token),
            Self::OpenAi => openai::answer(request, token),
            Self::Telegram => telegram::answer(request, token, shared).await,
        }
    }

    /// Serves a WebSocket to its end.
    pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        request: &Request,
        mut socket: Socket<'_, S>,
    ) -> Result<()> {
        match self {
            Self::Slack => slack::converse(request, socket).await,
            Self::OpenAi => openai::converse(socket).await,
            Self::Discord | Self::Telegram => {
                if request.path.contains("compress=zlib-stream") {
                    socket.stream_zlib();
                }
                Session::new(socket).serve().await
            }
        }
    }
}
