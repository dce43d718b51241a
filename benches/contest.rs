//! What the benches compare, said once: rows of contestants that do the same work.
//!
//! A row belongs to a group and has our ways of doing the work, its floor, perhaps a yardstick, and
//! what a user would otherwise use. Two fronts run the rows: `groups` hands them to criterion, and
//! `ratios` times a row's contestants interleaved in one process.

use std::fmt::{self, Debug};
use std::hint::black_box;

/// What a contestant is in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ours.
    Pelton,
    /// What no design beats, or nearly: the same bytes copied, the same numbers added up.
    Floor,
    /// `base64-simd` over the same values and nothing else: what the goals are stated against.
    Yardstick,
    /// What a user would otherwise use.
    Peer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pelton => "pelton",
            Self::Floor => "floor",
            Self::Yardstick => "yardstick",
            Self::Peer => "peer",
        })
    }
}

/// One way to do a row's work. A run does it once.
pub struct Contestant<'c> {
    /// What it is.
    pub role: Role,
    /// What it is called, without the role.
    pub name: String,
    /// Units of work in a run.
    pub units: f64,
    /// Bytes that a run takes in, for GB/s; 0 where that says nothing.
    pub bytes: usize,
    /// The work.
    pub run: Box<dyn FnMut() + 'c>,
}

/// A number made of two contestants of a row, timed in the same round.
#[derive(Clone, Debug)]
pub struct Derived {
    /// What it says.
    pub name: String,
    /// How it is made.
    pub kind: DerivedKind,
    /// `role/name` of the contestant that is looked at.
    pub of: String,
    /// And of the one that is subtracted, or divided by.
    pub against: String,
}

/// How a [`Derived`] number is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerivedKind {
    /// Nanoseconds per unit more.
    Difference,
    /// Times as long.
    Ratio,
}

/// Contestants that do the same work.
pub struct Row<'c> {
    /// `payload/hot/no-headers/fixed`.
    pub group: String,
    /// `256 B`.
    pub case: String,
    /// What times are told per: `record`.
    pub unit: &'static str,
    /// Whether each sample begins with a run that does not count, so that the contestant finds its
    /// own data in the caches, not the one's before it.
    pub hot: bool,
    /// In the order in which they are shown.
    pub contestants: Vec<Contestant<'c>>,
    /// In the order in which they are shown.
    pub derived: Vec<Derived>,
    /// Counts that are no times: a name and a number.
    pub counted: Vec<(String, f64)>,
    units: f64,
    bytes: usize,
}

impl<'c> Row<'c> {
    /// A row without contestants. A run of each does `units` units of work, and takes in `bytes`
    /// bytes (0 where that says nothing).
    #[must_use]
    pub fn new(group: &str, case: impl fmt::Display, unit: &'static str, units: usize, bytes: usize) -> Self {
        Self {
            group: group.to_owned(),
            case: case.to_string(),
            unit,
            hot: true,
            contestants: Vec::new(),
            derived: Vec::new(),
            counted: Vec::new(),
            units: units as f64,
            bytes,
        }
    }

    /// Adds a contestant and runs it once. Every run is checked: what is expected should be cheap to
    /// compare.
    ///
    /// # Panics
    /// If the run does not come to `expected`.
    pub fn contestant<T: PartialEq + Debug + Clone + 'c>(
        &mut self,
        role: Role,
        name: impl fmt::Display,
        expected: &T,
        run: impl FnMut() -> T + 'c,
    ) {
        self.part(role, name, 1.0, expected, run);
    }

    /// Adds a contestant that does `part` of the row's work in a run: for the slow ones. Otherwise as
    /// [`contestant`](Self::contestant).
    ///
    /// # Panics
    /// If the run does not come to `expected`.
    pub fn part<T: PartialEq + Debug + Clone + 'c>(
        &mut self,
        role: Role,
        name: impl fmt::Display,
        part: f64,
        expected: &T,
        mut run: impl FnMut() -> T + 'c,
    ) {
        let (name, expected) = (name.to_string(), expected.clone());
        let id = format!("{}/{}/{role}/{name}", self.group, self.case);
        let mut checked = move || {
            let answer = black_box(run());
            assert!(answer == expected, "{id}: {answer:?}, not {expected:?}");
        };
        checked();
        self.contestants.push(Contestant {
            role,
            name,
            units: self.units * part,
            bytes: (self.bytes as f64 * part) as usize,
            run: Box::new(checked),
        });
    }

    /// Adds a number made of two contestants, named as `role/name`.
    pub fn derive(
        &mut self,
        name: &str,
        kind: DerivedKind,
        of: impl fmt::Display,
        against: impl fmt::Display,
    ) {
        let (of, against) = (of.to_string(), against.to_string());
        self.derived.push(Derived { name: name.to_owned(), kind, of, against });
    }
}

/// Who runs the rows.
pub trait Front {
    /// Whether the row is to be run: asked before it is built. `headline` rows are those that the
    /// README shows.
    fn wants(&self, group: &str, case: &str, headline: bool) -> bool;

    /// Whether to leave out what only a full run needs, such as tiers below the best.
    fn brief(&self) -> bool;

    /// Runs it.
    fn row(&mut self, row: Row<'_>);
}

/// Builds a group's rows, as far as the front wants them, and hands them to it.
pub type Contests = fn(&mut dyn Front);

/// All groups, in the order in which they are shown. A new group gets a line here.
pub const ALL: &[Contests] = &[
    crate::payload::contests,
    crate::costs::contests,
    crate::base64::contests,
    crate::headers::contests,
    crate::integers::contests,
    crate::envelope::contests,
    crate::gather::contests,
    crate::filter::contests,
    crate::policy::contests,
    crate::watermark::contests,
    crate::handover::contests,
    crate::response::contests,
];

/// `64 B`, `10 KiB`.
#[must_use]
pub fn size(bytes: usize) -> String {
    if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{bytes} B")
    }
}
