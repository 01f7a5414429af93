"""The compiled form of a model: an ONNX graph that answers without scikit-learn, and agrees with it."""
