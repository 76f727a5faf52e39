use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{advance, sleep},
};

use super::*;

fn host(name: &str) -> Host {
    name.parse().unwrap()
}

/// A source that counts how often it is asked, and takes its time.
struct Stub {
    answer: Box<dyn Fn() -> Looked<IpAddr> + Send + Sync>,
    delay: Duration,
    count: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Source for Stub {
    async fn addresses(&self, _host: &Host) -> Looked<IpAddr> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        sleep(self.delay).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        (self.answer)()
    }

    async fn services(&self, name: &str) -> Looked<Service> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let (_, target) = name.split_once("_tcp.").unwrap();
        let service = Service {
            priority: 1,
            weight: 2,
            port: 5222,
            target: host(target),
        };
        Looked::found(vec![service], Duration::from_secs(20))
    }
}

fn stub(answer: impl Fn() -> Looked<IpAddr> + Send + Sync + 'static) -> Arc<Resolver<Stub>> {
    slow(Duration::ZERO, answer)
}

fn slow(
    delay: Duration,
    answer: impl Fn() -> Looked<IpAddr> + Send + Sync + 'static,
) -> Arc<Resolver<Stub>> {
    let source = Stub {
        answer: Box::new(answer),
        delay,
        count: AtomicUsize::new(0),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    };
    Arc::new(Resolver::with_source(HashMap::new(), source))
}

impl Resolver<Stub> {
    fn count(&self) -> usize {
        self.source.count.load(Ordering::SeqCst)
    }
}

fn found(ttl: u64) -> Looked<IpAddr> {
    Looked::found(
        vec![Ipv4Addr::new(192, 0, 2, 1).into()],
        Duration::from_secs(ttl),
    )
}

#[tokio::test]
async fn localhost_is_resolved_by_the_real_resolver() {
    let resolver = Resolver::new(HashMap::new(), Vec::new());
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
async fn overrides_come_first() {
    let resolver = stub(|| found(20));
    let a = host("a.example");
    let written = |ip: &str, port| Override {
        ip: ip.parse().unwrap(),
        port,
    };
    let two = vec![written("10.1.2.3", None), written("fd00::1", Some(8443))];
    resolver
        .overrides
        .store(Arc::new(HashMap::from([(a.clone(), two)])));
    assert!(resolver.overrides(&a) && !resolver.overrides(&host("b.example")));
    let found = resolver.resolve(&a, 443).await.unwrap();
    assert!(found.as_written);
    assert_eq!(found.lifetime, WRITTEN);
    let expected = ["10.1.2.3:443", "[fd00::1]:8443"].map(|text| text.parse().unwrap());
    assert_eq!(found.addresses, expected);
    assert_eq!(resolver.count(), 0);

    resolver.overrides.store(Arc::default());
    let found = resolver.resolve(&a, 443).await.unwrap();
    assert!(!found.as_written);
    assert_eq!(found.addresses, ["192.0.2.1:443".parse().unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn answers_are_kept_as_long_as_they_say_within_bounds() {
    for (ttl, kept) in [(0, 1), (1, 1), (20, 20), (60, 60), (86_400, 60)] {
        let resolver = stub(move || found(ttl));
        let a = host("a.example");
        let lifetime = resolver.resolve(&a, 443).await.unwrap().lifetime;
        assert_eq!(lifetime, Duration::from_secs(kept), "{ttl} s");
        advance(Duration::from_millis(kept * 1000 - 400)).await;
        // Another port is the same name.
        let lifetime = resolver.resolve(&a, 80).await.unwrap().lifetime;
        assert_eq!(lifetime, Duration::from_millis(400), "{ttl} s");
        assert_eq!(resolver.count(), 1, "{ttl} s");
        advance(Duration::from_millis(400)).await;
        resolver.resolve(&a, 443).await.unwrap();
        assert_eq!(resolver.count(), 2, "{ttl} s");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_kept_for_five_seconds_and_missing_names_as_long_as_is_said() {
    type Failure = fn() -> Looked<IpAddr>;
    let failures: [(Failure, u64); 4] = [
        (
            || Looked::failed(ResolveError::Failed("out of order".into())),
            5,
        ),
        (|| Looked::nothing(None), 5),
        (|| Looked::nothing(Some(Duration::from_secs(20))), 20),
        (|| Looked::nothing(Some(Duration::from_secs(3600))), 60),
    ];
    for (failure, kept) in failures {
        let expected = failure().parts().0.clone().map(|_| ());
        let resolver = stub(failure);
        let a = host("a.example");
        for (wait, lookups) in [(0, 1), (kept - 1, 1), (1, 2)] {
            advance(Duration::from_secs(wait)).await;
            assert_eq!(resolver.resolve(&a, 443).await.map(|_| ()), expected);
            assert_eq!(resolver.count(), lookups);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn services_are_kept_as_long_as_they_say() {
    let resolver = stub(|| found(20));
    for (wait, lookups) in [(0, 1), (19, 1), (1, 2)] {
        advance(Duration::from_secs(wait)).await;
        let found = resolver.services("_xmpp._tcp.a.example").await.unwrap();
        assert_eq!(found.records[0].target, host("a.example"));
        assert_eq!(resolver.count(), lookups);
    }
}

#[tokio::test(start_paused = true)]
async fn name_is_looked_up_once_however_many_ask() {
    let resolver = slow(Duration::from_millis(50), || found(20));
    let mut tasks = JoinSet::new();
    for _ in 0..100 {
        let resolver = resolver.clone();
        tasks.spawn(async move { resolver.resolve(&host("a.example"), 443).await });
    }
    while let Some(found) = tasks.join_next().await {
        found.unwrap().unwrap();
    }
    assert_eq!(resolver.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn lookups_at_a_time_are_bounded() {
    let resolver = slow(Duration::from_millis(5), || found(20));
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
    assert_eq!(resolver.count(), 200);
    assert_eq!(resolver.source.most.load(Ordering::SeqCst), LOOKUPS);
}

#[tokio::test(start_paused = true)]
async fn lookup_that_takes_too_long_is_given_up() {
    let resolver = slow(DEADLINE * 2, || found(20));
    let failed = resolver.resolve(&host("a.example"), 443).await;
    assert_eq!(failed, Err(ResolveError::Timeout));
    // It is remembered, so that the next asker does not wait as long.
    let failed = timeout_at(Instant::now(), resolver.resolve(&host("a.example"), 443)).await;
    assert_eq!(failed.unwrap(), Err(ResolveError::Timeout));
}

#[tokio::test(start_paused = true)]
async fn lookup_whose_asker_is_gone_does_not_block_the_name() {
    let resolver = slow(Duration::from_secs(1), || found(20));
    let begun = Arc::new(Notify::new());
    let first = {
        let (resolver, begun) = (resolver.clone(), begun.clone());
        tokio::spawn(async move {
            begun.notify_one();
            resolver.resolve(&host("a.example"), 443).await
        })
    };
    begun.notified().await;
    first.abort();
    drop(first.await);
    resolver.resolve(&host("a.example"), 443).await.unwrap();
    assert_eq!(resolver.count(), 2);
}

#[tokio::test]
async fn names_are_bounded() {
    let resolver = stub(|| found(20));
    for number in 0..CAPACITY + 500 {
        let name = host(&format!("h{number}.example"));
        resolver.resolve(&name, 443).await.unwrap();
    }
    let kept = resolver.addresses.len();
    assert!(kept <= CAPACITY, "{kept}");
}

#[tokio::test]
async fn addresses_of_a_name_are_bounded() {
    let resolver = stub(|| {
        let addresses = (0..1000).map(|number| Ipv4Addr::from_bits(0x0a00_0000 + number).into());
        Looked::found(addresses.collect(), Duration::from_secs(20))
    });
    let found = resolver.resolve(&host("a.example"), 443).await.unwrap();
    assert_eq!(found.addresses.len(), RECORDS);
}
