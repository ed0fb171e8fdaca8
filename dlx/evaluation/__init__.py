"""What a trained network has learned: metrics with their uncertainty, predictions, comparisons, exports."""
