"""What wrong answers cost a business: a matrix over classes, or a price for each unit too much and too little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from base.evaluate_spec import CostSpec, name_class

Floats = npt.NDArray[np.float64]


def cost_matrix(costs: CostSpec, classes: Sequence[object]) -> Floats:
    """Write the declared matrix in the order of the classes; a right answer costs 0 unless it is given.

    Returns
    -------
    array of shape (n_classes + 1, n_classes + 1)
        ``[actual, predicted]``; the last of both is a class that is not among *classes*, which costs the most that
        any answer does.

    Raises
    ------
    ValueError
        If a class is not in the matrix, or the matrix names another one.

    Examples
    --------
    >>> cost_matrix(CostSpec(matrix={"true": {"false": 5}, "false": {"true": 1}}), [False, True])
    array([[0., 1., 5.],
           [5., 0., 5.],
           [5., 5., 5.]])
    """
    declared, names = costs.matrix or {}, [name_class(value) for value in classes]
    named = {*declared, *(predicted for row in declared.values() for predicted in row)}
    if unknown := sorted(named - set(names)):
        raise ValueError(f"evaluate.costs.matrix names class {unknown[0]!r}; the data's are {', '.join(names)}")
    matrix = np.zeros((len(names) + 1, len(names) + 1))
    for row, actual in enumerate(names):
        for column, predicted in enumerate(names):
            cost = declared.get(actual, {}).get(predicted, 0.0 if actual == predicted else None)
            if cost is None:
                raise ValueError(f"evaluate.costs.matrix has no cost of {actual!r} predicted as {predicted!r}")
            matrix[row, column] = cost
    dearest = matrix[:-1, :-1].max()
    matrix[-1, :], matrix[:, -1] = dearest, dearest
    return matrix


def row_costs(
    costs: CostSpec, target: npt.NDArray[np.generic], answers: Floats, classes: Sequence[object] | None
) -> Floats:
    """Return what each row's answer costs.

    Parameters
    ----------
    target, answers : arrays of shape (n_rows,)
        Codes of *classes* (-1: another class), or values.

    Raises
    ------
    ValueError
        If the matrix does not fit the classes.

    Examples
    --------
    >>> row_costs(CostSpec(over=1, under=3), np.array([10.0, 10.0]), np.array([12.0, 9.0]), None)
    array([2., 3.])
    """
    if classes is None:
        errors = answers - target.astype(np.float64)
        return np.where(errors > 0, (costs.over or 0.0) * errors, -(costs.under or 0.0) * errors)
    chosen: Floats = cost_matrix(costs, classes)[target.astype(np.intp), answers.astype(np.intp)]
    return chosen
