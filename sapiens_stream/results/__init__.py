"""What works on written results without a model."""
