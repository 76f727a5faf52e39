//! From the parser's events to a tree of nodes, within bounds.

use std::{
    collections::{HashMap, hash_map},
    path::Path,
    sync::Arc,
};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::{Entry, Findings, Node, Position, node::Value};

/// Levels of nesting: decoding and dropping a tree recurse.
const MAX_DEPTH: usize = 64;

/// Nodes of a tree after its aliases are expanded, against documents that grow exponentially.
const MAX_NODES: usize = 50_000;

/// Parses a text that holds one document.
pub(super) fn compose(file: &Arc<Path>, text: &str, findings: &mut Findings) -> Option<Node> {
    let mut composer = Composer {
        file,
        findings,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
    };
    let complete = composer.run(text).is_some();
    let root = composer.root.take();
    if complete && root.as_ref().is_none_or(is_nothing) {
        findings.fault(&position(file, Marker::new(0, 1, 0)), "the file is empty");
        return None;
    }
    root.filter(|_| complete)
}

struct Composer<'a> {
    file: &'a Arc<Path>,
    findings: &'a mut Findings,
    /// Collections that have begun and not ended, outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// A collection under construction.
struct Open {
    at: Position,
    /// 0: none.
    anchor: usize,
    children: Children,
}

enum Children {
    List(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        /// Line of each key, to find a second one.
        seen: HashMap<Box<str>, u32>,
        key: Key,
    },
}

/// Where a mapping stands between its events.
enum Key {
    Awaited,
    Read(Box<str>, Position),
    /// The key is at fault: its value is read and dropped.
    Dropped,
}

impl Composer<'_> {
    /// `None` after a fault that ends the reading of this file.
    fn run(&mut self, text: &str) -> Option<()> {
        let mut parser = Parser::new_from_str(text);
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, span) = match next {
                Ok(next) => next,
                Err(error) => {
                    let at = position(self.file, *error.marker());
                    self.findings
                        .fault(&at, format!("not YAML: {}", error.info()));
                    return None;
                }
            };
            let at = position(self.file, span.start);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        self.findings
                            .fault(&at, "a second document begins: the file may hold one");
                        return None;
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse_tag(&at, tag.is_some());
                    let plain = style == ScalarStyle::Plain;
                    let text = text.as_ref().into();
                    self.place(
                        Node {
                            at,
                            value: Value::Scalar { text, plain },
                        },
                        anchor,
                    )?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.refuse_tag(&at, tag.is_some());
                    self.begin(at, anchor, Children::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse_tag(&at, tag.is_some());
                    let children = Children::Mapping {
                        entries: Vec::new(),
                        seen: HashMap::new(),
                        key: Key::Awaited,
                    };
                    self.begin(at, anchor, children)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                Event::Alias(anchor) => self.alias(at, anchor)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Some(())
    }

    fn refuse_tag(&mut self, at: &Position, tagged: bool) {
        if tagged {
            self.findings.fault(at, "tags are not supported");
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, children: Children) -> Option<()> {
        self.check_depth(&at, 1)?;
        self.open.push(Open {
            at,
            anchor,
            children,
        });
        Some(())
    }

    fn end(&mut self) -> Option<()> {
        let Open {
            at,
            anchor,
            children,
        } = self.open.pop()?;
        let value = match children {
            Children::List(items) => Value::List(items),
            Children::Mapping { entries, .. } => Value::Mapping(entries),
        };
        self.place(Node { at, value }, anchor)
    }

    fn alias(&mut self, at: Position, anchor: usize) -> Option<()> {
        let Some(target) = self.anchors.get(&anchor) else {
            self.findings
                .fault(&at, "the alias stands inside its own anchor");
            return None;
        };
        let (nodes, depth) = extent(target);
        self.check_depth(&at, depth)?;
        // The copy's root is counted when it is placed.
        self.count(&at, nodes - 1)?;
        let value = self.anchors.get(&anchor)?.value.clone();
        self.place(Node { at, value }, 0)
    }

    /// Puts a complete node where the innermost open collection expects one.
    fn place(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.count(&node.at, 1)?;
        if anchor > 0 {
            // An anchor keeps a copy.
            self.count(&node.at, extent(&node).0)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.children) {
            None => self.root = Some(node),
            Some(Children::List(items)) => items.push(node),
            Some(Children::Mapping { entries, seen, key }) => {
                match std::mem::replace(key, Key::Awaited) {
                    Key::Read(name, key_at) => entries.push(Entry {
                        key: name,
                        key_at,
                        value: node,
                    }),
                    Key::Dropped => {}
                    Key::Awaited => *key = read_key(node, seen, self.findings),
                }
            }
        }
        Some(())
    }

    fn count(&mut self, at: &Position, nodes: usize) -> Option<()> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            self.findings
                .fault(at, format!("the file has more than {MAX_NODES} nodes"));
            return None;
        }
        Some(())
    }

    fn check_depth(&mut self, at: &Position, more: usize) -> Option<()> {
        if self.open.len() + more > MAX_DEPTH {
            self.findings
                .fault(at, format!("nested deeper than {MAX_DEPTH} levels"));
            return None;
        }
        Some(())
    }
}

fn read_key(node: Node, seen: &mut HashMap<Box<str>, u32>, findings: &mut Findings) -> Key {
    let Node { at, value } = node;
    let Value::Scalar { text, .. } = value else {
        findings.fault(&at, "a key has to be text");
        return Key::Dropped;
    };
    match seen.entry(text.clone()) {
        hash_map::Entry::Vacant(entry) => {
            entry.insert(at.line);
            Key::Read(text, at)
        }
        hash_map::Entry::Occupied(first) => {
            findings.fault(
                &at,
                format!("the same key stands in line {} already", first.get()),
            );
            Key::Dropped
        }
    }
}

/// Nodes and levels of a tree.
fn extent(node: &Node) -> (usize, usize) {
    let add = |(nodes, depth): (usize, usize), child: &Node| {
        let (more, below) = extent(child);
        (nodes + more, depth.max(below + 1))
    };
    match &node.value {
        Value::Scalar { .. } => (1, 0),
        Value::List(items) => items.iter().fold((1, 1), add),
        Value::Mapping(entries) => entries.iter().map(|entry| &entry.value).fold((1, 1), add),
    }
}

fn is_nothing(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, plain: true } if text.is_empty())
}

fn position(file: &Arc<Path>, marker: Marker) -> Position {
    Position {
        file: Arc::clone(file),
        line: marker.line().try_into().unwrap_or(u32::MAX),
        column: (marker.col() + 1).try_into().unwrap_or(u32::MAX),
    }
}
