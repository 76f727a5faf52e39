//! HTTP over plain TCP: carried by policy, never with a secret.

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::{
    Call,
    carriage::{Carriage, Relay, Streams},
};
use crate::{
    error::chain,
    flow::denial::Denial,
    http::{self, FirstError, Refusal},
    policy::Verdict,
};

impl Call {
    pub(super) async fn plain(&self, mut client: TcpStream) -> Option<Carriage> {
        self.stats().note(|facts| facts.protocol = Some("http"));
        let first = match http::first_head(&mut client, self.origin.original.port()).await {
            Ok(first) => first,
            Err(FirstError::Refused { refusal, buffered }) => {
                let port = self.origin.original.port();
                if self.names_port(port) {
                    self.deny(refusal.code(), &chain(&refusal));
                } else {
                    self.refuse(&Denial::Port(port));
                }
                self.answer(client, buffered, &refusal).await;
                return None;
            }
            Err(error @ (FirstError::Closed | FirstError::Io(_))) => {
                self.end(&chain(&error));
                return None;
            }
        };
        let (authority, buffered) = (first.authority, first.buffered);
        self.stats()
            .note(|facts| facts.sni = Some(authority.host.clone()));
        let endpoint = match self.decide(&authority.host) {
            Verdict::Deny(reason) => {
                return self
                    .refuse_request(client, buffered, Denial::Policy(reason))
                    .await;
            }
            Verdict::Tunnel(endpoint) | Verdict::Tcp(endpoint) | Verdict::Intercept(endpoint) => {
                endpoint
            }
        };
        self.decided("intercept", &endpoint);
        match self.dial(&authority.host, &endpoint).await {
            Ok(upstream) => Some(Carriage::Http(Box::new(Relay {
                streams: Streams::Plain { client, upstream },
                authority,
                early: buffered,
            }))),
            Err(error) => {
                self.refuse_request(client, buffered, Denial::Dial(error))
                    .await
            }
        }
    }

    async fn refuse_request(
        &self,
        client: TcpStream,
        buffered: BytesMut,
        denial: Denial,
    ) -> Option<Carriage> {
        self.refuse(&denial);
        self.answer(client, buffered, &denial.into()).await;
        None
    }

    async fn answer(&self, client: TcpStream, buffered: BytesMut, refusal: &Refusal) {
        if let Err(error) = http::deny(client, buffered, refusal).await {
            tracing::debug!(%error, "the client could not be told why it was refused");
        }
    }
}
