"""popmon: histograms of the file as one batch, against those of the reference."""

import json
import sys

import pandas as pd
from popmon import Settings, get_bin_specs, make_histograms
from popmon.pipeline.metrics import stability_metrics

reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
models = list(current.columns)
reference["batch"], current["batch"] = 0, 1
of = [f"batch:{model}" for model in models]
before = make_histograms(reference, features=of, time_axis="batch")
now = make_histograms(current, features=of, bin_specs=get_bin_specs(before), time_axis="batch")
told = stability_metrics(now, Settings(reference_type="external", time_axis="batch", features=of), reference=before)
found = {}
for model in models:
    row, lights = told["comparisons"][model].iloc[0], told["traffic_lights"][model].iloc[0]
    found[model] = {
        "ks": float(row["ref_ks"]),
        "psi": float(row["ref_psi"]),
        "moved": bool((lights.filter(regex="^ref_(ks|psi)") == 2).any()),
    }
print(json.dumps(found))
