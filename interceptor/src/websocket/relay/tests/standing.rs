//! What a reload means for a session that is open.

use super::*;
use crate::rewrite::{reflection::Reflection, standing::Revoked};

const ROTATED: &str = "MTIz.another.token";

fn rotated() -> Release {
    release().discord("T", ROTATED.as_bytes()).build()
}

fn identify(fin: bool) -> Vec<u8> {
    client_frame(fin, Opcode::Text, &identify_with(PLACEHOLDER))
}

#[tokio::test(start_paused = true)]
async fn next_message_takes_a_rotated_secret_and_the_session_stays() {
    let mut stage = stage();
    stage.client_sends(&identify(true)).await;
    assert_eq!(
        stage.server_sees().await,
        frame(Opcode::Text, &identify_with(SECRET))
    );
    for value in ["one", "two"] {
        stage
            .reloads
            .renew(release().discord("T", value.as_bytes()).build());
        stage.client_sends(&identify(true)).await;
        assert_eq!(
            stage.server_sees().await,
            frame(Opcode::Text, &identify_with(value))
        );
    }
    assert_eq!(stage.stats.facts().rewrites.values().sum::<u64>(), 3);
}

#[tokio::test(start_paused = true)]
async fn message_that_is_coming_keeps_the_secret_with_which_it_began() {
    // Held for its second frame, and too long to be held: streamed.
    for length in [10, 100_000] {
        let mut stage = stage_with(b"", b"", 1 << 20);
        let text = format!(
            r#"{{"op":2,"x":"{}","d":{{"token":"{PLACEHOLDER}"}}}}"#,
            "x".repeat(length)
        );
        let (head, tail) = text.split_at(text.len() - 30);
        let head = client_frame(false, Opcode::Text, head.as_bytes());
        let tail = client_frame(true, Opcode::Continuation, tail.as_bytes());
        stage.client_sends(&head).await;
        settle().await;
        stage.reloads.renew(rotated());
        settle().await;
        stage.client_sends(&tail).await;
        stage.client_sends(&identify(true)).await;
        let mut message = Vec::new();
        let expected = text.replace(PLACEHOLDER, SECRET).into_bytes();
        while message.len() < expected.len() {
            message.extend(stage.server_sees().await.unwrap().payload);
        }
        assert!(message == expected, "{length}");
        assert_eq!(
            stage.server_sees().await,
            frame(Opcode::Text, &identify_with(ROTATED))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn message_that_is_coming_ends_when_nothing_may_be_put_in_any_more() {
    let mut stage = stage_with(b"", b"", 1 << 20);
    let head = client_frame(false, Opcode::Text, b"first ");
    let tail = client_frame(true, Opcode::Continuation, &[b'x'; 100_000]);
    stage.client_sends(&head).await;
    settle().await;
    stage.reloads.renew(release().build());
    settle().await;
    stage.client_sends(&tail).await;
    let mut message = Vec::new();
    while message.len() < 100_006 {
        message.extend(stage.server_sees().await.unwrap().payload);
    }
    stage.client_sends(&identify(true)).await;
    assert_eq!(
        stage.server_sees().await,
        frame(Opcode::Text, &identify_with(PLACEHOLDER))
    );
}

#[tokio::test(start_paused = true)]
async fn revoked_session_is_closed_with_1008_and_the_server_told_1001() {
    for (revoked, reason) in [
        (Revoked::Policy("no rule".to_owned()), "policy_denied"),
        (Revoked::Secret("T".parse().unwrap()), "credential_revoked"),
    ] {
        let mut stage = stage();
        stage.client_sends(&identify(true)).await;
        stage.server_sees().await;
        stage.reloads.revoke(revoked.clone());
        assert_eq!(stage.client_sees().await, close_of(1008, reason));
        assert_eq!(stage.server_sees().await, close_of(1001, ""));
        // What comes afterwards goes nowhere.
        stage.client_sends(&identify(true)).await;
        assert_eq!(stage.server_sees().await, None);
        let error = stage.end().await.unwrap_err();
        assert!(
            matches!(&error, WebSocketError::Revoked(why) if *why == revoked),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn revocation_waits_for_the_end_of_a_frame_but_not_of_a_message() {
    let mut stage = stage();
    let server = server_frame(false, Opcode::Binary, b"half a message");
    let (head, tail) = server.split_at(6);
    stage.server_sends(head).await;
    settle().await;
    stage.reloads.revoke_secret();
    settle().await;
    stage.server_sends(tail).await;
    assert_eq!(
        stage.client_sees().await,
        frame(Opcode::Binary, b"half a message")
    );
    assert_eq!(
        stage.client_sees().await,
        close_of(1008, "credential_revoked")
    );
}

#[tokio::test(start_paused = true)]
async fn revocation_behind_a_close_changes_nothing() {
    let mut stage = stage();
    stage
        .client_sends(&client_frame(true, Opcode::Close, b"\x0f\xa0"))
        .await;
    assert_eq!(stage.server_sees().await, close_of(4000, ""));
    stage
        .server_sends(&server_frame(true, Opcode::Close, b"\x0f\xa0"))
        .await;
    assert_eq!(stage.client_sees().await, close_of(4000, ""));
    stage.reloads.revoke_policy();
    settle().await;
    let by = Side::Client;
    let code = Some(4000);
    assert_eq!(stage.end().await.unwrap(), End::Closed { by, code });
}

#[tokio::test(start_paused = true)]
async fn secret_that_is_bound_later_is_put_in_where_the_handshake_allows_it() {
    let leaning = |client: bool, server: bool| {
        Some(Compression {
            client_alone: !client,
            server_alone: !server,
        })
    };
    for (deflate, token) in [
        (None, SECRET),
        (DEFLATE, SECRET),
        (leaning(true, false), PLACEHOLDER),
        // Else the server's next message could not be searched, and would end the session.
        (leaning(false, true), PLACEHOLDER),
    ] {
        let mut stage = stage_of(release().build(), deflate, (b"", b""), 4096);
        stage.client_sends(&identify(true)).await;
        assert_eq!(
            stage.server_sees().await,
            frame(Opcode::Text, &identify_with(PLACEHOLDER))
        );
        stage
            .reloads
            .renew(release().discord("T", SECRET.as_bytes()).build());
        stage.client_sends(&identify(true)).await;
        assert_eq!(
            stage.server_sees().await,
            frame(Opcode::Text, &identify_with(token))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn session_that_is_to_be_searched_from_now_on_ends_if_it_cannot_be() {
    let searched = |on: bool| {
        let reflection = Arc::new(Reflection::off());
        if on {
            reflection.turn_on();
        }
        release()
            .discord("T", SECRET.as_bytes())
            .build()
            .noted_in(&reflection)
    };
    let leaning = Some(Compression {
        client_alone: true,
        server_alone: false,
    });
    for (deflate, goes_on) in [(None, true), (DEFLATE, true), (leaning, false)] {
        let mut stage = stage_of(searched(false), deflate, (b"", b""), 4096);
        stage.client_sends(&identify(true)).await;
        stage.server_sees().await;
        stage.reloads.renew(searched(true));
        if goes_on {
            stage.client_sends(&identify(true)).await;
            let seen = stage.server_sees().await;
            assert_eq!(seen, frame(Opcode::Text, &identify_with(SECRET)));
        } else {
            let seen = stage.client_sees().await;
            assert_eq!(seen, close_of(1008, "policy_denied"));
        }
    }
    // The reload came while the handshake was under way.
    let mut stage = stage_of(searched(true), leaning, (b"", b""), 4096);
    let seen = stage.client_sees().await;
    assert_eq!(seen, close_of(1008, "policy_denied"));
}
