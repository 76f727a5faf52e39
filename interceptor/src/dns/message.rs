//! Queries and answers as bytes (RFC 1035 §4.1, RFC 6891).

use std::{net::IpAddr, time::Duration};

use hickory_proto::{
    op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType},
};

use crate::{address::Host, dns::Transport};

/// Over UDP, without EDNS (RFC 1035 §4.2.1).
const PLAIN_LIMIT: u16 = 512;

/// Over UDP, with EDNS, whatever the client offers: what fits every path without fragments (RFC 9715 §3.1).
const EDNS_LIMIT: u16 = 1232;

/// What is to be done about a message.
#[derive(Debug)]
pub(super) enum Reading {
    Ignore,
    /// The message is at fault, and this tells its sender.
    Answer(Vec<u8>),
    Ask(Question),
}

/// The one question of a query.
#[derive(Debug)]
pub(super) struct Question {
    metadata: Metadata,
    query: Query,
    edns: Option<Edns>,
    limit: usize,
}

/// What is known about the name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It exists, and has these records of the type asked for, for so long; perhaps none.
    Records(Vec<RData>, Duration),
    NoSuchName,
    /// Asked too often.
    Refused,
    Failure,
}

impl Outcome {
    /// The name exists, and has nothing of the type.
    pub(super) fn nothing() -> Self {
        Self::Records(Vec::new(), Duration::ZERO)
    }
}

pub(super) fn read(bytes: &[u8], transport: Transport) -> Reading {
    let Some(header) = Header::read(bytes) else {
        return Reading::Ignore;
    };
    if header.is_response() {
        return Reading::Ignore;
    }
    let Ok(message) = Message::from_vec(bytes) else {
        return Reading::Answer(header.fault(ResponseCode::FormErr));
    };
    if message.metadata.message_type != MessageType::Query {
        return Reading::Ignore;
    }
    if message.metadata.op_code != OpCode::Query {
        return Reading::Answer(header.fault(ResponseCode::NotImp));
    }
    let Ok([query]) = <[Query; 1]>::try_from(message.queries) else {
        return Reading::Answer(header.fault(ResponseCode::FormErr));
    };
    let question = Question {
        metadata: Metadata::response_from_request(&message.metadata),
        limit: match (transport, &message.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => PLAIN_LIMIT,
            (Transport::Udp, Some(edns)) => edns.max_payload().clamp(PLAIN_LIMIT, EDNS_LIMIT),
        }
        .into(),
        edns: message.edns.as_ref().map(reply_to),
        query,
    };
    if message.edns.is_some_and(|edns| edns.version() > 0) {
        return Reading::Answer(question.refuse(ResponseCode::BADVERS));
    }
    if question.query.query_class() != DNSClass::IN {
        return Reading::Answer(question.refuse(ResponseCode::Refused));
    }
    Reading::Ask(question)
}

impl Question {
    /// The name that is asked for, if a host can have it.
    pub(super) fn host(&self) -> Option<Host> {
        host(self.query.name().iter())
    }

    /// The host whose service is asked for, by a name like `_service._tcp.host`. Nothing else may stand before it: a
    /// label there is free text that goes to the host's name server.
    pub(super) fn service(&self) -> Option<Host> {
        let mut labels = self.query.name().iter();
        let service = labels.next()?.strip_prefix(b"_")?;
        // RFC 6335 §5.1.
        let named = (1..=15).contains(&service.len())
            && service
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        let transport = labels.next()?.to_ascii_lowercase();
        if !named || !matches!(&*transport, b"_tcp" | b"_udp" | b"_tls") {
            return None;
        }
        host(labels)
    }

    /// The address whose name is asked for, by a name like `1.2.0.192.in-addr.arpa`.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let network = self.query.name().parse_arpa_name().ok()?;
        let whole = network.prefix_len() == network.max_prefix_len();
        whole.then(|| network.addr())
    }

    /// The name as it was asked for, for people: in ASCII, with escapes.
    pub(super) fn text(&self) -> String {
        let mut text = self.query.name().to_ascii();
        if text.len() > 1 {
            text.truncate(text.trim_end_matches('.').len());
        }
        text
    }

    /// How long each label of the name is, in bytes.
    pub(super) fn labels(&self) -> impl Iterator<Item = usize> {
        self.query.name().iter().map(<[u8]>::len)
    }

    pub(super) fn kind(&self) -> RecordType {
        self.query.query_type()
    }

    /// The answer as bytes. Records that do not fit are left out, and the client is told to come back over TCP.
    pub(super) fn answer(&self, outcome: &Outcome) -> Vec<u8> {
        let mut message = self.respond(match outcome {
            Outcome::Records(..) => ResponseCode::NoError,
            Outcome::NoSuchName => ResponseCode::NXDomain,
            Outcome::Refused => ResponseCode::Refused,
            Outcome::Failure => ResponseCode::ServFail,
        });
        if let Outcome::Records(records, lifetime) = outcome {
            let (name, ttl) = (self.query.name(), seconds(*lifetime));
            message.answers = records
                .iter()
                .map(|data| Record::from_rdata(name.clone(), ttl, data.clone()))
                .collect();
        }
        loop {
            let bytes = self.encode(&message);
            if bytes.len() <= self.limit || message.answers.pop().is_none() {
                return bytes;
            }
            message.metadata.truncation = true;
        }
    }

    fn refuse(&self, code: ResponseCode) -> Vec<u8> {
        self.encode(&self.respond(code))
    }

    fn respond(&self, code: ResponseCode) -> Message {
        let mut message = Message::response(self.metadata.id, OpCode::Query);
        message.metadata = self.metadata;
        message.metadata.recursion_available = true;
        message.metadata.response_code = code;
        message.queries = vec![self.query.clone()];
        message.edns.clone_from(&self.edns);
        message
    }

    fn encode(&self, message: &Message) -> Vec<u8> {
        message.to_vec().unwrap_or_else(|error| {
            tracing::error!(%error, "a DNS answer could not be encoded");
            Header::of(&self.metadata).fault(ResponseCode::ServFail)
        })
    }
}

/// The fixed part that is read even if the rest cannot be.
#[derive(Clone, Copy)]
struct Header {
    id: [u8; 2],
    flags: u8,
}

impl Header {
    const RESPONSE: u8 = 0x80;
    const OPCODE_AND_RECURSION_DESIRED: u8 = 0x79;

    fn read(bytes: &[u8]) -> Option<Self> {
        let (&[high, low, flags], _) = bytes.split_first_chunk()?;
        Some(Self {
            id: [high, low],
            flags,
        })
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            id: metadata.id.to_be_bytes(),
            flags: u8::from(metadata.recursion_desired),
        }
    }

    fn is_response(self) -> bool {
        self.flags & Self::RESPONSE != 0
    }

    /// An answer that is nothing but a header.
    fn fault(self, code: ResponseCode) -> Vec<u8> {
        let [high, low] = self.id;
        let flags = Self::RESPONSE | self.flags & Self::OPCODE_AND_RECURSION_DESIRED;
        vec![high, low, flags, code.low(), 0, 0, 0, 0, 0, 0, 0, 0]
    }
}

/// RFC 6891 §6.1.1: who asks with OPT is answered with OPT; RFC 3225 §3: the DO bit is copied.
fn reply_to(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(EDNS_LIMIT);
    edns.set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

fn host<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<Host> {
    let mut text = String::new();
    for label in labels {
        // A dot inside a label would make two labels of it.
        if label.contains(&b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(str::from_utf8(label).ok()?);
    }
    text.parse().ok()
}

/// To the nearest one.
fn seconds(lifetime: Duration) -> u32 {
    let rounded = lifetime + Duration::from_millis(500);
    u32::try_from(rounded.as_secs()).unwrap_or(u32::MAX)
}
