"""Predictions of any system, in the forms they are found in → `Prediction`, and those joined to items."""
