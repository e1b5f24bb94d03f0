# Copyright The Serinus Authors.
# SPDX-License-Identifier: Apache-2.0

"""Trains the two models of the walkthrough: train.py <folder>.

Both tell iris flowers apart by four measures, as KServe's own example does. The
second one knows two kinds only, and so answers differently where the first sees
the third kind; on the example request (6.8, 2.8, 4.8, 1.4 and 6.0, 3.4, 4.5, 1.6)
they agree.
"""

import pathlib
import sys

import joblib
from sklearn import datasets, svm

EXAMPLE = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]
VIRGINICA = [[7.7, 2.6, 6.9, 2.3]]


def main():
    folder = pathlib.Path(sys.argv[1])
    flowers, kinds = datasets.load_iris(return_X_y=True)
    known = kinds < 2
    models = {
        "model": svm.SVC(gamma="scale").fit(flowers, kinds),
        "model-2": svm.SVC(gamma="scale").fit(flowers[known], kinds[known]),
    }
    for name, model in models.items():
        assert model.predict(EXAMPLE).tolist() == [1, 1], f"{name} does not answer the example as KServe's does"
        (folder / name).mkdir(parents=True, exist_ok=True)
        joblib.dump(model, folder / name / "model.joblib")
    answers = [model.predict(VIRGINICA).tolist() for model in models.values()]
    assert answers == [[2], [1]], f"the models answer {answers} for a virginica"


if __name__ == "__main__":
    main()
