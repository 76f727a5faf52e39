//! Puts secrets into the bound fields of one JSON text.
//!
//! A secret goes in only inside the string at its field's path, and only while the field's guard holds. Anywhere else a
//! placeholder is the harmless text that it is, and is counted. At a bound field a placeholder that cannot be resolved
//! is refused: the other side could only reject it.
//!
//! The guard may come after the field. What has been seen of the document before the first byte goes out (the hold, see
//! `websocket::rewriter`) is therefore looked through for guards first; if that was the whole document, every order of
//! its members is fine. Behind it, a placeholder at a field whose guard was not seen is refused, since nobody knows
//! which message this is. A guard that turns out violated, or a document that turns out malformed, after its secret
//! went out is refused before the message is complete.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{
    RELEASES_MAX, Unresolvable, encode, grammar,
    json::Cursor,
    matcher::{Matcher, Piece},
    release::{JsonTexts, NotBound, Release},
    trail::GuardState,
};
use crate::{
    policy::binding::JsonField,
    secrets::SecretName,
    stats::connection::{Connection, Remark},
};

/// What may be written where, for every document of a connection.
pub(crate) struct Rules {
    release: Arc<Release>,
    texts: JsonTexts,
    fields: Arc<[JsonField]>,
    /// Secrets that one document may take.
    most: usize,
}

/// Why a document may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a placeholder stands at a bound field of a message")]
    Unresolvable(#[source] Unresolvable),
    #[error(
        "a placeholder stands at a bound field before the member that guards it, in a message too long to hold: \
         send the guard first"
    )]
    GuardUnseen,
    #[error("a message contradicts itself about the member that guards a bound field")]
    GuardContradicted,
    #[error("a message that took a secret turned out to be malformed")]
    Malformed,
    #[error("a message asks for more than {RELEASES_MAX} secrets")]
    TooMany,
    #[error(
        "a placeholder stands in a message where its secret is not bound, which `unbound: refuse` does not let pass"
    )]
    Unbound,
}

/// What a placeholder is worth where it stands.
pub(super) enum Worth<'r> {
    /// It is text.
    Text,
    /// That depends on a guard that was not seen yet.
    Undecided,
    Secret {
        field: usize,
        name: &'r SecretName,
        secret: &'r [u8],
    },
}

/// The rewriting of one document, from its first byte to its last.
pub(crate) struct Document {
    rules: Arc<Rules>,
    stats: Arc<Connection>,
    matcher: Matcher,
    placement: Placement,
    /// Bytes that were pushed.
    taken: u64,
    /// Bytes that were appended.
    given: u64,
}

/// Where the document stands, and so what a placeholder is worth there.
struct Placement {
    cursor: Cursor,
    /// What looking ahead found out about each field's guard.
    foreseen: Vec<GuardState>,
    /// Nothing more will be found out, or `Unseen` means that the guard is not there.
    whole: bool,
    /// Fields that took a secret, once for each.
    released: Vec<usize>,
}

impl Refusal {
    /// For a client to read: no name of a secret, nothing of the message.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unresolvable(why) => why.code(),
            Self::GuardUnseen => "credential_guard_unseen",
            Self::GuardContradicted => "credential_guard_contradicted",
            Self::Malformed => "credential_message_malformed",
            Self::TooMany => "credential_count",
            Self::Unbound => "credential_unbound",
        }
    }
}

impl Rules {
    /// `None`: nothing in a WebSocket message has to be looked at.
    pub(crate) fn for_messages(release: Arc<Release>) -> Option<Arc<Self>> {
        release
            .reads_messages()
            .then(|| Self::new(release, JsonTexts::Messages, RELEASES_MAX))
    }

    /// For the body of one request, which may still take so many secrets.
    pub(crate) fn for_body(release: Arc<Release>, most: usize) -> Arc<Self> {
        Self::new(release, JsonTexts::Bodies, most)
    }

    fn new(release: Arc<Release>, texts: JsonTexts, most: usize) -> Arc<Self> {
        let mut fields: Vec<JsonField> = Vec::new();
        for field in release.json_fields(texts) {
            if !fields.contains(field) {
                fields.push(field.clone());
            }
        }
        Arc::new(Self {
            release,
            texts,
            fields: fields.into(),
            most,
        })
    }

    /// A message with secrets at `fields` took so many bytes, and so many without them.
    pub(super) fn watch_limit(
        &self,
        fields: impl Iterator<Item = usize>,
        without: u64,
        with: u64,
        stats: &Connection,
    ) {
        let limits = fields.filter_map(|field| self.fields.get(field)?.limit);
        let Some(limit) = limits.min() else {
            return;
        };
        if without <= limit && with > limit && stats.remark(Remark::OutgrewLimit) {
            // By how much would tell the secret's length.
            tracing::warn!(
                limit,
                "a message outgrew its server's limit when its secret went in: expect the server to close"
            );
        }
    }

    /// A placeholder goes on as text.
    ///
    /// # Errors
    /// The policy does not let it.
    pub(super) fn pass_unbound(&self, stats: &Connection) -> Result<(), Refusal> {
        let passed = self.release.pass_unbound(stats);
        passed.map_err(|NotBound| Refusal::Unbound)
    }

    /// A message that mentions a placeholder goes on as it is, since nobody knows where in it that stands.
    ///
    /// # Errors
    /// The policy does not let it.
    pub(crate) fn pass_opaque(&self, stats: &Connection) -> Result<(), Refusal> {
        let passed = self.release.pass_opaque(stats);
        passed.map_err(|NotBound| Refusal::Unbound)
    }

    /// Some field takes a secret.
    pub(super) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Every field that takes a secret.
    pub(super) fn fields(&self) -> &Arc<[JsonField]> {
        &self.fields
    }

    /// The sandbox has a secret of this name.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.release.knows(key)
    }

    /// `secret` takes the place of `placeholder`.
    pub(super) fn note(&self, name: &SecretName, secret: &[u8], placeholder: &[u8]) {
        self.release.reflection().note(name, secret, placeholder);
    }

    /// What the placeholder of `key` is worth at `fields`, with the states of their guards.
    ///
    /// # Errors
    /// A field takes a secret, but not this one.
    pub(super) fn worth(
        &self,
        fields: impl Iterator<Item = (usize, GuardState)>,
        key: &str,
    ) -> Result<Worth<'_>, Refusal> {
        let mut bound = false;
        let mut undecided = false;
        for (index, guard) in fields {
            match guard {
                GuardState::Violated => {}
                GuardState::Unseen => undecided = true,
                GuardState::Holds => {
                    bound = true;
                    let field = self.fields.get(index);
                    let found = field.and_then(|field| self.release.json(self.texts, field, key));
                    if let Some((name, secret)) = found {
                        return Ok(Worth::Secret {
                            field: index,
                            name,
                            secret,
                        });
                    }
                }
            }
        }
        if bound {
            return Err(Refusal::Unresolvable(self.release.why_not(key)));
        }
        Ok(if undecided {
            Worth::Undecided
        } else {
            Worth::Text
        })
    }
}

/// May `text` hold a placeholder, plain or escaped? No false negatives.
pub(crate) fn concerns(text: &[u8]) -> bool {
    grammar::mentions(text) || encode::mentions_json_escapes(text)
}

/// Rewrites a whole document; `None` if it needs no change.
///
/// # Errors
/// The document may not go on.
pub(crate) fn rewrite(
    rules: &Arc<Rules>,
    text: &[u8],
    stats: &Arc<Connection>,
) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
    let resolved;
    let text = if encode::mentions_json_escapes(text) {
        resolved = encode::resolve_json_escapes(text);
        &resolved
    } else {
        text
    };
    if !grammar::mentions(text) {
        return Ok(None);
    }
    let mut document = Document::begin(rules, text, true, stats);
    // Room for the secrets: growing would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() + 4096));
    document.push(text, &mut out)?;
    document.finish(&mut out)?;
    Ok((!document.placement.released.is_empty()).then_some(out))
}

impl Document {
    /// Looks through the document's first bytes, all of them if `whole`. They have to be pushed all the same.
    pub(crate) fn begin(
        rules: &Arc<Rules>,
        ahead: &[u8],
        whole: bool,
        stats: &Arc<Connection>,
    ) -> Self {
        let mut scout = Cursor::new(rules.fields.clone());
        scout.push(ahead);
        let lost = scout.is_faulty() || whole && !scout.is_complete();
        let foreseen = (0..rules.fields.len())
            .map(|field| {
                if lost {
                    GuardState::Violated
                } else {
                    scout.guard(field)
                }
            })
            .collect();
        Self {
            rules: rules.clone(),
            stats: stats.clone(),
            matcher: Matcher::default(),
            placement: Placement {
                cursor: Cursor::new(rules.fields.clone()),
                foreseen,
                whole,
                released: Vec::new(),
            },
            taken: 0,
            given: 0,
        }
    }

    /// Takes more of the document and appends to `out` what is decided.
    ///
    /// # Errors
    /// The document may not go on; what `out` got may, as the beginning of a message that never ends.
    pub(crate) fn push(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Self {
            rules,
            stats,
            matcher,
            placement,
            taken,
            given,
        } = self;
        let known = |key: &str| rules.knows(key);
        let before = out.len();
        matcher.push(text, &known, &mut |piece| {
            placement.take(piece, rules, stats, out)
        })?;
        *taken += text.len() as u64;
        *given += (out.len() - before) as u64;
        placement.check()
    }

    /// The document is complete: appends the rest to `out`.
    ///
    /// # Errors
    /// The document may not go on.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Self {
            rules,
            stats,
            matcher,
            placement,
            taken,
            given,
        } = self;
        let known = |key: &str| rules.knows(key);
        let before = out.len();
        matcher.finish(&known, &mut |piece| {
            placement.take(piece, rules, stats, out)
        })?;
        *given += (out.len() - before) as u64;
        placement.check()?;
        if !placement.released.is_empty() && !placement.cursor.is_complete() {
            return Err(Refusal::Malformed);
        }
        rules.watch_limit(placement.released.iter().copied(), *taken, *given, stats);
        Ok(())
    }

    /// Secrets that went into what was appended.
    pub(super) fn released(&self) -> usize {
        self.placement.released.len()
    }

    /// Some secret went into what was appended.
    pub(crate) fn has_released(&self) -> bool {
        !self.placement.released.is_empty()
    }
}

impl Placement {
    fn take(
        &mut self,
        piece: Piece<'_>,
        rules: &Rules,
        stats: &Connection,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let text = match piece {
            Piece::Text(text) => text,
            Piece::Placeholder { raw, key } => {
                if self.release(raw, key, rules, stats, out)? {
                    // To the cursor it is all one: both are the inside of a string.
                    self.cursor.push(raw);
                    return Ok(());
                }
                rules.pass_unbound(stats)?;
                raw
            }
        };
        self.cursor.push(text);
        out.extend_from_slice(text);
        Ok(())
    }

    /// Appends the secret of `key`, which the client spelled `raw`, if it may stand here.
    fn release(
        &mut self,
        raw: &[u8],
        key: &str,
        rules: &Rules,
        stats: &Connection,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refusal> {
        let fields = self.cursor.fields_here();
        let fields = fields.map(|field| (field, self.guard(field)));
        match rules.worth(fields, key)? {
            Worth::Text => Ok(false),
            Worth::Undecided if self.whole => Ok(false),
            Worth::Undecided => Err(Refusal::GuardUnseen),
            Worth::Secret {
                field,
                name,
                secret,
            } => {
                if self.released.len() >= rules.most {
                    return Err(Refusal::TooMany);
                }
                encode::json_string(secret, out)
                    .map_err(|encode::NotUtf8| Refusal::Unresolvable(Unresolvable::Unavailable))?;
                rules.note(name, secret, raw);
                stats.count_rewrite(name);
                self.released.push(field);
                Ok(true)
            }
        }
    }

    /// What went out under a guard must not lose it.
    fn check(&self) -> Result<(), Refusal> {
        if self.released.is_empty() {
            return Ok(());
        }
        if self.cursor.is_faulty() {
            return Err(Refusal::Malformed);
        }
        let mut guards = self.released.iter().map(|field| self.cursor.guard(*field));
        if guards.any(|guard| guard == GuardState::Violated) {
            return Err(Refusal::GuardContradicted);
        }
        Ok(())
    }

    fn guard(&self, field: usize) -> GuardState {
        let foreseen = self.foreseen.get(field).copied();
        foreseen
            .unwrap_or(GuardState::Violated)
            .and(self.cursor.guard(field))
    }
}

#[cfg(test)]
mod tests;
