import numpy as np
import pytest

from gfopt.data.dataset import Dataset, Scaling


@pytest.fixture
def make_dataset():
    """A tiny data set of a task: `classes` classes, or `columns` target columns."""

    def make(task="classification", classes=3, columns=1):
        x = np.arange(24.0).reshape(12, 2)
        if task == "classification":
            y = np.arange(12) % classes
        else:
            y = np.linspace(-1, 1, 12 * columns).reshape(12, columns) if columns > 1 else np.linspace(-1, 1, 12)
        return Dataset(
            name="tiny",
            task=task,
            x_train=x,
            y_train=y,
            x_validation=x[:0],
            y_validation=y[:0],
            x_test=x[:3],
            y_test=y[:3],
            input_scaling=Scaling.identity((2,)),
            target_scaling=Scaling.identity(y.shape[1:]),
            classes=tuple(range(classes)) if task == "classification" else (),
        )

    return make
