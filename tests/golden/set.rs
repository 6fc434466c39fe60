//! Golden sets on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// One file of traces.
pub struct Set {
    /// Its name without `_f64.safetensors`.
    pub name: String,
    directory: PathBuf,
    tensors: HashMap<String, Tensor>,
    metadata: HashMap<String, String>,
}

/// A tensor in PyTorch's layout.
#[derive(Clone)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Set {
    /// All sets in a directory whose names begin with `kind`.
    pub fn all(directory: &Path, kind: &str) -> Vec<Set> {
        let entries = std::fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter_map(|file| file.strip_suffix("_f64.safetensors").map(str::to_string))
            .filter(|name| name.starts_with(&format!("{kind}_")) || name == kind)
            .collect();
        names.sort();
        names.iter().map(|name| Set::open(directory, name)).collect()
    }

    pub fn open(directory: &Path, name: &str) -> Set {
        let path = directory.join(format!("{name}_f64.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap_or_default();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = tensors
            .iter()
            .map(|(name, view)| {
                let values = view.data().chunks_exact(8).map(|bytes| {
                    let bytes = bytes.try_into().unwrap();
                    match view.dtype() {
                        Dtype::F64 => f64::from_le_bytes(bytes),
                        Dtype::I64 => i64::from_le_bytes(bytes) as f64,
                        other => panic!("{name}: {other:?}"),
                    }
                });
                (name.to_string(), Tensor { shape: view.shape().to_vec(), values: values.collect() })
            })
            .collect();
        Set { name: name.to_string(), directory: directory.to_path_buf(), tensors, metadata }
    }

    /// The set of the same directory that an iteration set starts from.
    pub fn base(&self) -> Set {
        let suffix =
            self.name.splitn(3, '_').nth(2).unwrap_or_else(|| panic!("{}: no set to start from", self.name));
        Set::open(&self.directory, &format!("base_{suffix}"))
    }

    pub fn number(&self, key: &str) -> f64 {
        let text =
            self.metadata.get(key).unwrap_or_else(|| panic!("{}: no {key} in the metadata", self.name));
        text.parse().unwrap_or_else(|e| panic!("{}: {key} = {text}: {e}", self.name))
    }

    pub fn get(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor {name}", self.name))
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// PyTorch's own float32 error in the group that a tensor belongs to: of this set if it was recorded, else of
    /// the repository's set that is most like it.
    pub fn noise(&self, tensor: &str) -> Option<f64> {
        let [own, repository] = [self.directory.clone(), super::own_directory()].map(|d| noise_table(&d));
        let alike: Vec<String> =
            self.name.rsplitn(2, '_').last().map(|kind| format!("{kind}_n4")).into_iter().collect();
        let tables = [
            own.as_ref().and_then(|t| t.get(&self.name)),
            repository.as_ref().and_then(|t| t.get(&self.name)),
        ]
        .into_iter()
        .chain(alike.iter().map(|name| repository.as_ref().and_then(|t| t.get(name))));
        tables.flatten().find_map(|table| longest_prefix(table, tensor))
    }
}

fn noise_table(directory: &Path) -> Option<serde_json::Value> {
    serde_json::from_slice(&std::fs::read(directory.join("noise.json")).ok()?).ok()
}

fn longest_prefix(table: &serde_json::Value, tensor: &str) -> Option<f64> {
    let groups = table.get("f32_vs_f64")?.as_object()?;
    let belongs = |group: &str| tensor == group || tensor.starts_with(&format!("{group}."));
    let group = groups.keys().filter(|group| belongs(group)).max_by_key(|group| group.len())?;
    groups[group].get("rel")?.as_f64()
}

impl Tensor {
    /// From NCHW to NHWC.
    pub fn to_nhwc(&self) -> Vec<f64> {
        let [n, c, h, w] = self.shape[..] else { panic!("{:?} is not an image batch", self.shape) };
        let index = |i: usize| {
            let (image, pixel, channel) = (i / (h * w * c), i / c % (h * w), i % c);
            (image * c + channel) * h * w + pixel
        };
        (0..n * c * h * w).map(|i| self.values[index(i)]).collect()
    }
}
