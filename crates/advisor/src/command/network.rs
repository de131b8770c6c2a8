//! The flags that name a network and its images, which several commands share.

use config::{ImageSize, Overrides};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct NetworkArgs {
    /// Image size, height x width, in multiples of 16.
    #[arg(long, value_name = "HxW")]
    pub(super) img_size: Option<ImageSize>,
    /// Channels of the first level; 64 is the guide's network.
    #[arg(long, value_name = "N")]
    pub(super) width: Option<u32>,
    /// Classes of the masks; 1 is foreground against background.
    #[arg(long, value_name = "N")]
    pub(super) classes: Option<u32>,
}

impl NetworkArgs {
    /// What was given, over a configuration.
    pub(super) fn overrides(self) -> Overrides {
        Overrides {
            img_size: self.img_size,
            width: self.width,
            classes: self.classes,
            ..Overrides::default()
        }
    }
}
