//! Golden sets on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// Where the repository's sets lie.
pub const OWN_DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/data");

/// One file of traces.
pub struct Set {
    /// Its name without `_f64.safetensors`.
    pub name: String,
    directory: PathBuf,
    tensors: HashMap<String, Tensor>,
    metadata: HashMap<String, String>,
    /// PyTorch's float32 errors: tables, the most fitting first; of several, the largest error counts.
    noise: Vec<Vec<serde_json::Value>>,
    /// The tables of [`ALIKE`].
    alike: Vec<serde_json::Value>,
}

/// Sets of a network that differs from those of the sets without errors of float32 in its mixing weights alone. A set has
/// none where its random numbers depend on the type; its names have the part of the trace before them, such as `rs.logits`.
const ALIKE: [&str; 4] = ["base_n2", "iters_first_n2", "fairdarts_n2", "nb201_search_nats"];

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
                let wide = |number: fn([u8; 8]) -> f64| -> Vec<f64> {
                    view.data().chunks_exact(8).map(|bytes| number(bytes.try_into().unwrap())).collect()
                };
                let values = match view.dtype() {
                    Dtype::F64 => wide(f64::from_le_bytes),
                    Dtype::I64 => wide(|bytes| i64::from_le_bytes(bytes) as f64),
                    Dtype::U8 => view.data().iter().map(|&byte| f64::from(byte)).collect(),
                    other => panic!("{name}: {other:?}"),
                };
                // DrNAS has a pool and its batch norm in a sequence `op`; members of AutoDL's supernet begin with _.
                let name = name
                    .replace(".op.1.running_", ".1.running_")
                    .replace("._cells.", ".cells.")
                    .replace("._stem.", ".stem.");
                // P-DARTS calls the edges of a cell and their operations otherwise.
                let name = name.replace(".cell_ops.", "._ops.").replace(".m_ops.", "._ops.");
                (name, Tensor { shape: view.shape().to_vec(), values })
            })
            .collect();
        Set {
            name: name.to_string(),
            directory: directory.to_path_buf(),
            tensors,
            metadata,
            noise: noise_tables(directory, name),
            alike: ALIKE
                .iter()
                .filter_map(|name| noise_of(Path::new(OWN_DIRECTORY)).get(name).cloned())
                .collect(),
        }
    }

    /// The set of the same directory that an iteration set starts from.
    pub fn base(&self) -> Set {
        let suffix =
            self.name.splitn(3, '_').nth(2).unwrap_or_else(|| panic!("{}: no set to start from", self.name));
        let name = format!("base_{suffix}");
        let beside = self.directory.join(format!("{name}_f64.safetensors")).exists();
        Set::open(if beside { &self.directory } else { Path::new(OWN_DIRECTORY) }, &name)
    }

    pub fn number(&self, key: &str) -> f64 {
        let text =
            self.metadata.get(key).unwrap_or_else(|| panic!("{}: no {key} in the metadata", self.name));
        text.parse().unwrap_or_else(|e| panic!("{}: {key} = {text}: {e}", self.name))
    }

    /// A text of the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub fn has_number(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
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

    /// The group that a tensor belongs to and PyTorch's own float32 error there, relative to the group's largest
    /// value: of this set if it was recorded, else the largest of the repository's sets of the same kind, else the largest
    /// of the sets [`ALIKE`].
    pub fn noise(&self, tensor: &str) -> Option<(String, f64)> {
        let largest = |tables: &[serde_json::Value], tensor: &str| {
            let errors = tables.iter().filter_map(|table| longest_prefix(table, tensor));
            errors.max_by(|a, b| a.1.total_cmp(&b.1))
        };
        let found = self.noise.iter().find_map(|tables| largest(tables, tensor));
        found.or_else(|| largest(&self.alike, tensor)).or_else(|| {
            let (part, name) = tensor.split_once('.')?;
            let name = name.replacen("param_after", "param", 1);
            let alike = [name.to_string(), format!("it1.{name}")];
            let (group, noise) = alike.iter().find_map(|name| largest(&self.alike, name))?;
            Some((format!("{part}.{group}"), noise))
        })
    }
}

/// The table of this very set, then those of the repository's sets of the same kind.
fn noise_tables(directory: &Path, name: &str) -> Vec<Vec<serde_json::Value>> {
    let (own, repository) = (noise_of(directory), noise_of(Path::new(OWN_DIRECTORY)));
    let kind = |name: &str| name.split("_n").next().unwrap_or_default().to_string();
    let alike = repository.as_object().into_iter().flatten().filter(|(other, _)| kind(other) == kind(name));
    let this = [own.get(name), repository.get(name)].into_iter().flatten().cloned();
    this.map(|table| vec![table]).chain([alike.map(|(_, table)| table.clone()).collect()]).collect()
}

/// The tables of a directory, by set.
fn noise_of(directory: &Path) -> serde_json::Value {
    let bytes = std::fs::read(directory.join("noise.json")).unwrap_or_else(|_| b"{}".to_vec());
    serde_json::from_slice(&bytes).unwrap()
}

fn longest_prefix(table: &serde_json::Value, tensor: &str) -> Option<(String, f64)> {
    let groups = table.get("f32_vs_f64").unwrap_or(table).as_object()?;
    let belongs = |group: &str| {
        let group = group.replace("._cells", ".cells").replace("._stem", ".stem");
        tensor == group || tensor.starts_with(&format!("{group}."))
    };
    let group = groups.keys().filter(|group| belongs(group)).max_by_key(|group| group.len())?;
    Some((group.clone(), groups[group].get("rel")?.as_f64()?))
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
