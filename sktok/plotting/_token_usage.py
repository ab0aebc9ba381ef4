"""Frequencies of tokens."""

import math

import numpy as np

from sktok._steps import vocabulary_size
from sktok.metrics import token_entropy, token_usage
from sktok.plotting._axes import Display, plain_log_labels, styled

_SHARES = {"color": "accent", "marker": ".", "markersize": 3}
_UNIFORM = {"color": "signal", "linestyle": "--", "linewidth": 1}
_UNUSED = {"facecolor": "faint", "edgecolor": "signal", "linewidth": 0.5}


class TokenUsageDisplay(Display):
    """Frequencies of tokens, in descending order.

    Create it with `from_estimator` or `from_tokens`.

    Parameters
    ----------
    share : ndarray of shape (n_used,)
        Share of each token that occurs among all tokens, in descending order.

    entropy : float
        Entropy of the tokens, in bits per token.

    n_tokens : int
        Size of the vocabulary.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.

    figure_ : matplotlib Figure
        Figure that contains the axes.

    line_ : matplotlib Line2D
        Shares of the tokens that occur, in percent.

    uniform_ : matplotlib Line2D
        Share of each token under a uniform distribution, in percent.

    See Also
    --------
    sktok.metrics.token_entropy : Bits per token.
    sktok.metrics.token_usage : Share of the vocabulary that occurs.
    CodebookDisplay : The block that each token represents.

    Examples
    --------
    >>> from sktok.plotting import TokenUsageDisplay
    >>> display = TokenUsageDisplay.from_tokens([[0, 1, 0], [0, 1, 0]], n_tokens=4)
    >>> print(display.ax_.get_title(loc="left"))
    entropy 0.92 of 2.00 bits
    2 of 4 tokens in use (50 %)
    """

    def __init__(self, share, entropy, n_tokens):
        self.share = share
        self.entropy = entropy
        self.n_tokens = n_tokens

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None, **kwargs):
        """Tokenize windows and draw the frequencies of the tokens.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted; `transform` returns tokens, and the estimator or its last step has
            the attribute `n_tokens_`.

        X : array-like of shape (n_windows, window_length), \
                (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
            Windows of a signal; the tokens of all leads count.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : TokenUsageDisplay
            The display, drawn.
        """
        n_tokens = vocabulary_size(estimator)
        return cls.from_tokens(estimator.transform(X), n_tokens, ax=ax, **kwargs)

    @classmethod
    def from_tokens(cls, tokens, n_tokens, *, ax=None, **kwargs):
        """Draw the frequencies of tokens.

        Parameters
        ----------
        tokens : array-like of int
            Tokens in ``range(n_tokens)``, of any shape.

        n_tokens : int
            Size of the vocabulary.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : TokenUsageDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the tokens or `n_tokens` are not integers.
        ValueError
            If there are no tokens, or tokens outside the vocabulary.
        """
        token_usage(tokens, n_tokens)  # raises an error for invalid tokens
        tokens = np.asarray(tokens)
        # np.bincount would need an array of the size of the vocabulary.
        _, count = np.unique(tokens, return_counts=True)
        share = np.sort(count)[::-1] / tokens.size
        return cls(share, token_entropy(tokens), n_tokens).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw the shares, with entropy and usage in the title.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        line_kwargs : dict or None, default=None
            Passed to `Axes.plot` for the shares.

        Returns
        -------
        display : TokenUsageDisplay
            This display.
        """
        ax = self._set_axes(ax)
        n_used, n_tokens = len(self.share), self.n_tokens
        uniform = styled(ax, _UNIFORM, label="all equally frequent")
        self.uniform_ = ax.axhline(100 / n_tokens, **uniform)
        rank = np.arange(1, n_used + 1)
        self.line_ = self._plot(rank, 100 * self.share, _SHARES, line_kwargs)
        if n_used < n_tokens:
            unused = styled(ax, _UNUSED, label="unused")
            ax.axvspan(n_used + 0.5, n_tokens + 0.5, **unused)
        ax.set(yscale="log", xlim=(0.5, n_tokens + 0.5))
        ax.set(xlabel="rank of the token", ylabel="share of tokens (%)")
        plain_log_labels(ax.yaxis)
        ax.locator_params(axis="x", integer=True)
        title = (
            f"entropy {self.entropy:.2f} of {math.log2(n_tokens):.2f} bits\n"
            f"{n_used} of {n_tokens} tokens in use ({100 * n_used / n_tokens:.3g} %)"
        )
        ax.set_title(title, loc="left", fontsize="medium")
        ax.legend(loc="best", frameon=False)
        return self
