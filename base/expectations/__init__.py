"""Great Expectations: a contract as a suite, run apart from the process that asks."""
