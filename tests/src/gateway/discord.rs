//! Discord's REST interface, as far as libraries need it to log in and to answer a message, and the objects that its
//! gateway sends: <https://discord.com/developers/docs/reference>.

use serde_json::{Value, json};

use super::{
    http::{Answer, Request},
    record::Token,
};

pub(super) const BOT: &str = "1000000000000000001";
pub(super) const GUILD: &str = "2000000000000000001";
const CHANNEL: &str = "3000000000000000001";
const OWNER: &str = "4000000000000000001";
const SINCE: &str = "2026-01-01T00:00:00.000000+00:00";

/// What a request presents as the bot's token.
pub(super) fn judge(request: &Request, token: &str) -> Option<Token> {
    request
        .credential("Bot ")
        .map(|presented| Token::judge(presented, token))
}

pub(super) fn answer(request: &Request, token: Option<Token>) -> Answer {
    let as_bot = request
        .authorization
        .as_deref()
        .is_some_and(|value| value.starts_with("Bot "));
    let path = request.path.strip_prefix("/api/v10").unwrap_or_default();
    if path != "/gateway" && !(as_bot && token == Some(Token::Real)) {
        return Answer {
            status: "401 Unauthorized",
            body: json!({"message": "401: Unauthorized", "code": 0}),
        };
    }
    match (request.method.as_str(), path) {
        ("GET", "/users/@me") => Answer::ok(bot()),
        ("GET", "/gateway") => Answer::ok(json!({"url": "wss://gateway.discord.gg"})),
        ("GET", "/gateway/bot") => Answer::ok(json!({
            "url": "wss://gateway.discord.gg",
            "shards": 1,
            "session_start_limit":
                {"total": 1000, "remaining": 999, "reset_after": 14_400_000, "max_concurrency": 1},
        })),
        ("GET", "/applications/@me" | "/oauth2/applications/@me") => Answer::ok(application()),
        ("POST", path) if path == format!("/channels/{CHANNEL}/messages") => {
            let sent: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let content = sent.get("content").and_then(Value::as_str);
            Answer::ok(message(content.unwrap_or_default(), &bot()))
        }
        _ => Answer {
            status: "404 Not Found",
            body: json!({"message": "404: Not Found", "code": 0}),
        },
    }
}

pub(super) fn bot() -> Value {
    let mut bot = user(BOT, "micky");
    if let Some(fields) = bot.as_object_mut() {
        let more = json!({"bot": true, "verified": true, "mfa_enabled": false, "email": null, "locale": "en-US"});
        fields.extend(more.as_object().cloned().unwrap_or_default());
    }
    bot
}

/// The user whose guild it is.
pub(super) fn owner() -> Value {
    user(OWNER, "walt")
}

fn user(id: &str, name: &str) -> Value {
    json!({
        "id": id, "username": name, "discriminator": "0", "global_name": null, "avatar": null, "banner": null,
        "accent_color": null, "avatar_decoration_data": null, "flags": 0, "public_flags": 0,
    })
}

fn member(user: &Value) -> Value {
    json!({
        "user": user, "nick": null, "avatar": null, "banner": null, "roles": [], "joined_at": SINCE,
        "premium_since": null, "deaf": false, "mute": false, "flags": 0, "pending": false,
        "communication_disabled_until": null, "avatar_decoration_data": null,
    })
}

/// A message in the guild's one channel.
pub(super) fn message(content: &str, author: &Value) -> Value {
    json!({
        "id": "5000000000000000001", "channel_id": CHANNEL, "guild_id": GUILD, "author": author, "content": content,
        "timestamp": SINCE, "edited_timestamp": null, "tts": false, "mention_everyone": false, "mentions": [],
        "mention_roles": [], "mention_channels": [], "attachments": [], "embeds": [], "components": [], "pinned": false,
        "type": 0, "flags": 0,
    })
}

/// A guild with one channel, its owner and the bot.
pub(super) fn guild() -> Value {
    let mut guild: Value = serde_json::from_str(include_str!("guild.json")).unwrap_or_default();
    if let Some(members) = guild.get_mut("members") {
        *members = json!([member(&owner()), member(&bot())]);
    }
    guild
}

fn application() -> Value {
    json!({
        "id": BOT, "name": "micky", "icon": null, "description": "", "summary": "", "bot_public": false,
        "bot_require_code_grant": false, "verify_key": "00", "flags": 0, "hook": true, "rpc_origins": [],
        "owner": owner(), "team": null, "bot": bot(), "approximate_guild_count": 1,
    })
}
