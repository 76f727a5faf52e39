//! REST of chat services: a message, and a message with a file.
//!
//! - <https://discord.com/developers/docs/resources/message#create-message>
//! - <https://docs.slack.dev/reference/methods/files.getUploadURLExternal>

use serde_json::json;

use crate::site::{Seen, reply::Reply};

pub(super) fn discord(seen: &Seen) -> Reply {
    let message =
        json!({"id": "9", "channel_id": "7", "content": "hello to you", "attachments": []});
    match (seen.method.as_str(), seen.path()) {
        ("GET", "/api/v10/users/%40me") => Reply::json(&json!({"id": "1", "username": "micky"})),
        ("POST", "/api/v10/channels/7/messages") => Reply::json(&message)
            .with("x-ratelimit-bucket", "b")
            .with("x-ratelimit-limit", "5")
            .with("x-ratelimit-remaining", "4")
            .with("x-ratelimit-reset-after", "1.000"),
        ("PATCH", "/api/v10/channels/7/messages/9") => Reply::json(&message),
        ("DELETE", "/api/v10/channels/7/messages/9") => Reply::new(204, "text/plain", ""),
        _ => Reply::new(
            404,
            "application/json",
            r#"{"message":"Unknown","code":10003}"#,
        ),
    }
}

pub(super) fn slack(seen: &Seen) -> Reply {
    let answer = match seen.path() {
        "/api/auth.test" => json!({"ok": true, "user": "micky", "team": "a team"}),
        "/api/chat.postMessage" => json!({"ok": true, "channel": "C1", "ts": "1700000000.000200"}),
        "/api/files.getUploadURLExternal" => json!({
            "ok": true, "file_id": "F1", "upload_url": "https://files.slack.com/upload/v1/F1",
        }),
        "/api/files.completeUploadExternal" => json!({"ok": true, "files": [{"id": "F1"}]}),
        "/upload/v1/F1" => return Reply::new(200, "text/plain", "OK"),
        _ => json!({"ok": false, "error": "unknown_method"}),
    };
    Reply::json(&answer)
}
