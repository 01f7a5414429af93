"""The service as something that is operated: requests told apart, counted, traced, drained, supervised."""
