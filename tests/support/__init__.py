"""What tests speak in: annotators, images, masks."""
