//! What masks lose when they are resized: the nearest pixel is taken, so what is thinner than the distance between
//! the pixels that are taken breaks or vanishes.

use super::masks::IGNORE;

/// Numbers of pixels that are not background: those of parts thinner than a pixel after a resize, and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thin {
    /// Those that are in a run, across or down, shorter than the distance of the pixels that are taken.
    pub thin: u64,
    /// All.
    pub all: u64,
}

impl Thin {
    /// Counts the pixels of `mask`, `[H, W]` of size `from`, for a resize to `to`; both are (height, width).
    pub fn of(mask: &[u8], from: (usize, usize), to: (usize, usize)) -> Self {
        let (height, width) = from;
        debug_assert_eq!(mask.len(), height * width);
        let mut is_thin = vec![false; mask.len()];
        for row in 0..height {
            mark(mask, &mut is_thin, (row * width, 1, width), to.1);
        }
        for column in 0..width {
            mark(mask, &mut is_thin, (column, width, height), to.0);
        }
        let counted = mask.iter().zip(is_thin);
        let counted = counted.filter(|(class, _)| !matches!(**class, 0 | IGNORE));
        counted.fold(Self::default(), |sum, (_, is_thin)| Self {
            thin: sum.thin + u64::from(is_thin),
            all: sum.all + 1,
        })
    }

    /// The thin share of all, 0 to 1.
    pub fn share(self) -> f64 {
        self.thin as f64 / self.all.max(1) as f64
    }
}

impl std::ops::AddAssign for Thin {
    fn add_assign(&mut self, other: Self) {
        self.thin += other.thin;
        self.all += other.all;
    }
}

/// Marks the pixels of a line that are in runs of one class shorter than the line's length over `to`. A line is its first
/// pixel, the distance of pixels, and their number. What the edge of the image cuts off may be longer.
fn mark(mask: &[u8], is_thin: &mut [bool], (first, step, len): (usize, usize, usize), to: usize) {
    let at = |nth: usize| first + nth * step;
    let mut start = 0;
    for nth in 1..=len {
        if nth < len && mask[at(nth)] == mask[at(start)] {
            continue;
        }
        let is_whole = start > 0 && nth < len;
        if is_whole && (nth - start) * to < len {
            (start..nth).for_each(|nth| is_thin[at(nth)] = true);
        }
        start = nth;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(from: usize, to: usize, is_foreground: impl Fn(usize, usize) -> bool) -> Thin {
        let pixels = (0..from).flat_map(|y| (0..from).map(move |x| (y, x)));
        let mask: Vec<u8> = pixels.map(|(y, x)| is_foreground(y, x).into()).collect();
        Thin::of(&mask, (from, from), (to, to))
    }

    #[test]
    fn lines_thinner_than_a_step_are_thin() {
        let line = |width: usize| move |y: usize, _x: usize| (20..20 + width).contains(&y);
        // A quarter of the pixels is taken in each direction.
        let thin = [1, 3, 4, 9].map(|width| found(64, 16, line(width)).thin);
        assert_eq!(thin, [64, 3 * 64, 0, 0]);
        assert!(found(64, 16, |y, x| y.abs_diff(x) < 2).share() > 0.9);
        // At the size that it has, or a larger one, nothing is.
        assert_eq!([64, 100].map(|to| found(64, to, line(1)).thin), [0; 2]);
    }

    #[test]
    fn a_disk_is_thin_at_most_at_its_ends() {
        let disk = |y: usize, x: usize| y.abs_diff(32).pow(2) + x.abs_diff(32).pow(2) < 400;
        assert!(found(64, 16, disk).share() < 0.05);
        assert!(Thin::default().share() < f64::EPSILON);
    }

    #[test]
    fn ignored_pixels_do_not_count() {
        let found = Thin::of(&[0, IGNORE, 1, 0], (1, 4), (1, 1));
        assert_eq!((found.thin, found.all), (1, 1));
    }
}
