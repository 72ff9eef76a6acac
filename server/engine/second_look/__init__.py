"""The second look: a mask looked at again in a close-up, as far as that needs no torch.

The model sees the whole image at a few hundred pixels, so a small object is a few cells of its
logits. So a window around it is cropped from a larger copy of the image (`window`), laid under the
first look's logits and the prompt (`planes`, `colours`), shown to a second network, whose answer
is weighed against the first one's (`blending`) and made to honour the prompt (`honour`).
"""
