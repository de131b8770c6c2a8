//! Connected components of a mask.

/// Larger masks take too long, and too much memory.
const MAX_PIXELS: usize = 1 << 24;

/// The number of connected regions of one value other than 0, over the sides and corners of pixels;
/// `u64::MAX` for a mask of more than 2^24 pixels.
pub(super) fn count(values: &[u32], width: usize) -> u64 {
    if values.len() > MAX_PIXELS {
        return u64::MAX;
    }
    let mut seen = vec![false; values.len()];
    let mut stack: Vec<u32> = Vec::new();
    let mut num = 0;
    for start in 0..values.len() {
        if values[start] == 0 || seen[start] {
            continue;
        }
        num += 1;
        seen[start] = true;
        stack.extend(u32::try_from(start));
        while let Some(at) = stack.pop() {
            let at = at as usize;
            let (row, column) = (at / width, at % width);
            for next_row in row.saturating_sub(1)..=row + 1 {
                for next_column in column.saturating_sub(1)..=(column + 1).min(width - 1) {
                    let next = next_row * width + next_column;
                    if values.get(next) == Some(&values[at]) && !seen[next] {
                        seen[next] = true;
                        stack.extend(u32::try_from(next));
                    }
                }
            }
        }
    }
    num
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn regions_of_a_value_are_counted() {
        #[rustfmt::skip]
        let values = [
            1, 1, 0, 2,
            0, 1, 2, 0,
            3, 0, 0, 1,
        ];
        assert_eq!(count(&values, 4), 4);
        assert_eq!(count(&[0; 6], 3), 0);
        assert_eq!(count(&[5; 6], 3), 1);
    }
}
