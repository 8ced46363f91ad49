"""NannyML: its calculator of univariate drift, in ten chunks, as many as it asks for."""

import json
import os
import sys

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
import nannyml
import pandas as pd

reference, current = (pd.read_parquet(path) for path in sys.argv[1:3])
models = list(current.columns)
calculator = nannyml.UnivariateDriftCalculator(
    column_names=models, continuous_methods=["kolmogorov_smirnov", "jensen_shannon"], chunk_number=10
)
results = calculator.fit(reference).calculate(current).filter(period="analysis").to_df()
print(
    json.dumps(
        {
            model: {
                "ks": float(results[model, "kolmogorov_smirnov", "value"].mean()),
                "moved": bool(results[model, "kolmogorov_smirnov", "alert"].any()),
            }
            for model in models
        }
    )
)
