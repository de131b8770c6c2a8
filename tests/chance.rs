//! Numbers that look random; the same ones each time.

pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// From 0 on.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}
