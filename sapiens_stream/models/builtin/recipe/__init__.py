"""How the built-in model was made: render people, compose pictures, train, evaluate. Needs the extra `train`."""
