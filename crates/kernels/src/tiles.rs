//! Some channels of all rows at once: sums stay in registers.

use crate::Element;

/// A computation on some channels.
pub(crate) trait Tile {
    /// Computes `L` channels from the channel `from` on.
    fn run<const L: usize>(&mut self, from: usize);
}

/// Runs a computation on all channels.
#[inline(always)]
pub(crate) fn for_each(channels: usize, tile: &mut impl Tile) {
    let mut from = 0;
    while channels - from >= 16 {
        tile.run::<16>(from);
        from += 16;
    }
    while channels - from >= 8 {
        tile.run::<8>(from);
        from += 8;
    }
    while from < channels {
        tile.run::<1>(from);
        from += 1;
    }
}

/// These channels of a row; 0 where the row has none.
#[inline(always)]
pub(crate) fn load<T: Element, const L: usize>(row: &[T], from: usize) -> [f32; L] {
    match row.get(from..).and_then(<[T]>::first_chunk::<L>) {
        Some(chunk) => chunk.map(T::widen),
        None => [0.0; L],
    }
}

/// Writes these channels of a row.
#[inline(always)]
pub(crate) fn store<const L: usize>(row: &mut [f32], from: usize, values: [f32; L]) {
    if let Some(chunk) = row.get_mut(from..).and_then(<[f32]>::first_chunk_mut::<L>) {
        *chunk = values;
    }
}
