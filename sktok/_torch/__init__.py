"""Everything that needs torch and no estimator: training, inference, search."""
