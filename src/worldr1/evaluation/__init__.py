"""Evaluation of models on held-out prompts, guards against hacked rewards, a second evaluator, and the HTML report.

`model.evaluate_models` measures, `report.write_report` shows, `distribution.modes` looks for two modes.
"""
