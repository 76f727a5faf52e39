use hickory_proto::{op::Message, rr::RecordType};
use proptest::prelude::*;
use tokio::{
    io::{DuplexStream, duplex},
    time::{Instant, sleep},
};

use super::*;
use crate::dns::tests::{Known, addresses, query};

fn zone() -> Known {
    Known::default().with("a.example", &["192.0.2.1"])
}

fn a_query() -> Vec<u8> {
    frame(&query("a.example.", RecordType::A).to_vec().unwrap())
}

async fn read_answer(stream: &mut DuplexStream) -> Message {
    let length = stream.read_u16().await.unwrap();
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await.unwrap();
    Message::from_vec(&message).unwrap()
}

fn start(
    buffer: usize,
) -> (
    DuplexStream,
    tokio::task::JoinHandle<Result<(), DnsTcpError>>,
) {
    let (client, server) = duplex(buffer);
    let task = tokio::spawn(async move { serve(server, &zone()).await });
    (client, task)
}

#[tokio::test]
async fn several_queries_are_answered() {
    let (mut client, task) = start(64 * 1024);
    let other = frame(&query("b.example.", RecordType::A).to_vec().unwrap());
    let sent = [a_query(), other, a_query()].concat();
    client.write_all(&sent).await.unwrap();
    let mut counts = Vec::new();
    for _ in 0..3 {
        counts.push(addresses(&read_answer(&mut client).await).len());
    }
    counts.sort_unstable();
    assert_eq!(counts, [0, 1, 1]);
    client.write_all(&a_query()).await.unwrap();
    assert_eq!(addresses(&read_answer(&mut client).await), ["192.0.2.1"]);
    drop(client);
    task.await.unwrap().unwrap();
}

/// `number` is the query's ID.
fn numbered(number: u16, name: &str) -> Vec<u8> {
    let mut message = query(name, RecordType::A);
    message.metadata.id = number;
    frame(&message.to_vec().unwrap())
}

fn start_slow(buffer: usize) -> DuplexStream {
    let (client, server) = duplex(buffer);
    tokio::spawn(async move {
        let zone = zone()
            .with("slow.example", &["192.0.2.2"])
            .slow("slow.example");
        serve(server, &zone).await
    });
    client
}

#[tokio::test(start_paused = true)]
async fn slow_name_does_not_hold_up_the_answers_behind_it() {
    let mut client = start_slow(64 * 1024);
    let slow = numbered(1, "slow.example.");
    let sent = [slow, numbered(2, "a.example."), numbered(3, "a.example.")].concat();
    client.write_all(&sent).await.unwrap();
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(read_answer(&mut client).await.metadata.id);
    }
    order[..2].sort_unstable();
    assert_eq!(order, [2, 3, 1]);
}

#[tokio::test(start_paused = true)]
async fn client_that_has_closed_its_side_gets_its_answers() {
    let mut client = start_slow(64 * 1024);
    client
        .write_all(&numbered(1, "slow.example."))
        .await
        .unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_answer(&mut client).await.metadata.id, 1);
    let mut rest = Vec::new();
    assert_eq!(client.read_to_end(&mut rest).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn queries_at_a_time_are_bounded_and_all_are_answered() {
    let mut client = start_slow(64 * 1024);
    let count = u16::try_from(PIPELINE).unwrap() + 1;
    let started = Instant::now();
    let sent = (0..count).flat_map(|number| numbered(number, "slow.example."));
    client.write_all(&sent.collect::<Vec<_>>()).await.unwrap();
    let mut answered = Vec::new();
    for _ in 0..count {
        answered.push((
            read_answer(&mut client).await.metadata.id,
            started.elapsed(),
        ));
    }
    answered.sort_unstable();
    assert!(answered.iter().map(|(id, _)| *id).eq(0..count));
    let seconds: Vec<_> = answered.iter().map(|(_, after)| after.as_secs()).collect();
    assert_eq!(
        seconds.iter().filter(|after| **after == 3).count(),
        PIPELINE
    );
    assert_eq!(seconds.last(), Some(&6));
}

#[tokio::test]
async fn query_is_answered_when_split_at_every_byte() {
    let bytes = a_query();
    for at in 0..=bytes.len() {
        let mut queries = Queries::default();
        queries.push(&bytes[..at]);
        let early = queries.next().unwrap();
        assert_eq!(early.is_some(), at == bytes.len(), "split at {at}");
        queries.push(&bytes[at..]);
        let query = early.or_else(|| queries.next().unwrap()).unwrap();
        assert_eq!(query, bytes[2..], "split at {at}");
        assert!(queries.next().unwrap().is_none());
    }
}

#[tokio::test]
async fn message_that_is_no_query_is_passed_over() {
    let (mut client, _task) = start(64 * 1024);
    let mut response = query("a.example.", RecordType::A);
    response.metadata.message_type = hickory_proto::op::MessageType::Response;
    for bytes in [frame(&response.to_vec().unwrap()), frame(&[]), a_query()] {
        client.write_all(&bytes).await.unwrap();
    }
    assert_eq!(addresses(&read_answer(&mut client).await), ["192.0.2.1"]);
}

#[tokio::test]
async fn oversized_query_ends_the_connection() {
    let (mut client, task) = start(64 * 1024);
    client.write_all(&[0xff, 0xff, 1, 2, 3]).await.unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, DnsTcpError::TooLarge), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn silent_and_trickling_clients_end_at_the_deadline() {
    let (client, task) = start(64 * 1024);
    let started = Instant::now();
    task.await.unwrap().unwrap();
    assert_eq!(started.elapsed(), IDLE);
    drop(client);

    let (mut client, task) = start(64 * 1024);
    let started = Instant::now();
    tokio::spawn(async move {
        for byte in a_query() {
            if client.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    task.await.unwrap().unwrap();
    assert_eq!(started.elapsed(), IDLE);
}

#[tokio::test(start_paused = true)]
async fn client_that_takes_no_answers_ends_at_the_deadline() {
    let (mut client, task) = start(128);
    let writing = tokio::spawn(async move {
        while client.write_all(&a_query()).await.is_ok() {}
        client
    });
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, DnsTcpError::Stalled), "{error:?}");
    drop(writing.await);
}

proptest! {
    #[test]
    fn queries_are_the_same_however_they_arrive(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6),
        cuts in prop::collection::vec(1usize..20, 1..10),
    ) {
        let stream = messages.iter().map(|message| frame(message)).collect::<Vec<_>>().concat();
        let mut queries = Queries::default();
        let mut found = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*cut));
            queries.push(now);
            while let Some(query) = queries.next().unwrap() {
                found.push(query.to_vec());
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, messages);
    }

    #[test]
    fn any_bytes_are_bounded(bytes in prop::collection::vec(any::<u8>(), 0..10_000)) {
        let mut queries = Queries::default();
        for chunk in bytes.chunks(1000) {
            queries.push(chunk);
            while let Ok(Some(query)) = queries.next() {
                prop_assert!(query.len() <= LIMIT);
            }
        }
    }
}
