//! The fields that conditions name, as a tree: what a reader of JSON must look up on its way.

use super::marks::Bits;

/// One name on the way to a field.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// What may follow, by name.
    children: Vec<(Box<str>, u32)>,
    /// Conditions of the field that is reached here.
    pub(super) conditions: Vec<u32>,
    /// What each alternative asks of this field and those below it. One element of an array that
    /// stands here must meet all of it.
    pub(super) groups: Vec<Group>,
}

/// Conditions of one alternative at one place of the tree and below.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) conditions: Bits,
}

/// The tree. Its root stands for the whole JSON text.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// Up to so many children are compared one by one.
const SCANNED_MAX: usize = 8;

impl Tree {
    /// A tree of conditions: where each leads, and which alternative it is of.
    pub(super) fn new<'p>(fields: impl Iterator<Item = (u32, usize, &'p [String])>, words: usize) -> Self {
        let mut tree = Self { nodes: vec![Node::default()] };
        // By place: the alternatives that have conditions here, in order.
        let mut owners: Vec<Vec<usize>> = vec![Vec::new()];
        for (condition, alternative, path) in fields {
            let mut place = 0;
            tree.group(&mut owners, place, alternative, condition, words);
            for step in path {
                place = match tree.child(place as u32, step) {
                    Some(child) => child as usize,
                    None => {
                        let child = tree.nodes.len();
                        tree.nodes.push(Node::default());
                        owners.push(Vec::new());
                        tree.nodes[place].insert(step, child as u32);
                        child
                    }
                };
                tree.group(&mut owners, place, alternative, condition, words);
            }
            tree.nodes[place].conditions.push(condition);
        }
        tree
    }

    fn group(
        &mut self,
        owners: &mut [Vec<usize>],
        place: usize,
        alternative: usize,
        condition: u32,
        words: usize,
    ) {
        let node = &mut self.nodes[place];
        let at = owners[place].iter().position(|owner| *owner == alternative).unwrap_or_else(|| {
            owners[place].push(alternative);
            node.groups.push(Group { conditions: Bits::none(words) });
            node.groups.len() - 1
        });
        node.groups[at].conditions.set(condition);
    }

    #[inline]
    pub(super) fn node(&self, place: u32) -> &Node {
        &self.nodes[place as usize]
    }

    /// Where `name` leads from `place`, if any condition cares. Names with dots in them are ways of
    /// several steps.
    #[inline]
    pub(super) fn follow(&self, place: u32, name: &str) -> Option<u32> {
        // No name in the tree has a dot.
        self.child(place, name)
            .or_else(|| if name.contains('.') { self.follow_steps(place, name) } else { None })
    }

    #[cold]
    fn follow_steps(&self, place: u32, name: &str) -> Option<u32> {
        name.split('.').try_fold(place, |place, step| self.child(place, step))
    }

    #[inline]
    fn child(&self, place: u32, name: &str) -> Option<u32> {
        let children = &self.node(place).children;
        if children.len() <= SCANNED_MAX {
            return children.iter().find(|(known, _)| **known == *name).map(|(_, child)| *child);
        }
        let found = children.binary_search_by(|(known, _)| (known.len(), &**known).cmp(&(name.len(), name)));
        found.ok().map(|at| children[at].1)
    }
}

impl Node {
    /// Whether nothing below this field is asked for.
    #[inline]
    pub(super) fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    fn insert(&mut self, name: &str, child: u32) {
        let at = self.children.partition_point(|(known, _)| (known.len(), &**known) < (name.len(), name));
        self.children.insert(at, (name.into(), child));
    }
}
