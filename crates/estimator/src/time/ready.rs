//! When each gradient is there during backward, as far as that does not depend on the device.

use config::{Block, DoubleConv, Network};

/// A convolution, in the order of backward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ready {
    /// The share of backward that has passed when its own begins.
    pub(super) begins: f64,
    /// The share of all gradients that are not there before: its own, and those of the convolutions after it.
    pub(super) left: f64,
}

impl Ready {
    /// All convolutions of a network.
    pub(super) fn all(network: &Network) -> Vec<Self> {
        // Elements of each weight, and the level of the pixels that it multiplies.
        let double = |conv: &DoubleConv, level: u32| {
            let (inputs, outputs) = (f64::from(conv.in_channels), f64::from(conv.out_channels));
            vec![
                (9.0 * inputs * outputs, level),
                (9.0 * outputs * outputs, level),
            ]
        };
        let blocks = network.blocks();
        let weights = blocks.iter().flat_map(|block| match block {
            Block::Down { level, conv } | Block::Bottleneck { level, conv } => double(conv, *level),
            Block::Up {
                level,
                transpose,
                conv,
            } => {
                let (inputs, outputs) = (
                    f64::from(transpose.in_channels),
                    f64::from(transpose.out_channels),
                );
                let mut all = vec![(4.0 * inputs * outputs, level + 1)];
                all.extend(double(conv, *level));
                all
            }
            Block::Head {
                in_channels,
                out_channels,
                ..
            } => {
                vec![(f64::from(*in_channels) * f64::from(*out_channels), 0)]
            }
        });
        // Each level has a quarter of the pixels.
        let mut weights: Vec<(f64, f64)> = weights
            .map(|(it, level)| (it, it / 4_f64.powf(f64::from(level))))
            .collect();
        weights.reverse();
        let (bytes, work) = weights
            .iter()
            .fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let (mut sent, mut done) = (0.0, 0.0);
        let ready = weights.into_iter().map(|(own_bytes, own_work)| {
            let ready = Self {
                begins: done / work,
                left: 1.0 - sent / bytes,
            };
            (sent, done) = (sent + own_bytes, done + own_work);
            ready
        });
        ready.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bulk of the gradients is in the middle of the network, and so of backward: shares of the guide's network in %.
    #[test]
    fn gradients_come_in_the_middle_of_backward() {
        let percent = |share: f64| (100.0 * share).round();
        let all = Ready::all(&Network::new(64, 1));
        let shares: Vec<_> = all
            .iter()
            .map(|it| (percent(it.begins), percent(1.0 - it.left)))
            .collect();
        for wanted in [
            (0.0, 0.0),
            (54.0, 17.0),
            (65.0, 39.0),
            (70.0, 70.0),
            (72.0, 85.0),
            (85.0, 98.0),
        ] {
            assert!(shares.contains(&wanted), "{wanted:?}: {shares:?}");
        }
    }
}
