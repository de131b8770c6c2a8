//! What images and masks must be like for a network: kept in its weights file, wherever the file goes.

use config::{AmpDtype, ImageSize, Overrides, RunConfig};
use data::Reading;
use serde::{Deserialize, Serialize};

/// Version 2 has the channels and the ranges of images; version 1 had one range.
const SCHEMA_VERSION: u32 = 2;
/// With windows: a program that does not know them would resize the images.
const WITH_WINDOWS: u32 = 3;

/// The settings of the run that made a network, as far as those who use it need them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "keys of a configuration, as in the file"
)]
pub struct Contract {
    schema_version: u32,
    /// Height and width in pixels.
    img_size: [u32; 2],
    /// Whether windows of this size were cut from images; files from before there was a choice do not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    crop: bool,
    use_amp: bool,
    amp_dtype: AmpDtype,
    use_channels_last: bool,
    /// Whether libtorch's operators trained it; files from before there was a choice do not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    exact_kernels: bool,
    /// Seed and share of the images for validation, by which a folder without such a part is split.
    seed: u64,
    val_percent: f64,
    /// The probability above which a pixel is foreground, best in the validation of these weights; `None`
    /// for several classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// How files become samples; `None` for built-in pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
}

impl Contract {
    /// Its key in a file's metadata.
    pub(super) const KEY: &str = "snug";

    /// The contract of a network that is trained under `config` on files read by `reading`, and is best at
    /// `threshold`.
    pub fn of(config: &RunConfig, reading: Option<&Reading>, threshold: Option<f64>) -> Self {
        Self {
            schema_version: if config.crop {
                WITH_WINDOWS
            } else {
                SCHEMA_VERSION
            },
            img_size: [config.img_size.height, config.img_size.width],
            crop: config.crop,
            use_amp: config.use_amp,
            amp_dtype: config.amp_dtype,
            use_channels_last: config.use_channels_last,
            exact_kernels: config.exact_kernels,
            seed: config.seed,
            val_percent: config.val_percent,
            threshold,
            reading: reading.cloned(),
        }
    }

    /// Reads an entry of metadata; `None` for what this version did not write.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        let contract: Self = serde_json::from_str(text).ok()?;
        let is_sound = contract
            .reading
            .as_ref()
            .is_none_or(|reading| reading.mask.is_sound() && reading.image.is_sound());
        let is_sound = is_sound
            && contract
                .threshold
                .is_none_or(|it| (0.0..=1.0).contains(&it));
        ((1..=WITH_WINDOWS).contains(&contract.schema_version) && is_sound).then_some(contract)
    }

    /// The safetensors file `bytes`, with this contract after the only other entry of its metadata; `None`
    /// if they have another form.
    pub(super) fn added_to(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        const FIRST: &str = r#"{"__metadata__":{"format":"pt""#;
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (header, tensors) = rest.split_at_checked(length)?;
        let after = header.strip_prefix(FIRST.as_bytes())?.trim_ascii_end();
        // Metadata are strings.
        let value = serde_json::to_string(&serde_json::to_string(self).ok()?).ok()?;
        let mut header = format!(r#"{FIRST},"{}":{value}"#, Self::KEY).into_bytes();
        header.extend_from_slice(after);
        // Tensors start at a multiple of eight.
        header.resize(header.len().next_multiple_of(8), b' ');
        let length = (header.len() as u64).to_le_bytes();
        Some([&length[..], &header, tensors].concat())
    }

    /// Takes the settings that no flag gives from here.
    pub fn fill(&self, flags: &mut Overrides) {
        let [height, width] = self.img_size;
        flags.img_size.get_or_insert(ImageSize::new(height, width));
        flags.crop.get_or_insert(self.crop);
        flags.use_amp.get_or_insert(self.use_amp);
        flags.amp_dtype.get_or_insert(self.amp_dtype);
        flags
            .use_channels_last
            .get_or_insert(self.use_channels_last);
        flags.exact_kernels.get_or_insert(self.exact_kernels);
        flags.seed.get_or_insert(self.seed);
        flags.val_percent.get_or_insert(self.val_percent);
    }
}
