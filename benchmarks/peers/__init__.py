"""KS and PSI of ten models, beside other libraries on the same files."""
