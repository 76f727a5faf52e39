//! Interfaces of language models, whose answers stream as server-sent events.
//!
//! - <https://platform.openai.com/docs/api-reference/chat-streaming>
//! - <https://platform.openai.com/docs/api-reference/responses-streaming>
//! - <https://platform.claude.com/docs/en/build-with-claude/streaming>

use serde_json::{Value, json};

use crate::site::{Seen, reply::Reply};

const WORDS: [&str; 4] = ["Grüße", " from", " the", " model."];

pub(super) fn openai(seen: &Seen) -> Reply {
    let request: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let streams = request.get("stream") == Some(&json!(true));
    match (seen.path(), streams) {
        ("/v1/models", _) => Reply::json(&json!({
            "object": "list",
            "data": [{"id": "gpt-test", "object": "model", "created": 1_756_000_000, "owned_by": "openai"}],
        })),
        ("/v1/chat/completions", true) => {
            let chunk = |delta: Value, reason: Value| {
                let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
                let chunk = json!({
                    "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_756_000_000,
                    "model": "gpt-test", "choices": [choice],
                });
                format!("data: {chunk}")
            };
            let words = WORDS.map(|word| chunk(json!({ "content": word }), Value::Null));
            let end = [chunk(json!({}), json!("stop")), "data: [DONE]".to_owned()];
            Reply::events(words.into_iter().chain(end))
        }
        ("/v1/chat/completions", false) => Reply::json(&json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_756_000_000, "model": "gpt-test",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": WORDS.concat()},
            }],
        })),
        ("/v1/responses", true) => {
            let words = WORDS.iter().enumerate().map(|(number, word)| {
                let delta = json!({
                    "type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
                    "content_index": 0, "sequence_number": number, "delta": word,
                });
                format!("event: response.output_text.delta\ndata: {delta}")
            });
            let end = json!({
                "type": "response.completed", "sequence_number": WORDS.len(),
                "response": {"id": "resp_1", "object": "response", "status": "completed", "output": []},
            });
            Reply::events(words.chain([format!("event: response.completed\ndata: {end}")]))
        }
        _ => Reply::new(
            404,
            "application/json",
            r#"{"error":{"message":"unknown"}}"#,
        ),
    }
}

pub(super) fn anthropic(seen: &Seen) -> Reply {
    let request: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let message = |content: Value| {
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test",
            "content": content, "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 1, "output_tokens": 4},
        })
    };
    if seen.path() != "/v1/messages" {
        return Reply::new(404, "application/json", r#"{"type":"error"}"#);
    }
    if request.get("stream") != Some(&json!(true)) {
        return Reply::json(&message(json!([{"type": "text", "text": WORDS.concat()}])));
    }
    let words = WORDS.map(|word| {
        let delta = json!({"type": "text_delta", "text": word});
        json!({"type": "content_block_delta", "index": 0, "delta": delta})
    });
    let begin = [
        json!({"type": "message_start", "message": message(json!([]))}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
    ];
    let end = [
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 4},
        }),
        json!({"type": "message_stop"}),
    ];
    let events = begin.into_iter().chain(words).chain(end).map(|event| {
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        format!("event: {kind}\ndata: {event}")
    });
    Reply::events(events)
}
