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

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicU64, time::Duration};

    use super::*;
    use crate::{
        gateway::{Options, http, record::Record},
        scenario::TOKEN,
    };

    const PLACEHOLDER: &str = "openshell:resolve:env:TOKEN";

    #[tokio::test]
    async fn every_service_answers_its_own_secret_and_refuses_a_placeholder_in_its_own_way() {
        let shared = Shared {
            options: Options {
                heartbeat_interval: Duration::from_secs(1),
                ..Options::for_libraries(TOKEN)
            },
            record: Record::default(),
            connections: AtomicU64::new(0),
            polls: AtomicU64::new(0),
        };
        for (host, method, path, authorization, secret, refusal) in [
            (
                "discord.com",
                "GET",
                "/api/v10/gateway/bot",
                "Bot ",
                TOKEN,
                "401: Unauthorized",
            ),
            (
                "slack.com",
                "POST",
                "/api/auth.test",
                "Bearer ",
                slack::BOT_TOKEN,
                "invalid_auth",
            ),
            (
                "slack.com",
                "POST",
                "/api/apps.connections.open",
                "Bearer ",
                slack::APP_TOKEN,
                "invalid_auth",
            ),
            (
                "api.openai.com",
                "GET",
                "/v1/models",
                "Bearer ",
                openai::KEY,
                "invalid_api_key",
            ),
            (
                "api.telegram.org",
                "POST",
                "/bot{}/getMe",
                "",
                telegram::TOKEN,
                "Unauthorized",
            ),
        ] {
            let ask = async |presented: &str| {
                let path = path.replace("{}", presented);
                let header = if authorization.is_empty() {
                    String::new()
                } else {
                    format!("Authorization: {authorization}{presented}\r\n")
                };
                let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n");
                let request = http::read(&mut head.as_bytes()).await.unwrap().unwrap();
                let service = Service::of(&request.host);
                let token = service.judge(&request, &shared);
                let answer = service.answer(&request, token, &shared).await;
                (token, answer.status, answer.body.to_string())
            };
            let (token, status, body) = ask(secret).await;
            assert_eq!(
                (token, status),
                (Some(Token::Real), "200 OK"),
                "{host} {path}"
            );
            assert!(!body.contains(refusal), "{body}");
            let (token, _, body) = ask(PLACEHOLDER).await;
            assert_eq!(token, Some(Token::Placeholder), "{host} {path}");
            assert!(body.contains(refusal), "{body}");
        }
    }
}
