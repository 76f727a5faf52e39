//! What is wrong is told at its place, all of it at once.

use super::*;

#[test]
fn every_kind_of_fault_is_told_at_its_place() {
    let folder = Folder::new();
    let secret = |lines: &str| format!("secrets:\n  A:\n    from: {{ file: token }}\n{lines}\n");
    let binding = |line: &str| {
        secret(&format!(
            "    bindings:\n      - hosts: [a.example]\n        {line}"
        ))
    };
    for (text, expected) in [
        (
            String::new(),
            &["interceptor.yaml:1:1: the file is empty"][..],
        ),
        (
            String::from("[]"),
            &["interceptor.yaml:1:1: expected a mapping, found a list"],
        ),
        (
            String::from("secret: {}\nsandbox: []\n"),
            &[
                "interceptor.yaml:1:1: unknown key `secret`; did you mean `secrets`?",
                "interceptor.yaml:2:1: unknown key `sandbox`; did you mean `sandboxes`?",
            ],
        ),
        // Secrets
        (
            String::from("secrets: { v1_A: { from: { file: token }, profile: discord } }"),
            &[
                "interceptor.yaml:1:12: a secret's name may not look like a revision (v<digits>_…) or a stable handle (s<64 hex>_…)",
            ],
        ),
        (
            String::from("secrets: { A-B: { from: { file: token }, profile: discord } }"),
            &["interceptor.yaml:1:12: a secret's name is 1 to 128 of A-Z, a-z, 0-9 and underscore"],
        ),
        (
            format!("secrets:\n  A: {TOKEN}\n"),
            &["interceptor.yaml:2:6: expected a mapping, found text"],
        ),
        (
            format!("secrets:\n  A:\n    from: {TOKEN}\n    profile: {TOKEN}\n"),
            &[
                "interceptor.yaml:3:11: expected a mapping, found text",
                "interceptor.yaml:4:14: expected one of anthropic, discord, generic, github, openai, slack, telegram",
            ],
        ),
        (
            format!(
                "secrets:\n  A:\n    from: {{ {TOKEN} }}\n    profile: discrod\n    {TOKEN}: 1\n"
            ),
            &[
                "interceptor.yaml:3:11: the source is missing: add `file` or `env`",
                "interceptor.yaml:3:13: unknown key; known here: file, env",
                "interceptor.yaml:4:14: expected one of anthropic, discord, generic, github, openai, slack, telegram; did you mean `discord`?",
                "interceptor.yaml:5:5: unknown key; known here: from, profile, hosts, bindings",
            ],
        ),
        (
            format!("secrets:\n  A:\n    from: {{ file: {TOKEN} }}\n    profile: discord\n"),
            &[
                "interceptor.yaml:3:11: the secret's file: cannot be read: No such file or directory (os error 2)",
            ],
        ),
        (
            format!("secrets:\n  A:\n    from: {{ env: {TOKEN} }}\n    profile: discord\n"),
            &["interceptor.yaml:3:18: not the name of an environment variable"],
        ),
        (
            String::from(
                "secrets:\n  A:\n    from: { env: INTERCEPTOR_TEST_UNSET }\n    profile: discord\n",
            ),
            &["interceptor.yaml:3:11: the variable is not set in the daemon's environment"],
        ),
        (
            String::from(
                "secrets:\n  A:\n    from: { env: PATH, file: token }\n    profile: discord\n",
            ),
            &["interceptor.yaml:3:18: `file` and `env` exclude each other"],
        ),
        (
            String::from("secrets:\n  A: { from: { file: /dev/null }, profile: discord }\n"),
            &["interceptor.yaml:2:14: the secret's file: is not a regular file"],
        ),
        (
            String::from("secrets:\n  A: { from: { file: policy.yaml }, profile: discord }\n"),
            &[
                "interceptor.yaml:2:14: the secret cannot be used: the secret has a CR, LF or NUL inside, which no header, path or message can carry",
            ],
        ),
        (
            secret(""),
            &[
                "interceptor.yaml:3:5: the secret is bound to nothing and could never be used: add `profile` or `bindings`",
            ],
        ),
        (
            secret("    bindings: []"),
            &["interceptor.yaml:4:15: the list is empty"],
        ),
        (
            secret("    hosts: [a.example]\n    profile: slack"),
            &[
                "interceptor.yaml:4:5: this profile has hosts of its own: leave `hosts` out, or add `bindings` for others",
            ],
        ),
        (
            secret("    profile: generic"),
            &[
                "interceptor.yaml:4:14: this profile is for hosts that you name: add `hosts` beside it",
            ],
        ),
        (
            secret("    profile: generic\n    hosts: ['*', 1.2.3.4]"),
            &[
                "interceptor.yaml:5:13: a wildcard alone would match every host: write the domain that it stands in",
                "interceptor.yaml:5:18: not a host name: an IP address stands where a name is needed",
            ],
        ),
        (
            secret("    profile: generic\n    hosts: []"),
            &["interceptor.yaml:5:12: the list is empty"],
        ),
        (
            secret("    hosts: [a.example]\n    bindings: [ { hosts: [b.example], header: x } ]"),
            &[
                "interceptor.yaml:4:5: `hosts` belongs to a profile: add `profile: generic`, or write `bindings` with hosts of their own",
            ],
        ),
        // Bindings
        (
            binding(""),
            &[
                "interceptor.yaml:5:9: the binding names no place: add `header`, `path`, `query`, `cookie`, `body.json`, `body.form`, `body.multipart`, `body.text` or `websocket.json`",
            ],
        ),
        (
            binding("header: x\n        websocket.json: { path: /a }"),
            &[
                "interceptor.yaml:7:25: one binding names one place: write a second binding for this one",
            ],
        ),
        (
            binding("header: 'a b'"),
            &["interceptor.yaml:6:17: not the name of a header"],
        ),
        (
            binding("header: Host"),
            &["interceptor.yaml:6:17: a secret cannot stand in a header that frames the message"],
        ),
        (
            binding("path: bot{secret}"),
            &[
                "interceptor.yaml:6:15: expected a path with one `{secret}` in it, such as /bot{secret}/",
            ],
        ),
        (
            binding("path: /{secret}/{secret}"),
            &[
                "interceptor.yaml:6:15: expected a path with one `{secret}` in it, such as /bot{secret}/",
            ],
        ),
        (
            binding("path: /a?b={secret}"),
            &[
                "interceptor.yaml:6:15: expected a path with one `{secret}` in it, such as /bot{secret}/",
            ],
        ),
        (
            binding("query: ''"),
            &["interceptor.yaml:6:16: the name of a parameter has 1 to 128 bytes"],
        ),
        (
            binding("cookie: a=b"),
            &["interceptor.yaml:6:17: not the name of a cookie"],
        ),
        (
            binding("body.json: token"),
            &["interceptor.yaml:6:20: a JSON pointer begins with `/`, such as /d/token"],
        ),
        (
            binding("body.json: { type: auth }"),
            &["interceptor.yaml:6:20: the key `path` is missing"],
        ),
        (
            binding("body.form: ''"),
            &["interceptor.yaml:6:20: the name of a parameter has 1 to 128 bytes"],
        ),
        (
            binding("body.multipart: a%22b"),
            &[
                "interceptor.yaml:6:25: the name of a multipart field has 1 to 128 visible ASCII characters other than `\"`, `\\` and `%`",
            ],
        ),
        (
            binding("body.text: text/plain;charset=utf-8"),
            &[
                "interceptor.yaml:6:20: expected a media type without parameters, such as text/plain",
            ],
        ),
        (
            binding("body.text: application/problem+json"),
            &["interceptor.yaml:6:20: a body of this type has fields: name one with `body.json`"],
        ),
        (
            binding("body.text: application/grpc-web+json"),
            &[
                "interceptor.yaml:6:20: a body of this type is never read: bind the secret to a header, such as authorization",
            ],
        ),
        (
            binding("body.text: multipart/form-data"),
            &[
                "interceptor.yaml:6:20: a body of this type has fields: name one with `body.multipart`",
            ],
        ),
        (
            binding("body.json: /a\n        websocket.limit: 5"),
            &[
                "interceptor.yaml:7:26: a limit of messages belongs to a binding with `websocket.json`",
            ],
        ),
        (
            binding("websocket.json: { op: [2, false], to: 1, path: d }"),
            &[
                "interceptor.yaml:6:35: expected a whole number, found true or false",
                "interceptor.yaml:6:43: one guard is allowed: one key beside `path`",
                "interceptor.yaml:6:56: a JSON pointer begins with `/`, such as /d/token",
            ],
        ),
        (
            binding("websocket.json: { path: /d//token }"),
            &[
                "interceptor.yaml:6:33: a member's name in a JSON pointer is empty, longer than 128 bytes, or has a `~` that is neither ~0 nor ~1",
            ],
        ),
        (
            binding("websocket.json: { path: /a }\n        websocket.limit: 0"),
            &["interceptor.yaml:7:26: expected a whole number from 1 to 4294967295"],
        ),
        (
            binding("header: x\n        websocket.limit: 5"),
            &[
                "interceptor.yaml:7:26: a limit of messages belongs to a binding with `websocket.json`",
            ],
        ),
        (
            binding("websocket.json: { op: [] }"),
            &[
                "interceptor.yaml:6:25: the key `path` is missing",
                "interceptor.yaml:6:31: the list is empty",
            ],
        ),
        (
            secret(
                "    bindings:\n      - { header: x, hosts: ['*', 'a.*.b', '*.gg', 1.2.3.4, 'a b'] }\n      - { header: y }",
            ),
            &[
                "interceptor.yaml:5:30: a wildcard alone would match every host: write the domain that it stands in",
                "interceptor.yaml:5:35: a wildcard may stand in the first label only, as `*`, `**` or once inside the label",
                "interceptor.yaml:5:44: a wildcard directly under a top-level domain matches hosts of everybody",
                "interceptor.yaml:5:52: not a host name: an IP address stands where a name is needed",
                "interceptor.yaml:5:61: not a host name: a byte is none of a-z, 0-9, hyphen and underscore (write international names in their xn-- form)",
                "interceptor.yaml:6:9: the key `hosts` is missing",
            ],
        ),
        // Sandboxes
        (
            String::from(
                "sandboxes:\n  - { name: a b }\n  - { name: '' }\n  - { name: .. }\n  - { policies: [] }\n",
            ),
            &[
                "interceptor.yaml:2:13: a sandbox's name is 1 to 63 of A-Z, a-z, 0-9, dot, underscore and hyphen, and begins with no dot",
                "interceptor.yaml:3:13: a sandbox's name is 1 to 63 of A-Z, a-z, 0-9, dot, underscore and hyphen, and begins with no dot",
                "interceptor.yaml:4:13: a sandbox's name is 1 to 63 of A-Z, a-z, 0-9, dot, underscore and hyphen, and begins with no dot",
                "interceptor.yaml:5:5: the key `name` is missing",
            ],
        ),
        (
            String::from(
                "sandboxes:\n  - { name: a, match: { cgroup: /a } }\n  - { name: a }\n  - { name: b, match: { cgroup: /a } }\n  - { name: c, match: { cgroup: a, pod: b } }\n",
            ),
            &[
                "interceptor.yaml:3:5: a sandbox of the same name stands here already",
                "interceptor.yaml:4:23: sandbox a matches the same cgroup",
                "interceptor.yaml:5:33: expected an absolute path to a cgroup2 directory",
                "interceptor.yaml:5:36: unknown key `pod`; known here: cgroup",
            ],
        ),
        (
            String::from(
                "secrets: { TOKEN: { from: { file: token }, profile: discord } }\nsandboxes: [ { name: a, secrets: [TOKEN, TOKNE, TOKEN, 'a-b'] } ]\n",
            ),
            &[
                "interceptor.yaml:2:42: no such secret under `secrets`; did you mean `TOKEN`?",
                "interceptor.yaml:2:49: the same secret stands here already",
                "interceptor.yaml:2:56: a secret's name is 1 to 128 of A-Z, a-z, 0-9 and underscore",
            ],
        ),
        (
            // A secret at fault is still a known one.
            String::from(
                "secrets: { TOKEN: { from: { file: none }, profile: discord } }\nsandboxes: [ { name: a, secrets: [TOKEN] } ]\n",
            ),
            &[
                "interceptor.yaml:1:27: the secret's file: cannot be read: No such file or directory (os error 2)",
            ],
        ),
        (
            String::from(
                "sandboxes:\n  - name: a\n    udp:\n      - { address: 10.0.0.1, port: 53 }\n      - { address: 0.0.0.0, port: 1 }\n      - { address: 224.0.0.251, port: 5353 }\n      - { address: 255.255.255.255, port: 67 }\n      - { address: 10.0.0.0/8, port: 1 }\n      - { address: \"fe80::1\", port: 0 }\n      - { address: \"::ffff:0.0.0.0\", port: 1 }\n      - { address: 10.0.0.1, port: 123 }\n      - { address: \"::ffff:10.0.0.1\", port: 123 }\n",
            ),
            &[
                "interceptor.yaml:4:36: port 53 cannot be exempt: DNS is always answered by policy",
                "interceptor.yaml:5:20: the unspecified address stands for any host: name one",
                "interceptor.yaml:6:20: a multicast group cannot be exempt",
                "interceptor.yaml:7:20: the broadcast address cannot be exempt",
                "interceptor.yaml:8:20: expected an IP address, such as 10.0.0.1: names and networks cannot be exempt",
                "interceptor.yaml:9:20: a link-local address means another host on each device, and the kernel's programs do not see which",
                "interceptor.yaml:9:37: expected a whole number from 1 to 65535",
                "interceptor.yaml:10:20: the unspecified address stands for any host: name one",
                "interceptor.yaml:12:9: the same stands here already",
            ],
        ),
        (
            String::from(
                "sandboxes:\n  - name: a\n    exempt:\n      destinations: [ { address: 10.0.0.2 } ]\n      processes:\n        - { netns: host }\n        - { uid: 0 }\n        - { netns: proxy, uid: 4294967295 }\n",
            ),
            &[
                "interceptor.yaml:4:23: the key `port` is missing",
                "interceptor.yaml:6:11: the key `uid` is missing",
                "interceptor.yaml:7:11: the key `netns` is missing",
                "interceptor.yaml:8:20: expected `host` or an absolute path to a network namespace, such as /run/netns/proxy",
                "interceptor.yaml:8:32: expected a whole number from 0 to 4294967294",
            ],
        ),
        (
            String::from("sandboxes: [ { name: a, policies: [policy.yaml, none.yaml, 1] } ]\n"),
            &[
                "interceptor.yaml:1:49: none.yaml cannot be read: No such file or directory (os error 2)",
                "interceptor.yaml:1:60: expected text, found a number: put it in quotes",
            ],
        ),
        (
            String::from(
                "sandboxes: [ { name: a, policies: [policy.yaml], intercept: [discord.com, '*.discord.gg', '*'] } ]\n",
            ),
            &[
                "interceptor.yaml:1:62: no policy of the sandbox has an endpoint with this very host and `tls: skip`",
                "interceptor.yaml:1:75: no policy of the sandbox has an endpoint with this very host and `tls: skip`",
                "interceptor.yaml:1:91: a wildcard alone would match every host: write the domain that it stands in",
            ],
        ),
        (
            String::from("sandboxes:\n  - name:\n    policies:\n  - name: # none\n"),
            &[
                "interceptor.yaml:2:9: expected text, found nothing",
                "interceptor.yaml:3:13: expected a list, found nothing",
                "interceptor.yaml:4:9: expected text, found nothing",
            ],
        ),
        // The rest
        (
            String::from(
                "resolve:\n  1.2.3.4: 1.2.3.4\n  a.example: b.example\n  b.example: []\n  c.example: [0.0.0.0, '1.2.3.4:0', 224.0.0.1]\n  d.example: 1.2.3.4\n  D.EXAMPLE: 1.2.3.4\n",
            ),
            &[
                "interceptor.yaml:2:3: an IP address stands where a name is needed",
                "interceptor.yaml:3:14: expected an IP address, with a port or without: 10.1.2.3, 10.1.2.3:8443, \"[fd00::1]:8443\"",
                "interceptor.yaml:4:14: the list is empty",
                "interceptor.yaml:5:15: nothing can be dialled at this address",
                "interceptor.yaml:5:24: nothing can be dialled at this address",
                "interceptor.yaml:5:37: nothing can be dialled at this address",
                "interceptor.yaml:7:3: the same host stands here already",
            ],
        ),
        (
            String::from(
                "dns: { servers: [a.example, 127.0.0.1, '127.0.0.1:0', 10.0.0.1, 10.0.0.2] }\n",
            ),
            &[
                "interceptor.yaml:1:17: more than 3 name servers: the others would never be asked",
                "interceptor.yaml:1:18: expected an IP address, with a port or without: 10.1.2.3, 10.1.2.3:8443, \"[fd00::1]:8443\"",
                "interceptor.yaml:1:40: nothing can be dialled at this address",
            ],
        ),
        (
            String::from("dns: { server: 127.0.0.1 }\n"),
            &[
                "interceptor.yaml:1:6: the key `servers` is missing",
                "interceptor.yaml:1:8: unknown key `server`; did you mean `servers`?",
            ],
        ),
        (
            String::from("ca: { certificate: token }\nupstream: { roots: [none.pem, ca.key] }\n"),
            &[
                "interceptor.yaml:1:5: the key `key` is missing",
                "interceptor.yaml:1:20: token holds no certificates in PEM form",
                "interceptor.yaml:2:21: none.pem cannot be read: No such file or directory (os error 2)",
                "interceptor.yaml:2:31: ca.key holds no certificates in PEM form",
            ],
        ),
    ] {
        assert_eq!(folder.faults(&text), expected, "{text}");
    }
}

#[test]
fn faults_of_all_files_come_out_together() {
    let folder = Folder::new();
    folder.write(
        "policy.yaml",
        "version: 1\nnetwork_policies: { r: { endpoints: [ { host: '*' } ] } }\n",
        0o644,
    );
    folder.write("broken.yaml", "a: [\n", 0o644);
    let text = "\
sandboxes:
  - { name: a, policies: [policy.yaml, broken.yaml] }
  - { name: b, policies: [policy.yaml], secrets: [X] }
colour: red
";
    assert_eq!(
        folder.faults(text),
        [
            "broken.yaml:2:1: not YAML: while parsing a node, did not find expected node content",
            "interceptor.yaml:3:51: no such secret under `secrets`",
            "interceptor.yaml:4:1: unknown key `colour`; known here: secrets, sandboxes, resolve, dns, ca, upstream, events, metrics",
            "policy.yaml:2:39: the key `port` (or `ports`) is missing",
            "policy.yaml:2:47: a wildcard alone would match every host: write the domain that it stands in",
        ]
    );
}

#[test]
fn absent_configuration_is_one_fault() {
    let folder = Folder::new();
    let Faults(faults) = load(&folder.path("none.yaml")).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].line, faults[0].column), (1, 1));
}
