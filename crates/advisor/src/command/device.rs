//! The flags that name a device, which several commands share.

use std::process::ExitCode;

use crate::{Target, place};
use config::SizeArg;
use machine::{Device, Hardware};

use super::{log, refuse};

#[derive(Debug, clap::Args)]
pub(super) struct DeviceArgs {
    /// For a card with this much free memory, such as `8GiB`
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    vram: Option<SizeArg>,
    /// For this card, such as `RTX 3060`
    #[arg(long, value_name = "NAME")]
    gpu: Option<String>,
}

impl DeviceArgs {
    /// The device that the flags name, or else the one found here.
    pub(super) fn or_found(&self) -> Result<Device, ExitCode> {
        let named = self.named()?;
        Ok(named.unwrap_or_else(place::found))
    }

    /// The device that the flags name, or else a typical card, which is the same on every machine.
    pub(super) fn or_typical(&self) -> Result<Device, ExitCode> {
        let named = self.named()?;
        Ok(match (named, Hardware::typical()) {
            (Some(device), _) => device,
            (None, Some(card)) => Device::Given {
                memory: card.memory,
                card: Some(card),
            },
            (None, None) => place::found(),
        })
    }

    pub(super) const fn is_named(&self) -> bool {
        self.vram.is_some() || self.gpu.is_some()
    }

    /// The card that the flags name.
    pub(super) fn named(&self) -> Result<Option<Device>, ExitCode> {
        if let Some(note) = self.vram.as_ref().and_then(|size| size.note.as_ref()) {
            log(&format!("note: {note}"));
        }
        let memory = self.vram.as_ref().map(|size| size.bytes);
        place::named(memory, self.gpu.as_deref())
            .map_err(|error| refuse(&error.to_string(), error.hint().as_deref()))
    }
}

/// As [`place::tuned`], with its notes on stderr.
pub(super) fn tuned(device: &Device) -> Target {
    let (target, notes) = place::tuned(device);
    for note in notes {
        log(&note);
    }
    target
}
