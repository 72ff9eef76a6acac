"""The models: the only part of the server, beside `bench`, that imports torch.

`base` says what a model must do and `catalog` loads one by name. `sam` serves any segment-anything
model with an encoder (`vit`) and the `decoder`; `tiny` is the bundled one. `recording` runs
networks without Python, `resizing` brings images to the model's size.

torch's threads wait for each other by spinning, for milliseconds, between every two operations. As
soon as anything else wants a core (finishing masks, another process) the spinning thread keeps the
working one from it, and a decode of 30 ms has taken seconds. So they are told to spin briefly and
then sleep, which must happen before torch is loaded; an operator's own setting stands.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "60000")
