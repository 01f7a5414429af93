"""Floor 4: the prediction service and its log; it never imports Prefect."""
