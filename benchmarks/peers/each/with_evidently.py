"""Evidently: a drift of the values of each column, by KS and by PSI."""

import json
import sys

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift

reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
models = list(current.columns)
definition = DataDefinition(numerical_columns=models)
report = Report([ValueDrift(column=model, method=method) for model in models for method in ("ks", "psi")])
done = report.run(
    Dataset.from_pandas(current, data_definition=definition), Dataset.from_pandas(reference, data_definition=definition)
)
told = json.loads(done.json())["metrics"]
found = {model: {"moved": False} for model in models}
for metric in told:
    model, method = metric["config"]["column"], metric["config"]["method"]
    # What it gives of KS is the p-value; its levels are those of its documentation.
    value = metric["value"]
    found[model] |= {"psi": value} if method == "psi" else {"p": value}
    found[model]["moved"] |= value >= 0.1 if method == "psi" else value < 0.05
print(json.dumps(found))
