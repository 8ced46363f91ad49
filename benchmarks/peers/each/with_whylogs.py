"""whylogs: a profile of each file, and the drift of one against the other."""

import json
import os
import sys

os.environ["WHYLOGS_NO_ANALYTICS"] = "True"
import pandas as pd
import whylogs as why
from whylogs.viz.drift.column_drift_algorithms import KS, Hellinger, calculate_drift_scores

reference, current = (why.log(pd.read_parquet(path)).view() for path in sys.argv[1:3])
models = list(current.get_columns())
scores = {
    name: calculate_drift_scores(current, reference, {model: kind() for model in models}, with_thresholds=True)
    for name, kind in (("ks", KS), ("hellinger", Hellinger))
}
print(
    json.dumps(
        {
            model: {
                "p": float(scores["ks"][model]["pvalue"]),
                "hellinger": float(scores["hellinger"][model]["statistic"]),
                "moved": scores["ks"][model]["drift_category"] == "DRIFT",
            }
            for model in models
        }
    )
)
