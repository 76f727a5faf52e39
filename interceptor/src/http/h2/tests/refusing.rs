//! What must not reach the server.

use http::{HeaderValue, Method, Request, Response};

use super::peer::{Rig, all, get, to};
use crate::{
    http::tests::peer::HOST,
    policy::{Judgement, RequestView},
};

fn with_method(method: &str) -> Request<()> {
    let mut request = get("/");
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    request
}

#[tokio::test]
async fn requests_that_are_not_for_this_server_are_refused_one_by_one() {
    let mut rig = Rig::new().await;
    let under_way = rig.ask(get("/")).await;
    let mut asked = rig.asked().await;
    let malformed = (400, "malformed_request");
    for (request, (status, error)) in [
        (to("https://evil.example/"), (421, "authority_mismatch")),
        (
            to(&format!("https://{HOST}:8443/")),
            (421, "authority_mismatch"),
        ),
        (to(&format!("https://{HOST}@evil.example/")), malformed),
        (to(&format!("https://user@{HOST}/")), malformed),
        (to("https://127.0.0.1/"), malformed),
        (to(&format!("http://{HOST}/")), malformed),
        (with_method("connect"), malformed),
        (with_method("TRACE"), (405, "method_refused")),
        (with_method("trace"), (405, "method_refused")),
        (with_method("TRACK"), (405, "method_refused")),
        (with_method("WEBSOCKET_TEXT"), (405, "method_refused")),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(
            rig.refused(request).await,
            (status, error.to_owned()),
            "{shown}"
        );
        assert_eq!(rig.denied.lock().unwrap().pop(), Some(error), "{shown}");
    }
    asked
        .respond
        .send_response(Response::new(()), true)
        .unwrap();
    assert_eq!(under_way.await.unwrap().status(), 200);
}

#[tokio::test]
async fn connect_is_refused() {
    let mut rig = Rig::new().await;
    let mut request = with_method("CONNECT");
    *request.uri_mut() = "evil.example:443".parse().unwrap();
    let refused = rig.refused(request).await;
    assert_eq!(refused, (400, "malformed_request".to_owned()));
}

#[tokio::test]
async fn the_answer_to_a_refused_head_has_no_body() {
    let mut rig = Rig::new().await;
    let mut request = to("https://evil.example/");
    *request.method_mut() = Method::HEAD;
    let (head, mut body) = rig.ask(request).await.await.unwrap().into_parts();
    assert_eq!(head.status, 421);
    assert!(head.headers.contains_key("content-length"));
    assert_eq!(all(&mut body).await.unwrap(), b"");
}

#[tokio::test]
async fn a_refused_upload_is_answered_and_stopped() {
    let mut rig = Rig::new().await;
    let mut request = to("https://evil.example/");
    *request.method_mut() = Method::POST;
    let (response, mut upload) = rig.begin(request).await;
    let response = response.await.unwrap();
    assert_eq!(super::peer::refusal(response).await.0, 421);
    assert_eq!(super::peer::reset(&mut upload).await, h2::Reason::NO_ERROR);
}

#[tokio::test]
async fn methods_and_paths_are_the_policys_to_decide() {
    let judge = |request: &RequestView<'_>| match request.method {
        "GET" => Judgement::Allow,
        "PUT" => Judgement::Audit("example/read-only".into()),
        _ => Judgement::Deny("example/read-only allows no such method".into()),
    };
    let mut rig = Rig::judging(Box::new(judge)).await;
    rig.pass(get("/")).await;
    rig.pass(with_method("PUT")).await;
    let refused = rig.refused(with_method("DELETE")).await;
    assert_eq!(refused, (403, "policy_denied".to_owned()));
    assert_eq!(*rig.denied.lock().unwrap(), ["policy_denied"]);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let mut many = get("/");
    for number in 0..300 {
        let name: http::HeaderName = format!("x-{number}").parse().unwrap();
        many.headers_mut()
            .insert(name, HeaderValue::from_static("y"));
    }
    let mut long = get("/");
    let value = HeaderValue::from_str(&"a".repeat(65 * 1024)).unwrap();
    long.headers_mut().insert("x-long", value);
    let far = get(&format!("/{}", "a".repeat(60 * 1024)));
    for (request, refused) in [(many, true), (long, true), (far, false)] {
        let mut rig = Rig::new().await;
        if refused {
            assert_eq!(
                rig.refused(request).await,
                (431, "request_head_too_large".to_owned())
            );
        } else {
            rig.pass(request).await;
        }
    }
}
