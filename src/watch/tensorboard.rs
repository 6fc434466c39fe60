//! The numbers of a search or of a training as an event file of TensorBoard.
//!
//! Such a file is a row of records: the length of an event, a checksum of the length, the event as a protocol buffer
//! (tensorflow/core/util/event.proto), and a checksum of the event.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::epochs::{Observer, Phase, Timing};
use crate::search::observer::{EpochRecord, SearchPhase};
use crate::space::alphas::Alphas;
use crate::train::Model;
use crate::train::observer::{EpochRecord as TrainingRecord, TrainingPhase};
use crate::{Error, Result};

/// `tensorflow.Event`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session: Option<Session>,
}

/// `tensorflow.SessionLog`: its start takes back what other files of the directory hold from its step on.
#[derive(Clone, PartialEq, Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `tensorflow.SessionLog.START`.
const START: i32 = 1;

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value` of a number.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// An event file that a run writes, epoch by epoch. It is created with its first epoch.
pub struct EventFile {
    directory: PathBuf,
    file: Option<(PathBuf, File)>,
}

impl EventFile {
    /// An event file in a directory, which TensorBoard finds by its name.
    pub fn new(directory: &Path) -> Self {
        EventFile { directory: directory.to_owned(), file: None }
    }

    /// Creates the file of a run whose first epoch here is this.
    fn create(&mut self, epoch: usize) -> Result<()> {
        let seconds = now() as u64;
        let path = |seconds| self.directory.join(format!("events.out.tfevents.{seconds}.darts"));
        // A run that was interrupted in the same second has another.
        let path = (seconds..).map(path).find(|path| !path.exists()).unwrap_or_else(|| path(seconds));
        let file = File::create_new(&path).map_err(|source| Error::io(&path, source))?;
        self.file = Some((path, file));
        let file_version = Some("brain.Event:2".to_owned());
        self.write(&Event { wall_time: now(), file_version, ..Event::default() })?;
        if epoch > 1 {
            let session = Some(Session { status: START });
            self.write(&Event { wall_time: now(), step: epoch as i64, session, ..Event::default() })?;
        }
        Ok(())
    }

    /// Appends the numbers of an epoch.
    fn append(&mut self, epoch: usize, value: Vec<Value>) -> Result<()> {
        if self.file.is_none() {
            self.create(epoch)?;
        }
        let summary = Some(Summary { value });
        self.write(&Event { wall_time: now(), step: epoch as i64, summary, ..Event::default() })
    }

    /// Appends an event in one write.
    fn write(&mut self, event: &Event) -> Result<()> {
        let event = event.encode_to_vec();
        let length = (event.len() as u64).to_le_bytes();
        let check = |bytes: &[u8]| masked(crc32c::crc32c(bytes)).to_le_bytes();
        let record = [&length[..], &check(&length), &event, &check(&event)].concat();
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(&record).map_err(|source| Error::io(path.as_path(), source))
    }
}

/// A checksum as these records hold it, so that checksums of checksums stay apart.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn value(tag: &str, value: f64) -> Value {
    Value { tag: tag.to_owned(), simple_value: value as f32 }
}

impl Observer<SearchPhase> for EventFile {
    fn started(&mut self, _: &<SearchPhase as Phase>::Summary) -> Result<()> {
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, timing: &Timing, alphas: &Alphas) -> Result<()> {
        let mut values = vec![
            value("loss/train", record.train_loss),
            value("loss/valid", record.valid_loss),
            value("accuracy/train", record.train_accuracy),
            value("accuracy/valid", record.valid_accuracy),
        ];
        let cells = || alphas.space.cells().iter().map(|kind| kind.name);
        let entropies = cells().zip(&record.entropy);
        values.extend(entropies.map(|(cell, &entropy)| value(&format!("entropy/{cell}"), entropy)));
        let skips = cells().zip(&record.skip_connections);
        values.extend(skips.map(|(cell, &skips)| value(&format!("skip_connections/{cell}"), skips as f64)));
        values.extend(record.eigenvalue.map(|eigenvalue| value("eigenvalue", eigenvalue.value)));
        values.push(value("weight_lr", record.weight_lr));
        values.push(value("images_per_second", timing.images_per_second));
        for ((cell, kind), table) in alphas.space.cells().iter().enumerate().zip(&alphas.tables) {
            for edge in alphas.wiring(cell).edges {
                let weights = alphas.weighing.weights(&table[edge.row.clone()]);
                let (from, to) = (edge.from, edge.node + alphas.space.inputs());
                values.extend(edge.candidates.iter().zip(weights).map(|(operation, weight)| {
                    value(&format!("mixing_{}/{from}-{to}/{operation}", kind.name), weight)
                }));
            }
            let edges =
                alphas.wiring(cell).edges.into_iter().zip(alphas.edge_weights(cell).into_iter().flatten());
            values.extend(edges.map(|(edge, weight)| {
                let (from, to) = (edge.from, edge.node + alphas.space.inputs());
                value(&format!("edges_{}/{from}-{to}", kind.name), weight)
            }));
        }
        self.append(record.epoch, values)
    }
}

impl Observer<TrainingPhase> for EventFile {
    fn started(&mut self, _: &<TrainingPhase as Phase>::Summary) -> Result<()> {
        Ok(())
    }

    fn epoch(&mut self, record: &TrainingRecord, timing: &Timing, _: &Model) -> Result<()> {
        let mut values = vec![
            value("loss/train", record.train_loss),
            value("loss/test", record.test_loss),
            value("accuracy/train", record.train_accuracy),
            value("accuracy/test", record.test_accuracy),
            value("weight_lr", record.weight_lr),
            value("drop_path", record.drop_path),
            value("images_per_second", timing.images_per_second),
        ];
        let balanced = record.test_balanced_accuracy;
        values.extend(balanced.map(|balanced| value("accuracy/test_balanced", balanced)));
        self.append(record.epoch, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::alphas::ramp;
    use crate::space::derivation::derive;

    /// The events of a file, each checked against its checksums.
    fn events(mut bytes: &[u8]) -> Vec<Event> {
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(number(&bytes[8..12]), masked(crc32c::crc32c(&bytes[..8])));
            let event = &bytes[12..12 + length];
            assert_eq!(number(&bytes[12 + length..16 + length]), masked(crc32c::crc32c(event)));
            events.push(Event::decode(event).unwrap());
            bytes = &bytes[16 + length..];
        }
        events
    }

    #[test]
    fn epochs_become_events() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = EventFile::new(directory.path());
        let betas = vec![vec![0.5; 5], vec![1.0, 1.0, -1.0, 0.0, 2.0]];
        let alphas = Alphas { betas, ..ramp(2) };
        let mut record = crate::search::observer::example::record(1, derive(&alphas));
        let timing = crate::search::observer::example::timing(1);
        Observer::<SearchPhase>::epoch(&mut file, &record, &timing, &alphas).unwrap();
        record.epoch = 2;
        Observer::<SearchPhase>::epoch(&mut file, &record, &timing, &alphas).unwrap();
        let path = file.file.unwrap().0;
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        let mut resumed = EventFile::new(directory.path());
        Observer::<SearchPhase>::epoch(&mut resumed, &record, &timing, &alphas).unwrap();
        let other = events(&std::fs::read(resumed.file.unwrap().0).unwrap());
        assert_eq!((other[1].step, other[1].session.as_ref().unwrap().status), (2, START));
        let events = events(&std::fs::read(&path).unwrap());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!([events[1].step, events[2].step], [1, 2]);
        let values = &events[2].summary.as_ref().unwrap().value;
        // Ten numbers, and eight and a weight for each of the five edges of both cells.
        assert_eq!(values.len(), 10 + 2 * 5 * 9);
        let value = |tag: &str| values.iter().find(|value| value.tag == tag).unwrap().simple_value;
        assert_eq!(value("accuracy/valid"), 0.625);
        assert_eq!(
            value("mixing_normal/2-3/skip_connect"),
            alphas.weighing.weights(&alphas.tables[0][4 * 8..5 * 8])[3] as f32
        );
        assert_eq!(value("edges_normal/1-3"), (1.0f64 / 3.0) as f32);
        assert_eq!(value("edges_reduce/1-2"), 0.5);
    }

    /// The checksum of the letters of RFC 3720, appendix B.4: 32 zeros.
    #[test]
    fn checksums_are_those_of_the_format() {
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(masked(0), 0xa282_ead8);
    }
}
