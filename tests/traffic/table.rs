//! The table: what was counted beside what must be, and the time that a roofline allows.

use std::collections::BTreeMap;
use std::fmt::Write;

use darts::backend::gpu::Precision;

use super::call::Work;
use super::statistics::Traffic;

/// What a GPU can do at most, from NVIDIA's data sheets; dense, without sparsity.
pub struct Peak {
    pub name: &'static str,
    /// Bytes per second.
    pub bandwidth: f64,
    /// Operations per second in f32.
    pub f32: f64,
    /// Operations per second of products of bf16 or f16 on tensor cores.
    pub tensor: f64,
}

/// "NVIDIA A100 Tensor Core GPU" (80GB SXM) and "NVIDIA H100 Tensor Core GPU" (SXM), the tables of specifications.
pub const PEAKS: [Peak; 2] = [
    Peak { name: "A100", bandwidth: 2039e9, f32: 19.5e12, tensor: 312e12 },
    Peak { name: "H100", bandwidth: 3350e9, f32: 67e12, tensor: 989e12 },
];

impl Peak {
    /// Seconds that a call takes at least. Products of f32 run beside all else; those of 16 bits on units of their own.
    fn seconds(&self, work: &Work, precision: Precision) -> f64 {
        let memory = work.bytes as f64 / self.bandwidth;
        let [products, operations] = [work.products, work.operations].map(|count| count as f64);
        let arithmetic = match precision {
            Precision::F32 => (products + operations) / self.f32,
            Precision::Bf16 | Precision::F16 => (products / self.tensor).max(operations / self.f32),
        };
        memory.max(arithmetic)
    }
}

/// A kernel: what was counted at the small batch, what must move there, and its calls at the paper's batch.
pub struct Row<'a> {
    pub kernel: &'static str,
    pub must: u64,
    pub traffic: Option<Traffic>,
    pub calls: &'a [Work],
}

impl Row<'_> {
    /// Bytes moved for each that must move.
    pub fn ratio(&self) -> Option<f64> {
        Some(self.traffic?.bytes() as f64 / self.must as f64)
    }

    /// Sectors for each that would have done.
    pub fn spread(&self) -> Option<f64> {
        self.traffic.map(|traffic| traffic.sectors as f64 / traffic.fewest as f64)
    }
}

/// Bytes that all calls of a kernel must move.
pub fn must(works: &[Work]) -> u64 {
    works.iter().map(|work| work.bytes as u64).sum()
}

/// The kernels, the largest mover first.
pub fn rows<'a>(
    small: &BTreeMap<&'static str, Vec<Work>>,
    large: &'a BTreeMap<&'static str, Vec<Work>>,
    counted: Option<&BTreeMap<&'static str, Traffic>>,
) -> Vec<Row<'a>> {
    let mut rows: Vec<Row> = small
        .iter()
        .map(|(&kernel, works)| Row {
            kernel,
            must: must(works),
            traffic: counted.map(|counted| counted[kernel]),
            calls: &large[kernel],
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.traffic.map_or(row.must, |traffic| traffic.bytes())));
    rows
}

/// The rows and their sum as Markdown.
pub fn markdown(rows: &[Row], precision: Precision, batches: [usize; 2]) -> String {
    let [small, large] = batches;
    let mut text = format!(
        "| kernel | launches | must, MB | moved, MB | moved/must | sectors/fewest | must at {large}, MB | GFLOP | {} |\n",
        PEAKS.map(|peak| format!("{}, us", peak.name)).join(" | ")
    );
    text += &format!("|---|{}\n", "--:|".repeat(7 + PEAKS.len()));
    for row in rows {
        line(&mut text, row, precision);
    }
    let calls: Vec<Work> = rows.iter().flat_map(|row| row.calls).copied().collect();
    let traffic = rows.iter().map(|row| row.traffic).reduce(|a, b| Some(a?.plus(b?))).flatten();
    let must = rows.iter().map(|row| row.must).sum();
    line(&mut text, &Row { kernel: "all", must, traffic, calls: &calls }, precision);
    writeln!(
        text,
        "\nActivations as {}. Launches, must, moved and their ratios at batch {small}; the rest at batch {large}.",
        precision
    )
    .unwrap();
    text
}

fn line(text: &mut String, row: &Row, precision: Precision) {
    let mega = |bytes: u64| format!("{:.2}", bytes as f64 / 1e6);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let operations: usize = row.calls.iter().map(|work| work.products + work.operations).sum();
    let mut cells = vec![
        row.kernel.to_owned(),
        or_dash(row.traffic.map(|traffic| traffic.launches.to_string())),
        mega(row.must),
        or_dash(row.traffic.map(|traffic| mega(traffic.bytes()))),
        or_dash(row.ratio().map(|ratio| format!("{ratio:.2}"))),
        or_dash(row.spread().map(|spread| format!("{spread:.2}"))),
        mega(must(row.calls)),
        format!("{:.3}", operations as f64 / 1e9),
    ];
    cells.extend(PEAKS.iter().map(|peak| {
        let seconds: f64 = row.calls.iter().map(|work| peak.seconds(work, precision)).sum();
        format!("{:.0}", seconds * 1e6)
    }));
    writeln!(text, "| {} |", cells.join(" | ")).unwrap();
}

#[test]
fn the_slowest_unit_decides() {
    let peak = Peak { name: "one", bandwidth: 10.0, f32: 2.0, tensor: 4.0 };
    let work = Work { bytes: 10, products: 8, operations: 2 };
    assert_eq!(peak.seconds(&work, Precision::F32), 5.0);
    assert_eq!(peak.seconds(&work, Precision::Bf16), 2.0);
    assert_eq!(peak.seconds(&Work { bytes: 100, ..work }, Precision::F16), 10.0);
}
