//! Files that workers share: weights and batches for each size of work, and pages to train on.
//! Snug's own worker writes them on the CPU.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use config::{CheckpointPolicy, ImageSize, Precision};

use crate::case::{Case, Implementation};
use crate::error::{Error, Result};
use crate::protocol::{Spec, WorkerRequest};
use crate::worker::{Failure, Programs, Worker};

/// The number of batches that steps take in turn. They are bytes of images and masks that stay on the device.
pub(crate) const BATCHES: u32 = 4;
/// The built-in pages for training and validation if no folder was given.
const PAGES: (u32, u32) = (64, 16);

/// The files for one size of work.
#[derive(Debug, Clone)]
pub struct Files {
    /// Initial weights.
    pub weights: PathBuf,
    /// Batches.
    pub batches: PathBuf,
}

/// The folder of these files. It is removed at the end, or when the next run begins.
#[derive(Debug)]
pub struct Shared {
    folder: PathBuf,
    programs: Programs,
    threads: usize,
    files: HashMap<(ImageSize, u32, u32), Files>,
}

impl Shared {
    /// Shares files in `folder`.
    pub fn new(folder: &Path, programs: &Programs, threads: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            programs: programs.clone(),
            threads,
            files: HashMap::new(),
        }
    }

    /// The files for `case`, which are written on first use.
    ///
    /// # Errors
    /// Fails if Snug's worker cannot write them.
    pub fn files(&mut self, case: &Case) -> Result<Files> {
        if let Some(files) = self.files.get(&case.work()) {
            return Ok(files.clone());
        }
        let name = |what: &str| {
            let size = format!("{}-{}-{}", case.img_size, case.width, case.batch);
            self.folder.join(format!("{what}-{size}.safetensors"))
        };
        let files = Files {
            weights: name("weights"),
            batches: name("batches"),
        };
        let request = WorkerRequest::Export {
            weights: files.weights.clone(),
            batches: files.batches.clone(),
            count: BATCHES,
        };
        self.ask(case, &request)?;
        self.files.insert(case.work(), files.clone());
        Ok(files)
    }

    /// The pages to train on, in the image size of `case`.
    ///
    /// # Errors
    /// Fails as [`Self::files`] does.
    pub fn pages(&self, case: &Case) -> Result<PathBuf> {
        let folder = self.folder.join("pages");
        let request = WorkerRequest::Pages {
            folder: folder.clone(),
            train: PAGES.0,
            val: PAGES.1,
        };
        self.ask(case, &request)?;
        Ok(folder)
    }

    fn ask(&self, case: &Case, request: &WorkerRequest) -> Result<()> {
        let snug = Case {
            implementation: Implementation::Snug,
            precision: Precision::Fp32,
            policy: CheckpointPolicy::Off,
            split_concat: false,
            ..*case
        };
        let spec = Spec::new(&snug, "cpu", self.threads);
        let mut worker = Worker::start(&self.programs, &spec)?.map_err(|f| own(&f))?;
        worker.ask(request).map_err(|f| own(&f)).map(drop)
    }
}

/// The error when Snug's own worker fails, without which nothing can be compared.
pub(crate) fn own(failure: &Failure) -> Error {
    Error::Worker {
        message: failure.message().to_owned(),
    }
}
