"""From closed panes to verdicts: detector kinds, rules, budget, attribution."""
