//! The simplest possible allocator: segments are lists of blocks, every choice looks
//! at all blocks, and every figure is summed anew. Its numbers are written out, so
//! that a wrong constant in the allocator shows up.

use machine::Segments;

const MIB: u64 = 1_048_576;

#[derive(Clone, Copy, Debug)]
struct Piece {
    size: u64,
    tensor: Option<usize>,
    is_mapped: bool,
}

#[derive(Debug)]
struct Segment {
    is_small: bool,
    pieces: Vec<Piece>,
}

impl Segment {
    fn size(&self) -> u64 {
        let mapped = self.pieces.iter().filter(|piece| piece.is_mapped);
        mapped.map(|piece| piece.size).sum()
    }

    /// The first piece of a run of free ones, one of them unmapped, that has room for `size`.
    fn room_for(&self, size: u64) -> Option<usize> {
        (0..self.pieces.len()).find(|&start| {
            let run: Vec<_> = self.pieces[start..]
                .iter()
                .take_while(|piece| piece.tensor.is_none())
                .collect();
            let begins = run.iter().take(2).any(|piece| !piece.is_mapped);
            begins && run.iter().map(|piece| piece.size).sum::<u64>() >= size
        })
    }

    /// Takes memory away from the pages that are free from end to end.
    fn unmap(&mut self) {
        let page = if self.is_small { 2 * MIB } else { 20 * MIB };
        let mut at = 0;
        let mut pieces = Vec::new();
        for piece in self.pieces.drain(..) {
            let end = at + piece.size;
            let is_free = piece.tensor.is_none() && piece.is_mapped;
            let (from, to) = (at.div_ceil(page) * page, end / page * page);
            if is_free && from < to {
                for (size, is_mapped) in [(from - at, true), (to - from, false), (end - to, true)] {
                    pieces.push(Piece {
                        size,
                        tensor: None,
                        is_mapped,
                    });
                }
            } else {
                pieces.push(piece);
            }
            at = end;
        }
        pieces.retain(|piece| piece.size > 0);
        self.pieces = pieces;
        self.merge();
    }

    fn merge(&mut self) {
        let mut merged: Vec<Piece> = Vec::new();
        for piece in self.pieces.drain(..) {
            match merged.last_mut() {
                Some(last)
                    if last.tensor.is_none()
                        && piece.tensor.is_none()
                        && last.is_mapped == piece.is_mapped =>
                {
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
    kind: Segments,
    cap: u64,
    segments: Vec<Segment>,
    num_tensors_ever: usize,
}

impl Model {
    pub(super) fn new(kind: Segments, cap: u64) -> Self {
        Self {
            kind,
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
            None => self.reserve(size, is_small)?,
        };
        let pieces = &mut self.segments[segment].pieces;
        let rest = pieces[piece].size - size;
        let splits_finely = is_small || self.kind == Segments::Expandable;
        let least_rest = if splits_finely { 512 } else { 1_048_577 };
        pieces[piece].tensor = Some(tensor);
        if rest >= least_rest {
            pieces[piece].size = size;
            let free = Piece {
                size: rest,
                tensor: None,
                is_mapped: true,
            };
            pieces.insert(piece + 1, free);
        }
        self.num_tensors_ever += 1;
        Some(tensor)
    }

    /// The first of the smallest free pieces that hold `size`; of those that can grow, and have
    /// larger ones behind them that end sooner, the last of these.
    fn best_fit(&self, size: u64, is_small: bool) -> Option<(usize, usize)> {
        let mut fitting: Vec<(u64, u64, (usize, usize))> = Vec::new();
        for (s, segment) in self.segments.iter().enumerate() {
            for (p, piece) in segment.pieces.iter().enumerate() {
                let fits = segment.is_small == is_small
                    && piece.tensor.is_none()
                    && piece.is_mapped
                    && piece.size >= size;
                if fits {
                    let next = segment.pieces.get(p + 1);
                    let more = next.filter(|it| !it.is_mapped).map_or(0, |it| it.size);
                    fitting.push((piece.size, piece.size + more, (s, p)));
                }
            }
        }
        fitting.sort_by_key(|&(size, _, _)| size);
        let stays = |pair: &&[(u64, u64, (usize, usize))]| pair[1].1 >= pair[0].1;
        let place = fitting.windows(2).position(|pair| stays(&pair));
        let at = place.unwrap_or(fitting.len().saturating_sub(1));
        fitting.get(at).map(|&(_, _, place)| place)
    }

    fn reserve(&mut self, size: u64, is_small: bool) -> Option<(usize, usize)> {
        if let Some(place) = self.take(size, is_small) {
            return Some(place);
        }
        self.empty_cache();
        self.take(size, is_small)
    }

    fn fits(&self, more: u64) -> bool {
        let total = u128::from(self.figures().1) + u128::from(more);
        // No device has more than 1 EiB.
        total <= u128::from(self.cap).min(1 << 60)
    }

    fn take(&mut self, size: u64, is_small: bool) -> Option<(usize, usize)> {
        let needed = if is_small {
            2 * MIB
        } else if size < 10 * MIB {
            20 * MIB
        } else {
            size.div_ceil(2 * MIB) * 2 * MIB
        };
        if !self.fits(needed) {
            return None;
        }
        if self.kind == Segments::Expandable {
            return self.grow(size, is_small);
        }
        self.segments.push(Segment {
            is_small,
            pieces: vec![Piece {
                size: needed,
                tensor: None,
                is_mapped: true,
            }],
        });
        Some((self.segments.len() - 1, 0))
    }

    fn grow(&mut self, size: u64, is_small: bool) -> Option<(usize, usize)> {
        let of_pool = |segment: &Segment| segment.is_small == is_small;
        let s = self.segments.iter().position(of_pool).unwrap_or_else(|| {
            self.segments.push(Segment {
                is_small,
                pieces: vec![Piece {
                    size: 2 << 60,
                    tensor: None,
                    is_mapped: false,
                }],
            });
            self.segments.len() - 1
        });
        let page = if is_small { 2 * MIB } else { 20 * MIB };
        let start = self.segments[s].room_for(size)?;
        loop {
            let pieces = &self.segments[s].pieces;
            let (p, missing) = match pieces[start] {
                piece if piece.is_mapped && piece.size >= size => return Some((s, start)),
                piece if piece.is_mapped => (start + 1, size - piece.size),
                _ => (start, size),
            };
            let pages = missing.min(pieces[p].size).div_ceil(page) * page;
            if !self.fits(pages) {
                return None;
            }
            let pieces = &mut self.segments[s].pieces;
            pieces[p].size -= pages;
            let mapped = Piece {
                size: pages,
                tensor: None,
                is_mapped: true,
            };
            pieces.insert(p, mapped);
            pieces.retain(|piece| piece.size > 0);
            self.segments[s].merge();
        }
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
        if self.kind == Segments::Expandable {
            self.segments.iter_mut().for_each(Segment::unmap);
            return;
        }
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
        let mapped = |segment: &Segment| {
            let pieces = segment.pieces.iter().filter(|piece| piece.is_mapped);
            pieces.map(of).collect()
        };
        self.segments.iter().map(mapped).collect()
    }
}
