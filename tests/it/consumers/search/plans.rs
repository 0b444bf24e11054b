//! Which indexes the questions use, at the size of years.
