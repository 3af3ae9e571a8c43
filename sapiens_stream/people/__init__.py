"""What spans frames and people: between the logits of a clip's frames and their class maps."""
