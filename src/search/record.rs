//! The line of `metrics.jsonl` that an epoch of a search leaves. What there is of each type of cell has a key of its own:
//! `entropy_normal`, `entropy_reduce`, `skip_connections`, `skip_connections_reduce`. `edge_weights_normal` and
//! `edge_weights_reduce`, an edge an entry, `eigenvalue` with `eigenvalue_passes`, what it cost, `selected` and `guards` stand
//! only where there is something to say.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::lanczos::Eigenvalue;
use super::observer::EpochRecord;
use crate::space::Space;

/// The keys that an epoch has only where something was measured or said.
const EIGENVALUE: &str = "eigenvalue";
const PASSES: &str = "eigenvalue_passes";
const SELECTED: &str = "selected";
const GUARDS: &str = "guards";
/// Passes forward and backward that a product with the Hessian takes.
const PASSES_PER_PRODUCT: usize = 2;

/// The key of the mean entropy of a type of cell.
fn entropy_key(space: &Space, cell: usize) -> String {
    format!("entropy_{}", space.cells()[cell].name)
}

/// The key of the weights of a type of cell's edges.
fn edge_weights_key(space: &Space, cell: usize) -> String {
    format!("edge_weights_{}", space.cells()[cell].name)
}

/// The key of the skip connections of a type of cell; the first type's has no name in it.
fn skip_key(space: &Space, cell: usize) -> String {
    match cell {
        0 => "skip_connections".to_owned(),
        _ => format!("skip_connections_{}", space.cells()[cell].name),
    }
}

impl Serialize for EpochRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let space = &self.genotype.space;
        let cells = space.cells().len();
        if self.entropy.len() != cells || self.skip_connections.len() != cells {
            return Err(S::Error::custom("an epoch has values for each type of cell"));
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("epoch", &self.epoch)?;
        map.serialize_entry("train_loss", &self.train_loss)?;
        map.serialize_entry("train_accuracy", &self.train_accuracy)?;
        map.serialize_entry("valid_loss", &self.valid_loss)?;
        map.serialize_entry("valid_accuracy", &self.valid_accuracy)?;
        for (cell, entropy) in self.entropy.iter().enumerate() {
            map.serialize_entry(&entropy_key(space, cell), entropy)?;
        }
        for (cell, skips) in self.skip_connections.iter().enumerate() {
            map.serialize_entry(&skip_key(space, cell), skips)?;
        }
        for (cell, weights) in self.edge_weights.iter().enumerate() {
            map.serialize_entry(&edge_weights_key(space, cell), weights)?;
        }
        map.serialize_entry("weight_lr", &self.weight_lr)?;
        map.serialize_entry("genotype", &self.genotype)?;
        if let Some(Eigenvalue { value, products }) = self.eigenvalue {
            map.serialize_entry(EIGENVALUE, &value)?;
            map.serialize_entry(PASSES, &(PASSES_PER_PRODUCT * products))?;
        }
        if !self.selected.is_empty() {
            map.serialize_entry(SELECTED, &self.selected)?;
        }
        if !self.guards.is_empty() {
            map.serialize_entry(GUARDS, &self.guards)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for EpochRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = Map::deserialize(deserializer)?;
        let genotype: crate::space::genotype::Genotype =
            take(&mut map, "genotype").map_err(D::Error::custom)?;
        let space = &genotype.space;
        let cells = 0..space.cells().len();
        let mut read = || -> Result<EpochRecord, String> {
            Ok(EpochRecord {
                epoch: take(&mut map, "epoch")?,
                train_loss: take(&mut map, "train_loss")?,
                train_accuracy: take(&mut map, "train_accuracy")?,
                valid_loss: take(&mut map, "valid_loss")?,
                valid_accuracy: take(&mut map, "valid_accuracy")?,
                entropy: cells
                    .clone()
                    .map(|cell| take(&mut map, &entropy_key(space, cell)))
                    .collect::<Result<_, _>>()?,
                skip_connections: cells
                    .clone()
                    .map(|cell| take(&mut map, &skip_key(space, cell)))
                    .collect::<Result<_, _>>()?,
                edge_weights: cells
                    .clone()
                    .map(|cell| edge_weights_key(space, cell))
                    .filter(|key| map.contains_key(key))
                    .collect::<Vec<_>>()
                    .iter()
                    .map(|key| take(&mut map, key))
                    .collect::<Result<_, _>>()?,
                weight_lr: take(&mut map, "weight_lr")?,
                genotype: genotype.clone(),
                eigenvalue: eigenvalue(&mut map)?,
                selected: if map.contains_key(SELECTED) { take(&mut map, SELECTED)? } else { Vec::new() },
                guards: if map.contains_key(GUARDS) { take(&mut map, GUARDS)? } else { Vec::new() },
            })
        };
        read().map_err(D::Error::custom)
    }
}

/// The eigenvalue of an epoch in which it was measured.
fn eigenvalue(map: &mut Map<String, Value>) -> Result<Option<Eigenvalue>, String> {
    if !map.contains_key(EIGENVALUE) {
        return Ok(None);
    }
    let (value, passes): (f64, usize) = (take(map, EIGENVALUE)?, take(map, PASSES)?);
    Ok(Some(Eigenvalue { value, products: passes / PASSES_PER_PRODUCT }))
}

fn take<T: DeserializeOwned>(map: &mut Map<String, Value>, key: &str) -> Result<T, String> {
    let value = map.remove(key).ok_or_else(|| format!("missing field `{key}`"))?;
    serde_json::from_value(value).map_err(|error| format!("field `{key}`: {error}"))
}
