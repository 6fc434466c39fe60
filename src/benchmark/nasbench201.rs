//! The table of NAS-Bench-201 (Dong and Yang, ICLR 2020): all 15,625 cells, trained on three data sets for 12 and for 200
//! epochs.
//!
//! `nasbench201.bin` has a record of 41 bytes for each architecture, in the order of the benchmark: its
//! [number](Architecture::number) in two bytes; the weights of its network with 10 classes in three; and the accuracies
//! of [`COLUMNS`] in ten-thousandths of a per cent, three bytes each; all little-endian. Source and licence stand in
//! `nasbench201.LICENSE.md`.

use std::sync::LazyLock;

use crate::readable::grouped;
use crate::space::architecture::{Architecture, COUNT};
use crate::space::genotype::Genotype;

static RECORDS: &[u8] = include_bytes!("nasbench201.bin");
/// Ten-thousandths of a per cent in a per cent.
const UNITS: f64 = 1e4;
const RECORD: usize = 2 + 3 * (1 + COLUMNS.len());

/// The images that a network was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSet {
    /// Its name in flags and JSON.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Number of classes.
    pub classes: usize,
}

/// The data sets of the benchmark.
pub static DATA_SETS: [DataSet; 3] = [
    DataSet { name: "cifar10", title: "CIFAR-10", classes: 10 },
    DataSet { name: "cifar100", title: "CIFAR-100", classes: 100 },
    DataSet { name: "imagenet16-120", title: "ImageNet16-120", classes: 120 },
];

/// The images that an accuracy is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those that a search may look at. On CIFAR-10, the network was trained on the other half of the training images.
    Validation,
    /// Those that only a report may look at. On CIFAR-10, the network was trained on all training images, so that this
    /// accuracy is of another network than that of [`Validation`](Part::Validation).
    Test,
}

impl Part {
    /// Its name in JSON and for people.
    pub fn name(self) -> &'static str {
        match self {
            Part::Validation => "validation",
            Part::Test => "test",
        }
    }
}

/// What a column of the table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The place of the data set among [`DATA_SETS`].
    pub data_set: usize,
    /// The length of the training: 12 or 200 epochs, each with a whole schedule of its own.
    pub epochs: usize,
    /// The images of the accuracy.
    pub part: Part,
}

/// The columns of accuracies.
pub const COLUMNS: [Column; 12] = {
    let mut columns = [Column { data_set: 0, epochs: 12, part: Part::Validation }; 12];
    let mut place = 0;
    while place < columns.len() {
        columns[place] = Column {
            data_set: place / 4,
            epochs: if place / 2 % 2 == 0 { 12 } else { 200 },
            part: if place % 2 == 0 { Part::Validation } else { Part::Test },
        };
        place += 1;
    }
    columns
};

impl Column {
    /// The test accuracy on a data set, a place among [`DATA_SETS`], after 200 epochs: what a search is judged by.
    pub fn judging(data_set: usize) -> Self {
        Column { data_set, epochs: 200, part: Part::Test }
    }

    fn place(self) -> usize {
        COLUMNS.iter().position(|&column| column == self).expect("the table has every such column")
    }
}

/// The row of an architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Its place in the order of the benchmark.
    pub index: usize,
    /// The architecture.
    pub architecture: Architecture,
    /// Weights of its network with 10 classes, 16 channels and 5 cells a stage.
    pub parameters: usize,
    accuracies: [u32; COLUMNS.len()],
}

impl Entry {
    /// An accuracy in per cent: the mean over one to three trainings.
    pub fn accuracy(&self, column: Column) -> f64 {
        f64::from(self.accuracies[column.place()]) / UNITS
    }
}

/// All rows, in the order of the benchmark.
pub struct Table {
    entries: Vec<Entry>,
    /// For each [number](Architecture::number), the place of its row.
    places: Vec<usize>,
    /// For each column, its accuracies from the highest.
    sorted: Vec<Vec<u32>>,
}

/// The table inside the program.
pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(RECORDS));
    &TABLE
}

/// The space whose architectures the table knows.
pub const SPACE: &str = "nas-bench-201";

/// The row of a genotype; nothing, where it is of another space.
pub fn entry_of(genotype: &Genotype) -> Option<&'static Entry> {
    if genotype.space.name() != SPACE {
        return None;
    }
    genotype.to_string().parse().ok().map(|architecture| table().entry(architecture))
}

/// Of each data set the test accuracy after 200 epochs in per cent, and its rank.
pub fn judged(entry: &Entry) -> [(&'static DataSet, f64, usize); DATA_SETS.len()] {
    std::array::from_fn(|place| {
        let column = Column::judging(place);
        (&DATA_SETS[place], entry.accuracy(column), table().rank(entry, column))
    })
}

/// The same in a line.
pub fn in_words(entry: &Entry) -> String {
    let of = |(data, accuracy, rank): (&DataSet, f64, usize)| {
        format!("{} {accuracy:.2} % (rank {})", data.title, grouped(rank))
    };
    judged(entry).map(of).join(", ")
}

impl Table {
    /// The table of such records, which are those of this program.
    fn read(records: &[u8]) -> Table {
        let mut numbers: Vec<Option<Architecture>> = Architecture::all().map(Some).collect();
        let mut places = vec![0; COUNT];
        let mut entries = Vec::with_capacity(COUNT);
        for (index, record) in records.chunks_exact(RECORD).enumerate() {
            let number = usize::from(u16::from_le_bytes([record[0], record[1]]));
            let architecture = numbers[number].take().expect("each architecture has one row");
            places[number] = index;
            let mut values = record[2..]
                .chunks_exact(3)
                .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]));
            let parameters = values.next().unwrap_or_default() as usize;
            let mut accuracies = [0; COLUMNS.len()];
            accuracies.iter_mut().zip(values).for_each(|(accuracy, value)| *accuracy = value);
            entries.push(Entry { index, architecture, parameters, accuracies });
        }
        assert_eq!(entries.len(), COUNT, "the table has a row for each architecture");
        let sorted = (0..COLUMNS.len()).map(|column| {
            let mut values: Vec<u32> = entries.iter().map(|entry| entry.accuracies[column]).collect();
            values.sort_unstable_by(|one, other| other.cmp(one));
            values
        });
        let sorted = sorted.collect();
        Table { entries, places, sorted }
    }

    /// All rows, in the order of the benchmark.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The row of an architecture.
    pub fn entry(&self, architecture: Architecture) -> &Entry {
        &self.entries[self.places[architecture.number()]]
    }

    /// 1 for the best of a column; equal accuracies have equal ranks.
    pub fn rank(&self, entry: &Entry, column: Column) -> usize {
        let place = column.place();
        1 + self.sorted[place].partition_point(|&better| better > entry.accuracies[place])
    }

    /// All rows from the best of a column; of equal ones, the one of the lower index first.
    pub fn best(&self, column: Column) -> Vec<&Entry> {
        let place = column.place();
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.accuracies[place]));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_set: usize, epochs: usize, part: Part) -> Column {
        Column { data_set, epochs, part }
    }

    /// Anchors of the benchmark: the best of each column, and the cells that papers speak of.
    #[test]
    fn known_rows_have_their_accuracies() {
        let best = table().best(Column::judging(0))[0];
        assert_eq!(
            (best.index, best.accuracy(Column::judging(0)), best.parameters),
            (6111, 94.3733, 1_073_466)
        );
        assert_eq!(
            best.architecture.to_string(),
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"
        );
        assert_eq!(best.accuracy(column(0, 200, Part::Validation)), 91.6067);
        let index = |data_set, part| table().best(column(data_set, 200, part))[0].index;
        assert_eq!(index(1, Part::Validation), 9930);
        assert_eq!(index(1, Part::Test), 9930);
        assert_eq!([index(2, Part::Validation), index(2, Part::Test)], [10_676, 857]);
        assert_eq!(table().best(column(0, 12, Part::Validation))[0].index, 13_714);
        let skips = table().entry(Architecture::new([1; 6]));
        assert_eq!(
            (skips.index, skips.accuracy(Column::judging(0)), skips.parameters),
            (1835, 54.2967, 73_306)
        );
        assert_eq!(skips.accuracy(column(0, 12, Part::Test)), 36.84);
        assert_eq!(skips.accuracy(column(2, 200, Part::Test)), 16.3222);
        let wide = table().entry(Architecture::new([3; 6]));
        assert_eq!((wide.index, wide.accuracy(column(0, 12, Part::Test))), (1462, 82.2));
    }

    #[test]
    fn ranks_count_what_is_better() {
        let judging = Column::judging(0);
        let best = table().best(judging);
        assert_eq!(table().rank(best[0], judging), 1);
        let nothing = table().entry(Architecture::new([0; 6]));
        // All cells without a path to the output share the last rank.
        assert_eq!(table().rank(nothing, judging), COUNT - 341 + 1);
        for pair in best.windows(2) {
            let [better, worse] = [pair[0], pair[1]].map(|entry| table().rank(entry, judging));
            assert!(better <= worse);
        }
    }

    /// The formula of the benchmark's networks, and chance where the output does not depend on the input.
    #[test]
    fn every_row_has_the_weights_of_its_operations_and_chance_without_a_path() {
        for entry in table().entries() {
            let count = |name| entry.architecture.count(name);
            let weights = 73_306 + 28_000 * count("nor_conv_1x1") + 243_040 * count("nor_conv_3x3");
            assert_eq!(entry.parameters, weights, "{}", entry.architecture);
            let chance = entry.accuracy(Column::judging(0)) == 10.0;
            assert_eq!(chance, !entry.architecture.reaches_output(), "{}", entry.architecture);
        }
    }
}
