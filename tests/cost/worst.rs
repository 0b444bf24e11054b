//! The costliest bodies that a long search found: `make cost-test COST_BODIES=1000`.

use super::families::Parameters;

/// A family's name, and the parameters of its costliest bodies, one for each provider at most.
pub const WORST: &[(&str, &[Parameters])] = &[];
