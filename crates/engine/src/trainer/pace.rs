//! How long steps take. On a GPU the host runs ahead of the device, so that steps are timed together, from one wait for
//! the device to the next.

use std::time::{Duration, Instant};

/// Steps that are not timed: libraries choose algorithms and allocate memory in them.
const WARM_UP_STEPS: usize = 3;

/// The times of a run's steps, the wait for their data included.
#[derive(Debug)]
pub(super) struct Pace {
    times: Vec<Duration>,
    /// Images per second of each step.
    rates: Vec<f64>,
    since: Instant,
    /// Steps since then, and their images.
    steps: u32,
    images: usize,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            times: Vec::new(),
            rates: Vec::new(),
            since: Instant::now(),
            steps: 0,
            images: 0,
        }
    }

    /// The next step begins now, unless earlier ones are not timed yet.
    pub(super) fn go_on(&mut self) {
        if self.steps == 0 {
            self.since = Instant::now();
        }
    }

    /// Whether the next step is one of those that are not timed.
    pub(super) const fn is_warming_up(&self) -> bool {
        self.times.len() < WARM_UP_STEPS
    }

    /// A step is done as far as the host knows.
    pub(super) const fn step_done(&mut self, images: usize) {
        self.steps += 1;
        self.images += images;
    }

    /// The device is done as well.
    pub(super) fn device_done(&mut self) {
        let time = self.since.elapsed();
        let rate = self.images as f64 / time.as_secs_f64().max(1e-9);
        for _step in 0..self.steps {
            self.times.push(time / self.steps);
            self.rates.push(rate);
        }
        (self.steps, self.images) = (0, 0);
    }

    pub(super) fn time_median(&self) -> Option<Duration> {
        let mut times = self.times.get(WARM_UP_STEPS..)?.to_vec();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    pub(super) fn rate_median(&self) -> Option<f64> {
        let mut rates = self.rates.get(WARM_UP_STEPS..)?.to_vec();
        rates.sort_unstable_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_between_two_waits_take_the_same_time() {
        let mut pace = Pace::new();
        for _warm_up in 0..WARM_UP_STEPS {
            pace.step_done(2);
            pace.device_done();
            pace.go_on();
        }
        assert_eq!(pace.time_median(), None);
        for _step in 0..10 {
            pace.go_on();
            pace.step_done(2);
            std::thread::sleep(Duration::from_millis(4));
        }
        pace.device_done();
        let time = pace.time_median().unwrap();
        assert!(time >= Duration::from_millis(4), "{time:?}");
        let expected = 2.0 / time.as_secs_f64();
        assert!((pace.rate_median().unwrap() / expected - 1.0).abs() < 0.01);
    }
}
