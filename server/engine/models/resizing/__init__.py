"""Images brought to the model's size, as SamPredictor brings them there."""
