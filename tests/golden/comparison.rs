//! What was compared, and which bar it is held to.

use super::set::{Set, Tensor};
use std::collections::BTreeMap;

/// How close a tensor must come.
#[derive(Clone, Copy, PartialEq)]
pub enum Bar {
    /// f64: 1e-9, and 1e-5 behind the finite difference.
    Exact,
    /// f32: four times PyTorch's own float32 error.
    Noise,
}

const EXACT: f64 = 1e-9;
const EXACT_BEHIND_FINITE_DIFFERENCE: f64 = 1e-5;
const TIMES_NOISE: f64 = 4.0;
/// Starts that are tried.
const NEIGHBOURS: u64 = 12;
/// Below this, a bar says nothing in f32: an error of one rounding of the largest value.
const FLOOR: f64 = 2.0 * f32::EPSILON as f64;

/// The first comparison that meets its bar, of neighbouring starts, else that of the recorded start.
///
/// In f32, a value that lies within a rounding of a kink of ReLU or maximum may fall on either side, and all gradients
/// then jump by a thousandth or more. From one of a few starts that differ by roundings it falls on the side where the
/// trace has it; a kernel that computes something else agrees from none.
pub fn from_some_neighbour(set: &Set, mut compare: impl FnMut(u64) -> Comparisons) -> Comparisons {
    let recorded = compare(0);
    if recorded.failures(Bar::Noise, set).is_empty() {
        return recorded;
    }
    let mut neighbours = (1..=NEIGHBOURS).map(compare);
    neighbours.find(|rows| rows.failures(Bar::Noise, set).is_empty()).unwrap_or(recorded)
}

/// Tensors of one set beside what we computed.
#[derive(Default)]
pub struct Comparisons {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    group: String,
    error: f64,
    largest: f64,
    behind_finite_difference: bool,
    in_f32: bool,
}

impl Row {
    /// The group of tensors that this one is judged in, and how far it may be off.
    fn bar(&self, bar: Bar, set: &Set) -> (String, f64) {
        match bar {
            Bar::Exact if self.behind_finite_difference => {
                (self.group.clone(), EXACT_BEHIND_FINITE_DIFFERENCE)
            }
            Bar::Exact => (self.group.clone(), EXACT),
            Bar::Noise => {
                let noise = set.noise(&self.name);
                let (group, noise) =
                    noise.unwrap_or_else(|| panic!("{}: no noise for {}", set.name, self.name));
                (group, (TIMES_NOISE * noise).max(FLOOR))
            }
        }
    }
}

impl Comparisons {
    /// Compares a tensor; both in the same layout. In f64, tensors of one `group` are judged against the largest
    /// value of the group: some running means and gradients are zero but for rounding.
    pub fn add(&mut self, name: &str, group: &str, ours: &[f64], expected: &[f64]) -> &mut Self {
        assert_eq!(ours.len(), expected.len(), "{name}: number of elements");
        assert!(expected.iter().all(|x| x.is_finite()), "{name}: the trace holds values that are no numbers");
        let difference = |(a, b): (&f64, &f64)| if a.is_finite() { (a - b).abs() } else { f64::INFINITY };
        self.rows.push(Row {
            name: name.to_string(),
            group: group.to_string(),
            error: ours.iter().zip(expected).map(difference).fold(0.0, f64::max),
            largest: expected.iter().fold(0.0, |largest, x| f64::max(largest, x.abs())),
            behind_finite_difference: false,
            in_f32: true,
        });
        self
    }

    /// Compares an image batch: ours NHWC, expected NCHW.
    pub fn add_images(&mut self, name: &str, group: &str, ours: &[f64], expected: &Tensor) -> &mut Self {
        self.add(name, group, ours, &expected.to_nhwc())
    }

    /// The last tensor has the finite difference behind it.
    pub fn behind_finite_difference(&mut self, yes: bool) -> &mut Self {
        self.rows.last_mut().unwrap().behind_finite_difference = yes;
        self
    }

    /// The last tensor can be compared in f64 only.
    pub fn in_f64_only(&mut self) -> &mut Self {
        self.rows.last_mut().unwrap().in_f32 = false;
        self
    }

    /// The last so many tensors can be compared in f64 only.
    pub fn last_in_f64_only(&mut self, count: usize) -> &mut Self {
        let first = self.rows.len() - count;
        self.rows[first..].iter_mut().for_each(|row| row.in_f32 = false);
        self
    }

    /// The last two tensors, normal and reduce, can be compared in f64 only: Adam divides by the size of the gradient,
    /// and where the second order's is nearly zero, rounding alone decides the step. Its gradient is compared.
    pub fn adam_amplifies(&mut self) -> &mut Self {
        self.last_in_f64_only(2)
    }

    /// Name, error relative to the largest value of the group, and limit of each tensor.
    fn judged(&self, bar: Bar, set: &Set) -> Vec<(String, f64, f64)> {
        let rows = self.rows.iter().filter(|row| row.in_f32 || bar == Bar::Exact);
        let rows: Vec<_> = rows.map(|row| (row, row.bar(bar, set))).collect();
        let mut largest: BTreeMap<&str, f64> = BTreeMap::new();
        for (row, (group, _)) in &rows {
            let group = largest.entry(group).or_default();
            *group = group.max(row.largest);
        }
        rows.iter()
            .map(|(row, (group, limit))| {
                let relative = row.error / largest[group.as_str()].max(f64::MIN_POSITIVE);
                (row.name.clone(), if row.error == 0.0 { 0.0 } else { relative }, *limit)
            })
            .collect()
    }

    /// The worst tensor, in words.
    pub fn summary(&self, bar: Bar, set: &Set) -> String {
        let rows = self.judged(bar, set);
        if rows.is_empty() {
            return "skipped, it holds nothing of what is compared here".to_string();
        }
        let worst =
            rows.iter().max_by(|a, b| (a.1 / a.2).total_cmp(&(b.1 / b.2))).expect("something was compared");
        let largest = rows.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        format!(
            "{} tensors; nearest to its bar {} ({:.2e} of {:.2e}); largest error {} ({:.2e})",
            rows.len(),
            worst.0,
            worst.1,
            worst.2,
            largest.0,
            largest.1
        )
    }

    /// The names of what was compared.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.name.as_str())
    }

    /// Adds the tensors of another comparison.
    pub fn extend(&mut self, other: Comparisons) {
        self.rows.extend(other.rows);
    }

    /// The tensors that miss their bar.
    pub fn failures(&self, bar: Bar, set: &Set) -> Vec<String> {
        let missed =
            self.judged(bar, set).into_iter().filter(|(_, error, limit)| error > limit || error.is_nan());
        missed
            .map(|(name, error, limit)| {
                format!("{}: {name} is off by {error:.2e}, bar {limit:.2e}", set.name)
            })
            .collect()
    }
}
