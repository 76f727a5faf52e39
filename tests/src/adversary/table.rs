//! Every way round that is known, with what has to come of it.

mod armed;
mod around;
mod daemon;
mod daring;
mod datagrams;
mod exempt;
mod families;
mod identity;
mod names;
mod options;
mod release;
mod spaces;
mod streams;

use serde_json::{Value, json};

use super::{
    ground::{EVIL, EVIL_V6, PORT},
    stage::Facts,
    vector::{
        Accomplice, Control, Event, Expected, Group, Lack, Meanwhile, Place, Secret, Stated, Vector,
    },
};

/// All of them, in the order in which they are tried.
pub fn vectors() -> Vec<Vector> {
    let mut all = streams::vectors();
    all.extend(datagrams::vectors());
    all.extend(families::vectors());
    all.extend(options::vectors());
    all.extend(spaces::vectors());
    all.extend(around::vectors());
    all.extend(exempt::vectors());
    all.extend(armed::vectors());
    all.extend(daemon::vectors());
    all.extend(names::vectors());
    all.extend(identity::vectors());
    all.extend(release::vectors());
    all.extend(daring::vectors());
    all
}

fn vector(
    group: Group,
    name: &str,
    tries: &'static str,
    order: &'static str,
    with: impl Fn(&Facts) -> Value + 'static,
) -> Vector {
    Vector {
        name: name.into(),
        group,
        tries,
        order,
        with: Box::new(with),
        place: Place::Sandbox,
        meanwhile: None,
        accomplice: None,
        control: Control::Leaves,
        may_lack: Vec::new(),
        expected: Expected {
            said: Vec::new(),
            event: Event::None("nothing is refused"),
            detail: "",
            secret: Secret::Stays,
            stated: None,
        },
    }
}

/// To a server that nobody may reach, over IPv4.
fn to(_: &Facts) -> Value {
    json!({"address": EVIL, "port": PORT})
}

fn to_v6(_: &Facts) -> Value {
    json!({"address": EVIL_V6, "port": PORT})
}

/// Reasons under which the programs in the kernel refuse.
const DATAGRAM: &[&str] = &["datagram"];
const PROTOCOL: &[&str] = &["socket_protocol"];
const OPTION: &[&str] = &["socket_option"];
/// What the daemon says of a connection that policy does not know.
const POLICY: &[&str] = &["policy"];

const ITSELF: &str =
    "the kernel itself refuses it to everybody without privileges, before any hook";

impl Vector {
    fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Without a sandbox the program sees this.
    fn else_says(self, said: &[&'static str]) -> Self {
        self.control(Control::Says(said.to_vec()))
    }

    fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    fn by_root(self) -> Self {
        self.at(Place::Root)
            .without_control("the host's root could do it")
    }

    fn with(mut self, with: impl Fn(&Facts) -> Value + 'static) -> Self {
        self.with = Box::new(with);
        self
    }

    fn meanwhile(mut self, what: Meanwhile) -> Self {
        self.meanwhile = Some(what);
        self
    }

    fn helped_by(mut self, accomplice: Accomplice) -> Self {
        self.accomplice = Some(accomplice);
        self
    }

    /// Some kernels do not have what is asked for.
    fn may_lack(mut self) -> Self {
        self.may_lack.push(Lack::Feature);
        self
    }

    /// By operations of io_uring that came one after the other, if it is there at all.
    fn by_ring(mut self) -> Self {
        self.may_lack.push(Lack::Operation);
        self.may_lack()
    }

    /// Only programs on devices stop it, which some kernels do not have.
    fn fenced(mut self) -> Self {
        self.may_lack.push(Lack::Fence);
        self
    }

    fn without_control(self, why: &'static str) -> Self {
        self.control(Control::None(why))
    }

    /// Steered to the daemon, which closes it for a reason.
    fn captured(self, reasons: &[&'static str]) -> Self {
        self.refused(&["connected, then closed"], reasons)
    }

    fn refused(mut self, said: &[&'static str], reasons: &[&'static str]) -> Self {
        self.expected.said = said.to_vec();
        self.expected.event = Event::Refusal(reasons.to_vec());
        self
    }

    /// The kernel's own refusal, the same with and without a sandbox.
    fn refused_to_everybody(self, said: &'static [&'static str]) -> Self {
        self.else_says(said).silent(said, ITSELF)
    }

    fn silent(mut self, said: &[&'static str], why: &'static str) -> Self {
        self.expected.said = said.to_vec();
        self.expected.event = Event::None(why);
        self
    }

    /// A family that is watched where the kernel lets somebody, and elsewhere said to be left to seccomp.
    fn watched_or_said(mut self) -> Self {
        self.expected.said = vec!["opened", "refused EPERM", "refused EAFNOSUPPORT"];
        self.expected.event = Event::Watched("socket_family");
        self
    }

    /// What the event's detail has.
    fn saying(mut self, detail: &'static str) -> Self {
        self.expected.detail = detail;
        self
    }

    /// The reason goes by what the program saw.
    fn by_outcome(
        mut self,
        said: &[&'static str],
        reasons: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.expected.said = said.to_vec();
        self.expected.event = Event::ByOutcome(reasons);
        self
    }

    /// Packets leave that all have this end.
    fn stated(mut self, why: &'static str, end: &'static str) -> Self {
        self.expected.stated = Some(Stated { why, end });
        self
    }

    fn released(mut self) -> Self {
        self.expected.secret = Secret::Arrives;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_vector_has_a_name_of_its_own_and_an_expectation() {
        let mut names = BTreeSet::new();
        for vector in vectors() {
            let name = format!("{:?}/{}", vector.group, vector.name);
            assert!(names.insert(name), "{} twice", vector.name);
            assert!(!vector.expected.said.is_empty(), "{}", vector.name);
        }
        assert!(names.len() >= 380, "{}", names.len());
    }
}
