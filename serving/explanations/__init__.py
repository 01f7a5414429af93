"""Why a row got its answer: contributions of the features to the model's margin."""
