"""How often each token occurs."""

import math

import numpy as np

from sktok._steps import vocabulary_size
from sktok.metrics import token_entropy, token_usage
from sktok.plotting._axes import make_axes, palette, plain_log_labels


class TokenUsageDisplay:
    """How often each token occurs, from the most frequent to the rarest.

    Make it by `from_estimator` or `from_tokens`.

    Parameters
    ----------
    share : ndarray of shape (n_used,)
        The share in all tokens of each that occurs, from the most frequent on.

    entropy : float
        Entropy of the tokens, in bits per token.

    n_tokens : int
        Size of the vocabulary.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    line_ : matplotlib Line2D
        The shares, in percent, of the tokens that occur.

    uniform_ : matplotlib Line2D
        The share of each token if all were equally frequent.

    See Also
    --------
    sktok.metrics.token_entropy : Bits per token.
    sktok.metrics.token_usage : Share of the vocabulary that occurs.
    CodebookDisplay : What each token stands for.

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
        """Tokenize windows and draw how often each token occurs.

        Parameters
        ----------
        estimator : transformer or Pipeline
            Fitted; its `transform` gives tokens, and it has an attribute `n_tokens_`,
            of its own or of its last step.

        X : array-like of shape (n_windows, window_length)
            Windows of a signal.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : TokenUsageDisplay
            What was drawn.
        """
        n_tokens = vocabulary_size(estimator)
        return cls.from_tokens(estimator.transform(X), n_tokens, ax=ax, **kwargs)

    @classmethod
    def from_tokens(cls, tokens, n_tokens, *, ax=None, **kwargs):
        """Draw how often each token occurs.

        Parameters
        ----------
        tokens : array-like of int
            Tokens in ``range(n_tokens)``, of any shape.

        n_tokens : int
            Size of the vocabulary.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : TokenUsageDisplay
            What was drawn.

        Raises
        ------
        TypeError
            If the tokens, or `n_tokens`, are not integers.
        ValueError
            If there is no token, or one outside the vocabulary.
        """
        token_usage(tokens, n_tokens)  # refuses what is no token of that vocabulary
        tokens = np.asarray(tokens)
        _, count = np.unique(tokens, return_counts=True)  # a vocabulary may be huge
        share = np.sort(count)[::-1] / tokens.size
        return cls(share, token_entropy(tokens), n_tokens).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw the shares, with entropy and usage in the title.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        line_kwargs : dict or None, default=None
            Passed on to `Axes.plot` for the shares.

        Returns
        -------
        display : TokenUsageDisplay
            This display.
        """
        self.figure_, self.ax_ = make_axes(ax)
        colors = palette(self.ax_)
        n_used, n_tokens = len(self.share), self.n_tokens
        self.uniform_ = self.ax_.axhline(
            100 / n_tokens,
            color=colors["signal"],
            linestyle="--",
            linewidth=1.0,
            label="all equally frequent",
        )
        style = {"color": colors["accent"], "marker": ".", "markersize": 3}
        (self.line_,) = self.ax_.plot(
            np.arange(1, n_used + 1), 100 * self.share, **style | (line_kwargs or {})
        )
        if n_used < n_tokens:
            self.ax_.axvspan(
                n_used + 0.5,
                n_tokens + 0.5,
                facecolor=colors["faint"],
                edgecolor=colors["signal"],  # the legend may lie on it
                linewidth=0.5,
                label="unused",
            )
        self.ax_.set_yscale("log")
        plain_log_labels(self.ax_.yaxis)
        self.ax_.set_xlim(0.5, n_tokens + 0.5)
        self.ax_.locator_params(axis="x", integer=True)
        self.ax_.set_xlabel("rank of the token")
        self.ax_.set_ylabel("share of tokens (%)")
        self.ax_.set_title(
            f"entropy {self.entropy:.2f} of {math.log2(n_tokens):.2f} bits\n"
            f"{n_used} of {n_tokens} tokens in use ({100 * n_used / n_tokens:.3g} %)",
            loc="left",
            fontsize="medium",
        )
        self.ax_.legend(loc="best", frameon=False)
        return self
