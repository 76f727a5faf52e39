use super::*;
use crate::rewrite::release::builder::release;

const TOKEN: &str = "MTIz.abc\"\\def";
const PLACEHOLDER: &str = "openshell:resolve:env:T";

fn rules() -> Arc<Rules> {
    let release = release()
        .discord("T", TOKEN.as_bytes())
        .discord("BINARY", b"\xff\xfe")
        .header("HEADER", b"h", &["authorization"])
        .elsewhere("OTHER")
        .build();
    Rules::for_messages(Arc::new(release)).unwrap()
}

fn whole(message: &[u8]) -> (Result<Outcome, Refusal>, Arc<Connection>) {
    let stats = Arc::new(Connection::default());
    (rewrite(&rules(), message, &stats), stats)
}

fn rewritten(message: &[u8]) -> Outcome {
    Outcome::Rewritten(Zeroizing::new(message.to_vec()))
}

/// `{"op":2,"d":{"token":…,"intents":513}}` as `erlpack` (JavaScript) packs it: names and strings are binaries.
fn erlpack(token: &str) -> Vec<u8> {
    let mut bytes =
        b"\x83t\0\0\0\x02m\0\0\0\x02opa\x02m\0\0\0\x01dt\0\0\0\x02m\0\0\0\x05tokenm".to_vec();
    bytes.extend(u32::try_from(token.len()).unwrap().to_be_bytes());
    bytes.extend(token.as_bytes());
    bytes.extend(b"m\0\0\0\x07intentsb\0\0\x02\x01");
    bytes
}

/// The same as Python's `msgpack.packb` packs it.
fn message_pack(header: &[u8], token: &str) -> Vec<u8> {
    let head: &[u8] = b"\x82\xa2op\x02\xa1d\x82\xa5token";
    [head, header, token.as_bytes(), b"\xa7intents\xcd\x02\x01"].concat()
}

#[test]
fn secret_goes_into_etf_with_its_length() {
    let (outcome, stats) = whole(&erlpack(PLACEHOLDER));
    assert_eq!(outcome, Ok(rewritten(&erlpack(TOKEN))));
    assert_eq!(stats.facts().rewrites.values().sum::<u64>(), 1);
}

#[test]
fn secret_goes_into_message_pack_with_its_length() {
    let (outcome, _) = whole(&message_pack(b"\xb7", PLACEHOLDER));
    assert_eq!(outcome, Ok(rewritten(&message_pack(b"\xad", TOKEN))));
}
