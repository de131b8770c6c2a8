//! Rates of a device that were fitted to steps measured on it: the file beside the ledger.
//!
//! `SNUG_CALIBRATION` names another, or is `off`. `advisor calibrate --write` makes it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ledger::{Device, Place};

/// Of the file that is written and understood.
const SCHEMA_VERSION: u32 = 1;

/// What was fitted, device by device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    schema_version: u32,
    /// At most one for each device, precision and memory format.
    pub fits: Vec<Fitted>,
}

/// The rates of a device in one precision and memory format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// The device.
    pub device: Device,
    /// `fp32`, `tf32`, `fp16` or `bf16`.
    pub precision: String,
    /// `channels-last` or `channels-first`.
    pub memory_format: String,
    /// FLOP/s within convolutions.
    pub conv_flops: f64,
    /// Bytes per second of what is not a convolution.
    pub memory_bytes_per_second: f64,
    /// Measured recipes that it is fitted to.
    pub num_measurements: usize,
    /// Day of the newest.
    pub date: String,
}

/// The file cannot be read, written or understood.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`: {source}", path.display())]
pub struct CalibrationError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            fits: Vec::new(),
        }
    }
}

/// Where the file is: `SNUG_CALIBRATION`, a path or `off`; else `calibration.json` beside the ledger.
pub fn place() -> Place {
    place_of(env::var_os("SNUG_CALIBRATION"), Place::of_environment())
}

fn place_of(variable: Option<OsString>, ledger: Place) -> Place {
    match (variable.filter(|value| !value.is_empty()), ledger) {
        (Some(value), _) if value == "off" => Place::Off,
        (Some(path), _) => Place::File(path.into()),
        (None, Place::File(ledger)) => Place::File(ledger.with_file_name("calibration.json")),
        (None, nowhere) => nowhere,
    }
}

impl Calibration {
    /// Reads the file; nothing is fitted where there is none.
    ///
    /// # Errors
    /// Where the file is there and cannot be read, or is something else.
    pub fn read(place: &Place) -> Result<Self, CalibrationError> {
        let Place::File(path) = place else {
            return Ok(Self::default());
        };
        let error = |source| CalibrationError {
            doing: "use",
            path: path.clone(),
            source,
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(error(source)),
        };
        Self::from_json(&text).map_err(error)
    }

    /// The same of the contents of a file.
    ///
    /// # Errors
    /// Where they are something else.
    pub fn from_json(text: &str) -> io::Result<Self> {
        let found: Self = serde_json::from_str(text)?;
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0;
        let rates_are =
            |fit: &Fitted| is_rate(fit.conv_flops) && is_rate(fit.memory_bytes_per_second);
        if found.schema_version != SCHEMA_VERSION {
            let version = found.schema_version;
            let message = format!("its `schema_version` is {version}, not {SCHEMA_VERSION}");
            return Err(io::Error::other(message));
        }
        if !found.fits.iter().all(rates_are) {
            return Err(io::Error::other("a rate is not above 0"));
        }
        Ok(found)
    }

    /// Writes the file: beside it first, so that it is whole at any moment.
    ///
    /// # Errors
    /// Where it cannot be written; what was there stays.
    pub fn write(&self, path: &Path) -> Result<(), CalibrationError> {
        let write = || -> io::Result<()> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let text = serde_json::to_string_pretty(self)?;
            let beside = path.with_extension(format!("json.{}", std::process::id()));
            fs::write(&beside, text + "\n")?;
            fs::rename(&beside, path)
        };
        write().map_err(|source| CalibrationError {
            doing: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Takes a fit in, in the place of an older one.
    pub fn take(&mut self, fit: Fitted) {
        let key = |it: &Fitted| (it.precision.clone(), it.memory_format.clone());
        self.fits
            .retain(|it| !it.device.is_like(&fit.device) || key(it) != key(&fit));
        self.fits.push(fit);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn fit(device: Device, precision: &str, conv_flops: f64) -> Fitted {
        Fitted {
            device,
            precision: precision.to_owned(),
            memory_format: "channels-last".to_owned(),
            conv_flops,
            memory_bytes_per_second: 1e10,
            num_measurements: 7,
            date: "2026-01-02".to_owned(),
        }
    }

    #[test]
    fn places() {
        let ledger = || Place::File("a/ledger.jsonl".into());
        let beside = Place::File("a/calibration.json".into());
        assert_eq!(place_of(None, ledger()), beside);
        assert_eq!(place_of(Some("".into()), ledger()), beside);
        assert_eq!(place_of(Some("off".into()), ledger()), Place::Off);
        assert_eq!(
            place_of(Some("x".into()), Place::Off),
            Place::File("x".into())
        );
        assert_eq!(place_of(None, Place::Homeless), Place::Homeless);
    }

    #[test]
    fn a_newer_fit_takes_the_place_of_an_older() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::File(dir.path().join("new/calibration.json"));
        let mut calibration = Calibration::read(&place).unwrap();
        assert_eq!(calibration, Calibration::default());
        for (name, precision, flops) in [
            ("a", "fp16", 1.0),
            ("a", "tf32", 2.0),
            ("b", "fp16", 3.0),
            ("a", "fp16", 4.0),
        ] {
            calibration.take(fit(Device::gpu(name), precision, flops));
        }
        let flops: Vec<f64> = calibration.fits.iter().map(|it| it.conv_flops).collect();
        assert!(flops == [2.0, 3.0, 4.0]);
        let Place::File(path) = &place else {
            unreachable!()
        };
        calibration.write(path).unwrap();
        assert_eq!(Calibration::read(&place).unwrap(), calibration);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_calibration_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calibration.json");
        let place = Place::File(path.clone());
        let mut zero = Calibration::default();
        zero.take(fit(Device::gpu("a"), "fp16", 0.0));
        for text in [
            "{",
            "[]",
            "{\"schema_version\":2,\"fits\":[]}",
            &serde_json::to_string(&zero).unwrap(),
        ] {
            fs::write(&path, text).unwrap();
            let message = Calibration::read(&place).unwrap_err().to_string();
            assert!(message.starts_with("cannot use `"), "{message}");
        }
    }
}
