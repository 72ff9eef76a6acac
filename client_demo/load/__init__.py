"""The load test's parts: what annotators do, what is measured, and how it is shown."""
