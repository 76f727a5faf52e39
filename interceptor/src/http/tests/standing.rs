//! What a reload means for a connection whose requests go on.

use super::peer::{HOST, Rig, SECRET, TOKEN, release_of};
use crate::{
    http::{End, Refusal},
    rewrite::standing::Revoked,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn request(token: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n")
}

async fn ask_once(rig: &mut Rig, secret: &str) {
    rig.ask(request(TOKEN)).await;
    rig.server_gets(request(secret)).await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
}

/// The response that says so, and the end.
async fn told(rig: &mut Rig, code: &str) {
    let (status, error) = rig.refused().await;
    assert_eq!((status, error.as_str()), (403, code));
}

#[tokio::test]
async fn the_next_request_takes_a_rotated_secret() {
    let (mut rig, reloads) = Rig::reloading();
    ask_once(&mut rig, SECRET).await;
    for value in ["another-value", "a-third-value"] {
        reloads.renew(release_of(value));
        ask_once(&mut rig, value).await;
    }
}

#[tokio::test]
async fn a_request_under_way_ends_and_the_next_takes_the_rotated_secret() {
    let (mut rig, reloads) = Rig::reloading();
    rig.ask(request(TOKEN)).await;
    rig.server_gets(request(SECRET)).await;
    reloads.renew(release_of("another-value"));
    // Pipelined: its head is here before the answer to the first.
    rig.ask(request(TOKEN)).await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
    rig.server_gets(request("another-value")).await;
}

#[tokio::test]
async fn a_connection_that_lost_its_secret_answers_the_next_request_with_403() {
    let (mut rig, reloads) = Rig::reloading();
    ask_once(&mut rig, SECRET).await;
    reloads.revoke_secret();
    tokio::task::yield_now().await;
    rig.ask(request(TOKEN)).await;
    told(&mut rig, "credential_revoked").await;
}

#[tokio::test]
async fn an_idle_connection_that_was_denied_and_allowed_again_goes_on() {
    let (mut rig, reloads) = Rig::reloading();
    ask_once(&mut rig, SECRET).await;
    reloads.revoke_policy();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    reloads.renew(release_of("another-value"));
    ask_once(&mut rig, "another-value").await;
}

#[tokio::test]
async fn a_request_under_way_outlives_its_secret_but_the_next_is_told() {
    let (mut rig, reloads) = Rig::reloading();
    rig.ask(request(TOKEN)).await;
    rig.server_gets(request(SECRET)).await;
    reloads.revoke_secret();
    rig.ask(request(TOKEN)).await;
    rig.answer(OK).await;
    rig.client_gets(OK).await;
    told(&mut rig, "credential_revoked").await;
}

#[tokio::test]
async fn a_body_that_goes_on_for_ever_is_cut_when_the_policy_denies_it() {
    let (mut rig, reloads) = Rig::reloading();
    let head =
        format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    rig.ask(&head).await;
    rig.server_gets(&head).await;
    reloads.revoke_policy();
    rig.server_ends_with("").await;
    rig.client_ends_with("").await;
    let end = rig.end().await.unwrap();
    assert!(
        matches!(end, End::Refused(Refusal::Revoked(Revoked::Policy(_)))),
        "{end:?}"
    );
}
