//! Telegram's Bot API: the token stands in the path. <https://core.telegram.org/bots/api>

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};

use super::{
    Shared,
    http::{Answer, Request},
    record::Token,
};

pub const TOKEN: &str = "1100000001:AAH-ThisOneStaysOutside_0123456789ab";

/// `/bot<token>/method`
fn parts(request: &Request) -> Option<(&str, &str)> {
    let path = request.path.split('?').next()?;
    path.strip_prefix("/bot")?.split_once('/')
}

pub(super) fn line(request: &Request) -> String {
    let method = parts(request).map_or("", |(_, method)| method);
    format!("{} /bot<token>/{method}", request.method)
}

pub(super) fn judge(request: &Request) -> Option<Token> {
    parts(request).map(|(presented, _)| Token::judge(presented, TOKEN))
}

pub(super) async fn answer(request: &Request, token: Option<Token>, shared: &Shared) -> Answer {
    let Some((_, method)) = parts(request) else {
        return not_found();
    };
    if token != Some(Token::Real) {
        return Answer {
            status: "401 Unauthorized",
            body: json!({"ok": false, "error_code": 401, "description": "Unauthorized"}),
        };
    }
    let result = match method {
        "getMe" => json!({
            "id": 1_100_000_001, "is_bot": true, "first_name": "Micky", "username": "micky_bot",
            "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
            "can_connect_to_business": false, "has_main_web_app": false,
        }),
        "deleteWebhook" => json!(true),
        "getUpdates" => updates(shared).await,
        "sendMessage" => message("hello to you"),
        _ => return not_found(),
    };
    Answer::ok(json!({"ok": true, "result": result}))
}

/// One message at once, then none for as long as a poll takes here.
async fn updates(shared: &Shared) -> Value {
    if shared.polls.fetch_add(1, Ordering::Relaxed) == 0 {
        return json!([{"update_id": 100, "message": message("hello")}]);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    json!([])
}

fn message(text: &str) -> Value {
    json!({
        "message_id": 1, "date": 1_700_000_000, "text": text,
        "chat": {"id": 7, "type": "private", "first_name": "Walt"},
        "from": {"id": 7, "is_bot": false, "first_name": "Walt"},
    })
}

pub(super) fn not_found() -> Answer {
    Answer {
        status: "404 Not Found",
        body: json!({"ok": false, "error_code": 404, "description": "Not Found"}),
    }
}
