//! Makes requests for the oracle: mostly sensible ones, each with a few things about it that a reader may stumble over. The same
//! seed makes the same requests.

mod calls;
mod target;
mod text;
mod words;

use serde_json::Value;

/// A source of requests.
pub(crate) struct Generator {
    state: u64,
    /// How many odd things this request may still have about it: oddities add up, and engines refuse most of them.
    oddities: usize,
}

impl Generator {
    /// A source that `seed` determines.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, oddities: 0 }
    }

    /// The next random number (splitmix64).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// One time in `of`.
    fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of `cases`, each one time in `of`, while the request may be odd.
    fn odd(&mut self, of: usize, cases: usize) -> Option<usize> {
        let case = self.below(of);
        if case >= cases || self.oddities == 0 {
            return None;
        }
        self.oddities -= 1;
        Some(case)
    }

    /// One of a list whose first `plain` are ordinary.
    fn pick_odd<T: Copy>(&mut self, from: &[T], plain: usize) -> T {
        match self.odd(from.len() * 2, from.len() - plain) {
            Some(case) => from[plain + case],
            None => from[self.below(plain)],
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A request, and the family it belongs to.
    pub(crate) fn request(&mut self) -> (&'static str, Value) {
        self.oddities = self.pick(&[0, 0, 1, 1, 1, 2, 2, 99]);
        match self.below(16) {
            0..3 => ("pull", self.pull()),
            3..7 => ("create", self.create()),
            7 => ("service", self.service()),
            8 => ("start", self.start()),
            9 => ("tag", self.tag()),
            10 => ("plugin", self.plugin()),
            11 => ("body", self.small_body()),
            12 => ("rename", self.rename()),
            13 => ("masked", self.masked()),
            _ => ("route", self.any_route()),
        }
    }
}
