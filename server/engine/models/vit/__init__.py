"""SAM's ViT image encoder, so that clicks can be answered while it runs."""
