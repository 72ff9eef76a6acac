"""The stages of a click and of an open, timed; and the same click as others serve it, beside it.

`samwire bench` runs this. docs/benchmarks.md says what each figure means and how it is measured.
Exempt from the law that only the models import torch: it runs what others would use.
"""
