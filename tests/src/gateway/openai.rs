//! OpenAI's API: a list of models, and a session of the Realtime API.
//!
//! <https://platform.openai.com/docs/guides/realtime-websocket>

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    http::{Answer, Request},
    record::Token,
    socket::Socket,
};

pub const KEY: &str = "sk-proj-this-key-stays-outside-0123456789abcdefABCDEF";

pub(super) fn judge(request: &Request) -> Option<Token> {
    request
        .credential("Bearer ")
        .map(|presented| Token::judge(presented, KEY))
}

/// Without the key there is no upgrade either.
pub(super) fn refusal(token: Option<Token>) -> Option<Answer> {
    (token != Some(Token::Real)).then(unauthorized)
}

pub(super) fn answer(request: &Request, token: Option<Token>) -> Answer {
    if let Some(refusal) = refusal(token) {
        return refusal;
    }
    if request.line() == "GET /v1/models" {
        return Answer::ok(json!({
            "object": "list",
            "data": [{"id": "gpt-realtime", "object": "model", "created": 1_756_000_000, "owned_by": "openai"}],
        }));
    }
    Answer {
        status: "404 Not Found",
        body: error("Unknown request URL", "unknown_url"),
    }
}

pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: Socket<'_, S>,
) -> Result<()> {
    let session = json!({"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "gpt-realtime"});
    socket
        .send(&json!({"type": "session.created", "event_id": "event_1", "session": session}))
        .await?;
    while let Some(message) = socket.next().await? {
        let event: Value = serde_json::from_slice(&message.payload)?;
        let answer = match event.get("type").and_then(Value::as_str) {
            Some("session.update") => {
                json!({"type": "session.updated", "event_id": "event_2", "session": session})
            }
            Some("response.create") => {
                socket.ready();
                json!({
                    "type": "response.done", "event_id": "event_3",
                    "response": {"object": "realtime.response", "id": "resp_1", "status": "completed", "output": []},
                })
            }
            _ => {
                json!({"type": "error", "event_id": "event_4", "error": error("Unknown event", "invalid_event")})
            }
        };
        socket.send(&answer).await?;
    }
    Ok(())
}

fn unauthorized() -> Answer {
    Answer {
        status: "401 Unauthorized",
        body: json!({"error": error("Incorrect API key provided", "invalid_api_key")}),
    }
}

fn error(message: &str, code: &str) -> Value {
    json!({"message": message, "type": "invalid_request_error", "param": null, "code": code})
}
