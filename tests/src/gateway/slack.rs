//! Slack's Web API, Socket Mode and RTM, as far as libraries need them to receive an event and to answer it.
//!
//! - <https://docs.slack.dev/apis/events-api/using-socket-mode/>
//! - <https://docs.slack.dev/legacy/legacy-rtm-api/>

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    http::{Answer, Request},
    record::Token,
    socket::Socket,
};

pub const BOT_TOKEN: &str = "xoxb-1234567890-1234567890123-ThisOneStaysOutside42";
pub const APP_TOKEN: &str = "xapp-1-A0123456789-1234567890123-this0one0stays0outside0too";

const SOCKET_MODE: &str = "/link/?ticket=8f1c5d6e&app_id=A0123456789";
const RTM: &str = "/websocket/2b9f6a1d";
const CHANNEL: &str = "C0123456789";

/// Socket Mode is opened with the app's token, everything else with the bot's.
pub(super) fn judge(request: &Request) -> Option<Token> {
    let real = if request.path == "/api/apps.connections.open" {
        APP_TOKEN
    } else {
        BOT_TOKEN
    };
    request
        .credential("Bearer ")
        .map(|presented| Token::judge(presented, real))
}

pub(super) fn answer(request: &Request, token: Option<Token>) -> Answer {
    let method = request.path.strip_prefix("/api/").unwrap_or_default();
    let body = match (token, method) {
        (None, _) => json!({"ok": false, "error": "not_authed"}),
        (Some(Token::Placeholder | Token::Other), _) => {
            json!({"ok": false, "error": "invalid_auth"})
        }
        (Some(Token::Real), "apps.connections.open") => {
            json!({"ok": true, "url": format!("wss://wss-primary.slack.com{SOCKET_MODE}")})
        }
        (Some(Token::Real), "rtm.connect" | "rtm.start") => json!({
            "ok": true,
            "url": format!("wss://wss-primary.slack.com{RTM}"),
            "self": {"id": "U0123456789", "name": "micky"},
            "team": {"id": "T0123456789", "name": "a team", "domain": "a-team"},
        }),
        (Some(Token::Real), "auth.test") => json!({
            "ok": true, "url": "https://a-team.slack.com/", "team": "a team", "user": "micky",
            "team_id": "T0123456789", "user_id": "U0123456789", "bot_id": "B0123456789",
        }),
        (Some(Token::Real), "chat.postMessage") => {
            json!({"ok": true, "channel": CHANNEL, "ts": "1700000000.000200", "message": {"text": "hello"}})
        }
        _ => json!({"ok": false, "error": "unknown_method"}),
    };
    Answer::ok(body)
}

/// A ticket opens a WebSocket; a token is not wanted there.
pub(super) fn refusal(request: &Request) -> Option<Answer> {
    let opens = request.authorization.is_none()
        && (request.path.starts_with(SOCKET_MODE) || request.path == RTM);
    (!opens).then(|| Answer {
        status: "403 Forbidden",
        body: json!({"ok": false, "error": "invalid_auth"}),
    })
}

pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    request: &Request,
    socket: Socket<'_, S>,
) -> Result<()> {
    if request.path == RTM {
        rtm(socket).await
    } else {
        socket_mode(socket).await
    }
}

async fn socket_mode<S: AsyncRead + AsyncWrite + Unpin>(mut socket: Socket<'_, S>) -> Result<()> {
    let hello = json!({
        "type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0123456789"},
        "debug_info": {"host": "applink-1", "build_number": 1, "approximate_connection_time": 18_060},
    });
    socket.send(&hello).await?;
    let envelope = "57d6a792-4d35-4d0b-b6aa-3361493e1caf";
    let event = json!({
        "envelope_id": envelope, "type": "events_api", "accepts_response_payload": false,
        "retry_attempt": 0, "retry_reason": "",
        "payload": {
            "type": "event_callback", "team_id": "T0123456789", "api_app_id": "A0123456789",
            "event": {"type": "app_mention", "user": "U0000000001", "text": "hello", "channel": CHANNEL,
                "ts": "1700000000.000100"},
        },
    });
    socket.send(&event).await?;
    while let Some(message) = socket.next().await? {
        let acknowledged: Value = serde_json::from_slice(&message.payload)?;
        if acknowledged.get("envelope_id").and_then(Value::as_str) == Some(envelope) {
            socket.ready();
        }
    }
    Ok(())
}

async fn rtm<S: AsyncRead + AsyncWrite + Unpin>(mut socket: Socket<'_, S>) -> Result<()> {
    socket.send(&json!({"type": "hello"})).await?;
    let event = json!({"type": "message", "user": "U0000000001", "text": "hello", "channel": CHANNEL,
        "ts": "1700000000.000100"});
    socket.send(&event).await?;
    while let Some(message) = socket.next().await? {
        let sent: Value = serde_json::from_slice(&message.payload)?;
        let id = sent.get("id").cloned().unwrap_or_default();
        if sent.get("type").and_then(Value::as_str) == Some("message") {
            let text = sent.get("text").cloned().unwrap_or_default();
            socket
                .send(&json!({"ok": true, "reply_to": id, "ts": "1700000000.000200", "text": text}))
                .await?;
            socket.ready();
        } else {
            socket
                .send(&json!({"type": "pong", "reply_to": id}))
                .await?;
        }
    }
    Ok(())
}
