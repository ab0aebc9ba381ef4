"""Plots in the form of scikit-learn's Display objects. They need matplotlib.

A class method such as `from_estimator` computes the data, stores it in the display and
draws it, on new axes or on given ones. `plot` draws the same data again. Colours adapt
to the background. They differ in lightness, to be distinguished in greyscale too.
"""

from sktok.plotting._codebook import CodebookDisplay
from sktok.plotting._quantization import QuantizationDisplay
from sktok.plotting._rate_distortion import RateDistortionDisplay
from sktok.plotting._reconstruction import ReconstructionDisplay
from sktok.plotting._token_strip import TokenStripDisplay
from sktok.plotting._token_usage import TokenUsageDisplay
from sktok.plotting._training import TrainingDisplay
from sktok.plotting._twelve_leads import TwelveLeadDisplay

__all__ = [
    "CodebookDisplay",
    "QuantizationDisplay",
    "RateDistortionDisplay",
    "ReconstructionDisplay",
    "TokenStripDisplay",
    "TokenUsageDisplay",
    "TrainingDisplay",
    "TwelveLeadDisplay",
]
