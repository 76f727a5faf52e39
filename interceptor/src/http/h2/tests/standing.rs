//! What a reload means for a connection whose requests go on.

use std::time::Duration;

use http::{Request, Response};
use tokio::time::timeout;

use super::peer::{Rig, get, post};
use crate::{
    http::{
        End, Refusal,
        tests::peer::{SECRET, TOKEN, release_of},
    },
    rewrite::standing::Revoked,
};

fn request() -> Request<()> {
    let mut request = get("/");
    let value = format!("Bearer {TOKEN}").parse().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

async fn ask_once(rig: &mut Rig, secret: &str) {
    let seen = rig.pass(request()).await;
    assert_eq!(seen.headers()["authorization"], format!("Bearer {secret}"));
}

#[tokio::test]
async fn the_next_request_takes_a_rotated_secret() {
    let (mut rig, reloads) = Rig::reloading().await;
    ask_once(&mut rig, SECRET).await;
    for value in ["another-value", "a-third-value"] {
        reloads.renew(release_of(value));
        ask_once(&mut rig, value).await;
    }
}

#[tokio::test]
async fn a_lost_secret_is_told_to_the_next_request_and_the_client_makes_another_connection() {
    let (mut rig, reloads) = Rig::reloading().await;
    let under_way = rig.ask(request()).await;
    let mut asked = rig.asked().await;
    reloads.revoke_secret();
    let refused = rig.refused(request()).await;
    assert_eq!(refused, (403, "credential_revoked".to_owned()));
    asked
        .respond
        .send_response(Response::new(()), true)
        .unwrap();
    assert_eq!(under_way.await.unwrap().status(), 200);
    rig.ended.await.unwrap().unwrap();
    let end = rig.relay.await.unwrap().unwrap();
    assert!(
        matches!(end, End::Refused(Refusal::Revoked(Revoked::Secret(_)))),
        "{end:?}"
    );
}

#[tokio::test]
async fn streams_under_way_are_reset_when_the_policy_denies_them() {
    let (mut rig, reloads) = Rig::reloading().await;
    let (response, _upload) = rig.begin(post()).await;
    let mut asked = rig.asked().await;
    let mut download = asked
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    let mut body = response.await.unwrap().into_body();
    reloads.revoke_policy();
    let cut = timeout(Duration::from_secs(5), body.data()).await;
    let error = cut.expect("a reset").unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    let reason = super::peer::reset(&mut download).await;
    assert_eq!(reason, h2::Reason::CANCEL);
    let refused = rig.refused(get("/")).await;
    assert_eq!(refused, (403, "policy_denied".to_owned()));
}

#[tokio::test]
async fn a_connection_that_was_denied_and_allowed_again_goes_on() {
    let (mut rig, reloads) = Rig::reloading().await;
    ask_once(&mut rig, SECRET).await;
    reloads.revoke_policy();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    reloads.renew(release_of("another-value"));
    ask_once(&mut rig, "another-value").await;
}
