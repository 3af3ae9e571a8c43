"""Written results in the formats of others: class maps are read one at a time, and no model is needed."""
