"""scikit-learn estimators between ECG and tokens."""

__version__ = "0.1.0"

from sktok._blocks import BlockSegmenter
from sktok._gain_shape import GainShapeTokenizer
from sktok._lead_selection import LeadSelector
from sktok._pretrained import list_pretrained, load_pretrained
from sktok._quantizers import (
    BaseQuantizer,
    BinQuantizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
from sktok._recipes import (
    make_paper_tokenizer,
    make_tokenizer,
    with_leads,
    with_window_length,
)
from sktok._resampling import Resampler
from sktok._scaling import AmplitudeScaler
from sktok._tokenizer import ConvAETokenizer

__all__ = [
    "AmplitudeScaler",
    "BaseQuantizer",
    "BinQuantizer",
    "BlockSegmenter",
    "ConvAETokenizer",
    "GainShapeTokenizer",
    "LeadSelector",
    "Resampler",
    "ResidualVectorQuantizer",
    "VectorQuantizer",
    "list_pretrained",
    "load_pretrained",
    "make_paper_tokenizer",
    "make_tokenizer",
    "with_leads",
    "with_window_length",
]
