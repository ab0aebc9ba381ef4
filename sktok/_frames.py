"""Blocks and latents that keep the index of the data frame they come from.

Data frames have two axes. After ``set_output(transform="pandas")``, output of more axes
stays an array, and the tokens of a later step are a frame again. That frame needs the
index of the first one: :class:`~sklearn.pipeline.FeatureUnion` and
:class:`~sklearn.compose.ColumnTransformer` join frames by their index.
"""

import numpy as np


class IndexedArray(np.ndarray):
    """An array with the index of a pandas frame, one label for each row.

    The result of a function, and a part of an array, may have other rows, so it has no
    index. Only copies and pickles keep it.
    """

    index = None

    @property
    def strides(self):
        """The strides; joblib finds the index in them.

        joblib hashes an array by its class, values, dtype, shape and strides only.
        Without the index in one of these, the cache of a Pipeline (`memory`) would
        return the output for another frame with the same values.
        """
        strides = _Strides(super().strides)
        strides.row_index = self.index
        return strides

    def copy(self, order="C"):
        """Copy the array, with its index."""
        return with_index(super().copy(order), self.index)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return with_index, (np.asarray(self), self.index)


class _Strides(tuple):
    """A tuple with attributes, which its pickles hold, too."""


def with_index(array, index):
    """A view of an array, with an index."""
    array = array.view(IndexedArray)
    array.index = index
    return array
