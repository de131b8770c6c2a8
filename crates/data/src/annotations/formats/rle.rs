//! Run-length encoded masks: COCO's compressed text, and checks.

use crate::annotations::{EntryProblem, Order, Runs};

/// The runs in a text of COCO's `counts`. Each character holds five bits of a number, lowest first,
/// and whether another one follows; the number is a difference to the run before the last one.
pub(in crate::annotations) fn decode(text: &str) -> Result<Vec<u32>, EntryProblem> {
    let damaged = |reason: &str| EntryProblem::Mask {
        reason: reason.to_owned(),
    };
    let mut counts: Vec<u32> = Vec::new();
    let (mut number, mut bits) = (0_i64, 0);
    for character in text.bytes() {
        let value = i64::from(character) - 48;
        if !(0..64).contains(&value) {
            return Err(damaged("its text has a character that is not of an RLE"));
        }
        number |= (value & 31) << bits;
        bits += 5;
        if value & 32 != 0 {
            // Seven characters suffice for 32 bits.
            if bits > 30 {
                return Err(damaged("a run is too long"));
            }
            continue;
        }
        if value & 16 != 0 {
            number -= 1 << bits;
        }
        // The first three runs are stored as they are.
        if counts.len() > 2 {
            number += i64::from(counts[counts.len() - 2]);
        }
        let count =
            u32::try_from(number).map_err(|_range| damaged("a run has a negative length"))?;
        counts.push(count);
        (number, bits) = (0, 0);
    }
    if bits > 0 {
        Err(damaged("its text ends within a number"))
    } else {
        Ok(counts)
    }
}

/// Runs over a box whose lengths sum to its area. `size` is (height, width).
pub(super) fn runs(
    (left, top): (i64, i64),
    size: (u64, u64),
    order: Order,
    counts: Vec<u32>,
) -> Result<Runs, EntryProblem> {
    let sum = counts.iter().map(|&count| u64::from(count)).sum();
    let pixels = size.0.saturating_mul(size.1);
    if sum != pixels {
        return Err(EntryProblem::RunsSum { sum, pixels });
    }
    Ok(Runs {
        left,
        top,
        width: size.1,
        height: size.0,
        order,
        counts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_text_is_decoded() {
        // for counts in ([6, 1, 40, 4, 5, 4, 5, 4, 21], [0, 100000, 1, 16383, 48225, 3]):
        //     print(mask.frPyObjects({"counts": counts, "size": [sum(counts), 1]}, sum(counts), 1))
        assert_eq!(
            decode("61X13mN000`0"),
            Ok(vec![6, 1, 40, 4, 5, 4, 5, 4, 21])
        );
    }

    #[test]
    fn a_damaged_text_is_refused() {
        for text in ["6\u{7f}", "ooooooooo0", "111J", "Z", "\u{e9}"] {
            assert!(
                matches!(decode(text), Err(EntryProblem::Mask { .. })),
                "{text}"
            );
        }
    }
}
