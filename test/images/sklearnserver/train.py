# Copyright The Serinus Authors.
# SPDX-License-Identifier: Apache-2.0

"""Trains the two models of the walkthrough: train.py <folder>.

Both models classify iris flowers by four measurements, as KServe's example does.
Both predict [1, 1] for its example request. The first model is a support vector
machine, which misclassifies some flowers. The second model is a decision tree that
classifies all flowers correctly. Their predictions differ for DIFFERENT.
"""

import pathlib
import sys

import joblib
from sklearn import datasets, svm, tree

EXAMPLE = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]
DIFFERENT = [[6.0, 2.7, 5.1, 1.6], [4.9, 2.5, 4.5, 1.7]]


def require(name, model, flowers, want):
    got = model.predict(flowers).tolist()
    if got != want:
        raise SystemExit(f"{name} answers {got} for {flowers}, not {want}")


def main():
    folder = pathlib.Path(sys.argv[1])
    flowers, kinds = datasets.load_iris(return_X_y=True)
    trained = {
        "model": (svm.SVC(gamma="scale").fit(flowers, kinds), [2, 1]),
        "model-2": (tree.DecisionTreeClassifier(random_state=0).fit(flowers, kinds), [1, 2]),
    }
    for name, (model, answers) in trained.items():
        require(name, model, EXAMPLE, [1, 1])
        require(name, model, DIFFERENT, answers)
        (folder / name).mkdir(parents=True)
        joblib.dump(model, folder / name / "model.joblib")


if __name__ == "__main__":
    main()
