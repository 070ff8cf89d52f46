//! Tests of kpt that cross crates or processes: ported programs, the faults of the original and of the field, the
//! contract of pollers, the loop against a model of it, and benchmarks. Nothing to use.
