use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::{task::JoinSet, time::advance};

use super::*;

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

/// A resolver whose lookups are counted and answered by `answer`.
fn counting(
    answer: impl Fn(&Host) -> Result<Vec<IpAddr>, ResolveError> + Send + Sync + 'static,
) -> (Arc<Resolver>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let look_up: LookUp = Arc::new(move |host| {
        counted.fetch_add(1, Ordering::SeqCst);
        answer(host)
    });
    let resolver = Resolver::with_look_up(HashMap::new(), look_up);
    (Arc::new(resolver), count)
}

fn one_address() -> Vec<IpAddr> {
    vec!["192.0.2.1".parse().unwrap()]
}

#[tokio::test]
async fn localhost_is_resolved_by_the_real_resolver() {
    let resolver = Resolver::new(HashMap::new());
    let found = resolver.resolve(&host("localhost"), 443).await.unwrap();
    assert!(!found.as_written);
    assert!(
        found
            .addresses
            .iter()
            .all(|address| address.ip().is_loopback() && address.port() == 443),
        "{found:?}"
    );
}

#[tokio::test]
async fn overrides_come_first_and_can_be_replaced() {
    let (resolver, count) = counting(|_| Ok(one_address()));
    let a = host("a.example");
    let written = |ip: &str, port| Override {
        ip: ip.parse().unwrap(),
        port,
    };
    let two = vec![written("10.1.2.3", None), written("fd00::1", Some(8443))];
    resolver.replace_overrides(HashMap::from([(a.clone(), two)]));
    let found = resolver.resolve(&a, 443).await.unwrap();
    assert!(found.as_written);
    let expected = ["10.1.2.3:443", "[fd00::1]:8443"].map(|text| text.parse().unwrap());
    assert_eq!(found.addresses, expected);
    assert_eq!(count.load(Ordering::SeqCst), 0);

    resolver.replace_overrides(HashMap::new());
    let found = resolver.resolve(&a, 443).await.unwrap();
    assert!(!found.as_written);
    assert_eq!(found.addresses, ["192.0.2.1:443".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn answers_are_kept_for_half_a_minute() {
    let (resolver, count) = counting(|_| Ok(one_address()));
    let a = host("a.example");
    for (wait, lookups) in [(0, 1), (29, 1), (2, 2), (0, 2)] {
        advance(Duration::from_secs(wait)).await;
        resolver.resolve(&a, 443).await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), lookups);
    }
    // Another port is the same name.
    resolver.resolve(&a, 80).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn failures_are_kept_for_five_seconds() {
    for failure in [
        Err(ResolveError::NoSuchName),
        Err(ResolveError::Failed("out of order".into())),
        Ok(Vec::new()),
    ] {
        let expected = failure.clone().err().unwrap_or(ResolveError::NoSuchName);
        let (resolver, count) = counting(move |_| failure.clone());
        let a = host("a.example");
        for (wait, lookups) in [(0, 1), (4, 1), (2, 2)] {
            advance(Duration::from_secs(wait)).await;
            assert_eq!(resolver.resolve(&a, 443).await, Err(expected.clone()));
            assert_eq!(count.load(Ordering::SeqCst), lookups);
        }
    }
}

#[tokio::test]
async fn name_is_looked_up_once_however_many_ask() {
    let (resolver, count) = counting(|_| {
        thread::sleep(Duration::from_millis(50));
        Ok(one_address())
    });
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let resolver = resolver.clone();
        tasks.spawn(async move { resolver.resolve(&host("a.example"), 443).await });
    }
    while let Some(found) = tasks.join_next().await {
        found.unwrap().unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn lookups_at_a_time_are_bounded() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, peak) = (running.clone(), most.clone());
    let (resolver, count) = counting(move |_| {
        peak.fetch_max(seen.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(5));
        seen.fetch_sub(1, Ordering::SeqCst);
        Ok(one_address())
    });
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let resolver = resolver.clone();
        tasks.spawn(async move {
            resolver
                .resolve(&host(&format!("h{number}.example")), 443)
                .await
        });
    }
    while let Some(found) = tasks.join_next().await {
        found.unwrap().unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 200);
    assert!(most.load(Ordering::SeqCst) <= LOOKUPS);
}

#[tokio::test]
async fn lookup_whose_asker_is_gone_does_not_block_the_name() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (resolver, count) = counting(move |_| {
        // The first one hangs until the test is over.
        drop(wait.lock().map(|wait| wait.recv()));
        Ok(one_address())
    });
    let first = {
        let resolver = resolver.clone();
        tokio::spawn(async move { resolver.resolve(&host("a.example"), 443).await })
    };
    while count.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    drop(first.await);
    drop(go);
    resolver.resolve(&host("a.example"), 443).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn names_are_bounded() {
    let (resolver, _) = counting(|_| Ok(one_address()));
    for number in 0..CAPACITY + 500 {
        let name = host(&format!("h{number}.example"));
        resolver.resolve(&name, 443).await.unwrap();
    }
    assert!(resolver.known.len() <= CAPACITY, "{}", resolver.known.len());
}

#[tokio::test]
async fn addresses_of_a_name_are_bounded() {
    let (resolver, _) = counting(|_| {
        Ok((0..1000)
            .map(|number| std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into())
            .collect())
    });
    let found = resolver.resolve(&host("a.example"), 443).await.unwrap();
    assert_eq!(found.addresses.len(), ADDRESSES);
}
