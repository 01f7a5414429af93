"""The protocols that clients already have: Open Inference (KServe V2), MLflow's scoring, Arrow streams."""
