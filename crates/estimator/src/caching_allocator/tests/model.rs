//! The simplest possible allocator: segments are lists of blocks, every choice looks
//! at all blocks, and every figure is summed anew. Its numbers are written out, so
//! that a wrong constant in the allocator shows up.

const MIB: u64 = 1_048_576;

#[derive(Clone, Copy, Debug)]
struct Piece {
    size: u64,
    tensor: Option<usize>,
}

#[derive(Debug)]
struct Segment {
    is_small: bool,
    pieces: Vec<Piece>,
}

impl Segment {
    fn size(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.size).sum()
    }

    fn merge(&mut self) {
        let mut merged: Vec<Piece> = Vec::new();
        for piece in self.pieces.drain(..) {
            match merged.last_mut() {
                Some(last) if last.tensor.is_none() && piece.tensor.is_none() => {
                    last.size += piece.size;
                }
                _ => merged.push(piece),
            }
        }
        self.pieces = merged;
    }
}

#[derive(Debug)]
pub(super) struct Model {
    cap: u64,
    segments: Vec<Segment>,
    num_tensors_ever: usize,
}

impl Model {
    pub(super) fn new(cap: u64) -> Self {
        Self {
            cap,
            segments: Vec::new(),
            num_tensors_ever: 0,
        }
    }

    /// Returns the number of the tensor, or `None` if out of memory.
    pub(super) fn allocate(&mut self, bytes: u64) -> Option<usize> {
        let tensor = self.num_tensors_ever;
        if bytes == 0 {
            self.num_tensors_ever += 1;
            return Some(tensor);
        }
        if bytes >= 1_152_921_504_606_846_976 {
            return None;
        }
        let size = bytes.div_ceil(512) * 512;
        let is_small = size <= 1_048_576;
        let (segment, piece) = match self.best_fit(size, is_small) {
            Some(place) => place,
            None => (self.reserve(size, is_small)?, 0),
        };
        let pieces = &mut self.segments[segment].pieces;
        let rest = pieces[piece].size - size;
        let least_rest = if is_small { 512 } else { 1_048_577 };
        pieces[piece].tensor = Some(tensor);
        if rest >= least_rest {
            pieces[piece].size = size;
            let free = Piece {
                size: rest,
                tensor: None,
            };
            pieces.insert(piece + 1, free);
        }
        self.num_tensors_ever += 1;
        Some(tensor)
    }

    /// The first of the smallest free pieces that hold `size`.
    fn best_fit(&self, size: u64, is_small: bool) -> Option<(usize, usize)> {
        let mut best: Option<(u64, (usize, usize))> = None;
        for (s, segment) in self.segments.iter().enumerate() {
            for (p, piece) in segment.pieces.iter().enumerate() {
                let fits =
                    segment.is_small == is_small && piece.tensor.is_none() && piece.size >= size;
                if fits && best.is_none_or(|(least, _)| piece.size < least) {
                    best = Some((piece.size, (s, p)));
                }
            }
        }
        best.map(|(_, place)| place)
    }

    fn reserve(&mut self, size: u64, is_small: bool) -> Option<usize> {
        let needed = if is_small {
            2 * MIB
        } else if size < 10 * MIB {
            20 * MIB
        } else {
            size.div_ceil(2 * MIB) * 2 * MIB
        };
        let fits = |model: &Self| {
            let total = u128::from(model.figures().1) + u128::from(needed);
            // No device has more than 1 EiB.
            total <= u128::from(model.cap).min(1 << 60)
        };
        if !fits(self) {
            self.empty_cache();
        }
        if !fits(self) {
            return None;
        }
        self.segments.push(Segment {
            is_small,
            pieces: vec![Piece {
                size: needed,
                tensor: None,
            }],
        });
        Some(self.segments.len() - 1)
    }

    pub(super) fn free(&mut self, tensor: usize) {
        for segment in &mut self.segments {
            for piece in &mut segment.pieces {
                if piece.tensor == Some(tensor) {
                    piece.tensor = None;
                }
            }
            segment.merge();
        }
    }

    pub(super) fn empty_cache(&mut self) {
        let is_held = |segment: &Segment| segment.pieces.iter().any(|piece| piece.tensor.is_some());
        self.segments.retain(is_held);
    }

    /// Allocated and reserved bytes.
    pub(super) fn figures(&self) -> (u64, u64) {
        let pieces = self.segments.iter().flat_map(|segment| &segment.pieces);
        let held = pieces.filter(|piece| piece.tensor.is_some());
        (
            held.map(|piece| piece.size).sum(),
            self.segments.iter().map(Segment::size).sum(),
        )
    }

    /// The pieces of every segment: size, and whether a tensor holds it.
    pub(super) fn layout(&self) -> Vec<Vec<(u64, bool)>> {
        let of = |piece: &Piece| (piece.size, piece.tensor.is_some());
        self.segments
            .iter()
            .map(|segment| segment.pieces.iter().map(of).collect())
            .collect()
    }
}
