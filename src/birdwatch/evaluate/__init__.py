"""Meta-analysis: what the records tell afterwards, one file a question; nothing here is imported while serving or tailing."""
