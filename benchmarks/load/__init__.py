"""A whole site under load, beside a bare view that inserts one row through the same server; and its pages
with a million responses. `python -m benchmarks.load` runs it; docs/load.md says what was found."""
