"""Pictures in the form of scikit-learn's Displays. They need matplotlib.

Each is drawn by a class method such as `from_estimator`, on new axes or on those that
are given, and keeps its data and what it drew: `plot` draws the same again elsewhere.
Colours follow the background, and differ in lightness, so that a print in grey says
the same.
"""

from sktok.plotting._codebook import CodebookDisplay
from sktok.plotting._quantization import QuantizationDisplay
from sktok.plotting._rate_distortion import RateDistortionDisplay
from sktok.plotting._reconstruction import ReconstructionDisplay
from sktok.plotting._token_strip import TokenStripDisplay
from sktok.plotting._token_usage import TokenUsageDisplay
from sktok.plotting._training import TrainingDisplay

__all__ = [
    "CodebookDisplay",
    "QuantizationDisplay",
    "RateDistortionDisplay",
    "ReconstructionDisplay",
    "TokenStripDisplay",
    "TokenUsageDisplay",
    "TrainingDisplay",
]
