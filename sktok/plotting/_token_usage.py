"""How often each token occurs."""

import numpy as np

from sktok._windows import vocabulary_size
from sktok.metrics import token_entropy, token_usage
from sktok.plotting._axes import make_axes, palette, plain_log_labels


class TokenUsageDisplay:
    """How often each token occurs, from the most frequent to the rarest.

    Make it by `from_estimator` or `from_tokens`.

    Parameters
    ----------
    share : ndarray of shape (n_tokens,)
        The share of each token in all that occur, between 0 and 1.

    entropy : float
        Entropy of the tokens, in bits per token.

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
    >>> display.ax_.get_title(loc="left")
    'entropy 0.92 of 2.00 bits; 50 % of 4 tokens in use, 2 unused'
    """

    def __init__(self, share, entropy):
        self.share = share
        self.entropy = entropy

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
        count = np.bincount(tokens.ravel(), minlength=n_tokens)
        return cls(count / tokens.size, token_entropy(tokens)).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw the shares, sorted, with entropy and usage in the title.

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
        n_tokens = len(self.share)
        used = 100 * np.sort(self.share[self.share > 0])[::-1]
        self.uniform_ = self.ax_.axhline(
            100 / n_tokens,
            color=colors["signal"],
            linestyle="--",
            linewidth=1.0,
            label="all equally frequent",
        )
        style = {"color": colors["accent"], "marker": ".", "markersize": 3}
        (self.line_,) = self.ax_.plot(
            np.arange(1, len(used) + 1), used, **style | (line_kwargs or {})
        )
        if len(used) < n_tokens:
            self.ax_.axvspan(
                len(used) + 0.5, n_tokens + 0.5, color=colors["faint"], label="unused"
            )
        self.ax_.set_yscale("log")
        plain_log_labels(self.ax_.yaxis)
        self.ax_.set_xlim(0.5, n_tokens + 0.5)
        self.ax_.locator_params(axis="x", integer=True)
        self.ax_.set_xlabel("rank of the token")
        self.ax_.set_ylabel("share of tokens (%)")
        self.ax_.set_title(
            f"entropy {self.entropy:.2f} of {np.log2(n_tokens):.2f} bits; "
            f"{100 * len(used) / n_tokens:.3g} % of {n_tokens} tokens in use, "
            f"{n_tokens - len(used)} unused",
            loc="left",
            fontsize="medium",
        )
        self.ax_.legend(loc="lower left", frameon=False)
        return self
