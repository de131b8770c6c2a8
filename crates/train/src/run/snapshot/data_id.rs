//! The identity of a run's data: a snapshot's sample order is meaningless for other data.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::file::hex;
use crate::run::run_data::{Pages, RunData};
use data::{Reading, Source};

/// The source of the data and its samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataId {
    /// The name of the data in file names.
    pub name: String,
    /// The folder, absolute; `None` for built-in pages.
    pub folder: Option<String>,
    /// Training images.
    pub train: u64,
    /// Validation images.
    pub val: u64,
    /// SHA-256 of the images' names in order, training first.
    pub names: String,
    /// Changes with any pixel; `None` for built-in pages, and in snapshots of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<u64>,
    /// How files become samples; `None` for built-in pages, and in snapshots of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
}

impl DataId {
    /// The identity of `data`, which is called `name` and came from `folder`.
    pub fn of(data: &RunData, name: &str, folder: Option<String>) -> Self {
        let (train, val) = (data.train.source(), data.val.source());
        let mut hash = Sha256::new();
        for source in [train, val] {
            add_names(&mut hash, source.as_ref());
        }
        Self {
            name: name.to_owned(),
            folder,
            train: train.num_images() as u64,
            val: val.num_images() as u64,
            names: hex(&hash.finalize()),
            contents: data.contents,
            reading: data.reading.clone(),
        }
    }

    /// This many built-in pages.
    pub fn pages(&self) -> Pages {
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Pages {
            train: count(self.train),
            val: count(self.val),
        }
    }

    /// How `now` differs from this data, in words; the folder and the name may differ.
    pub fn differs_from(&self, now: &Self) -> Option<String> {
        if (self.train, self.val) != (now.train, now.val) {
            return Some(format!(
                "the run trains on {} images and validates on {}, here are {} and {}",
                self.train, self.val, now.train, now.val
            ));
        }
        if self.names != now.names {
            return Some("images were renamed, added or removed since it was written".to_owned());
        }
        let contents = self.contents.zip(now.contents);
        if contents.is_some_and(|(before, now)| before != now) {
            return Some("images or masks were altered since it was written".to_owned());
        }
        let readings = self.reading.as_ref().zip(now.reading.as_ref());
        readings
            .is_some_and(|(before, now)| !before.mask.reads_as(&now.mask))
            .then(|| "the values of masks have other classes since it was written".to_owned())
    }
}

fn add_names(hash: &mut Sha256, source: &dyn Source) {
    for image in 0..source.num_images() {
        let name = source.name(source.samples_of(image).start);
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    hash.update(u64::MAX.to_le_bytes());
}
