//! The resolvers of glibc, musl and Node against our answers, over UDP and TCP, in namespaces of their own.
//!
//! The test runs itself once more inside them, because a thread cannot leave again.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::dns::tcp;

const TEST: &str = "dns::tests::real_clients::real_clients_resolve_what_the_zone_knows";
const INSIDE: &str = "INTERCEPTOR_TEST_INSIDE";

#[test]
fn real_clients_resolve_what_the_zone_knows() {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "--"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Output {
    Command::new(program.as_ref())
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn inside() {
    let routes = fs::read_to_string("/proc/net/route").unwrap();
    assert!(
        routes.lines().count() <= 1,
        "not in a namespace without routes:\n{routes}"
    );
    assert!(run("ip", &["link", "set", "lo", "up"]).status.success());
    let directory = TempDir::new().unwrap();
    let resolv = directory.path().join("resolv.conf");
    // A search list and ndots, as Kubernetes writes them.
    fs::write(
        &resolv,
        "nameserver 127.0.0.1\nsearch ns.svc.cluster.local cluster.local\noptions ndots:5\n",
    )
    .unwrap();
    let nsswitch = directory.path().join("nsswitch.conf");
    fs::write(&nsswitch, "hosts: files dns\n").unwrap();
    for (from, to) in [
        (&resolv, "/etc/resolv.conf"),
        (&nsswitch, "/etc/nsswitch.conf"),
    ] {
        let mount = run("mount", &["--bind", from.to_str().unwrap(), to]);
        assert!(mount.status.success(), "{mount:?}");
    }

    let many: Vec<String> = (1..=100).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let zone = Arc::new(
        Known::default()
            .with("gateway.discord.gg", &["127.0.0.1"])
            .with("both.example", &["192.0.2.1", "2001:db8::1"])
            .with("four.example", &["192.0.2.4"])
            .with("six.example", &["2001:db8::6"])
            .with("many.example", &many),
    );
    serve_both(zone).await;

    tokio::task::spawn_blocking(move || {
        glibc();
        node();
        musl(directory.path());
    })
    .await
    .unwrap();
}

async fn serve_both(zone: Arc<Known>) {
    let udp = UdpSocket::bind("127.0.0.1:53").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:53").await.unwrap();
    let known = zone.clone();
    tokio::spawn(async move {
        let mut query = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut query).await {
            if let Some(bytes) = answer(&query[..length], Transport::Udp, &*known).await {
                udp.send_to(&bytes, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            let zone = zone.clone();
            tokio::spawn(async move { tcp::serve(stream, &*zone).await });
        }
    });
}

fn glibc() {
    // Without a family: with one, getent asks for AI_ADDRCONFIG, and glibc takes no account of loopback for that.
    for (name, expected) in [
        ("gateway.discord.gg", "198.1"),
        ("both.example", ""),
        ("six.example", "2001:db8::6"),
        ("four.example", "192.0.2.4"),
        ("FOUR.example.", "192.0.2.4"),
    ] {
        let found = stdout(&run("getent", &["ahosts", name]));
        assert!(found.starts_with(expected), "{name}: {found:?}");
        assert!(!found.is_empty(), "{name}");
    }
    let all = stdout(&run("getent", &["ahosts", "many.example"]));
    assert_eq!(all.matches("STREAM").count(), 100, "over TCP: {all}");
    for name in ["evil.example", "sub.four.example", "short"] {
        let output = run("getent", &["ahosts", name]);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
    }
}

fn node() {
    let script = r#"
        const dns = require('dns').promises;
        const ask = (what) => what.catch((error) => error.code);
        (async () => {
            console.log(JSON.stringify([
                await ask(dns.lookup('four.example').then((found) => found.address)),
                await ask(dns.lookup('six.example').then((found) => found.address)),
                await ask(dns.lookup('evil.example')),
                await ask(dns.resolve4('four.example')),
                await ask(dns.resolve4('six.example')),
                await ask(dns.resolve6('six.example')),
                await ask(dns.resolve4('evil.example')),
                await ask(dns.resolveTxt('four.example')),
                await ask(dns.resolve4('many.example').then((found) => found.length)),
            ]));
        })();
    "#;
    let output = run("node", &["-e", script]);
    assert_eq!(
        stdout(&output).trim(),
        concat!(
            r#"["192.0.2.4","2001:db8::6","ENOTFOUND",["192.0.2.4"],"ENODATA",["2001:db8::6"],"#,
            r#""ENOTFOUND","ENODATA",100]"#
        ),
        "{output:?}"
    );
}

fn musl(directory: &Path) {
    let source = directory.join("resolve.c");
    let program = directory.join("resolve");
    fs::write(
        &source,
        r#"
        #include <arpa/inet.h>
        #include <netdb.h>
        #include <stdio.h>
        int main(int argc, char **argv) {
            struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
            int error = getaddrinfo(argv[1], "443", &hints, &found);
            if (error) { puts(gai_strerror(error)); return 1; }
            for (; found; found = found->ai_next) {
                char text[INET6_ADDRSTRLEN];
                void *address = found->ai_family == AF_INET
                    ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
                    : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
                puts(inet_ntop(found->ai_family, address, text, sizeof text));
            }
        }
        "#,
    )
    .unwrap();
    let paths = [&source, &program].map(|path| path.to_str().unwrap());
    let compiled = run("musl-gcc", &["-static", "-o", paths[1], paths[0]]);
    assert!(compiled.status.success(), "{compiled:?}");
    for (name, expected) in [
        ("four.example", "192.0.2.4\n"),
        ("six.example", "2001:db8::6\n"),
        ("localhost", "127.0.0.1\n"),
        ("evil.example", "Name does not resolve\n"),
        ("short", "Name does not resolve\n"),
    ] {
        let found = stdout(&run(&program, &[name]));
        assert!(found.contains(expected), "{name}: {found:?}");
    }
    let both = stdout(&run(&program, &["both.example"]));
    let mut both: Vec<_> = both.lines().collect();
    both.sort_unstable();
    assert_eq!(both, ["192.0.2.1", "2001:db8::1"]);
}
