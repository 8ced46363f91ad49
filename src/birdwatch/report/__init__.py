"""The meta-analysis of a period as one page: what is asked afterwards, each question with its answer and its picture."""
