"""A whole site under load while its parts are killed; afterwards what was acknowledged is compared with what
is stored. `python -m benchmarks.faults` runs it; docs/faults.md says what is promised."""
