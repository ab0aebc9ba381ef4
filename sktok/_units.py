"""Units of voltage, which convert exactly into each other."""

# EDF has no µ; the two letters µ and μ look the same (U+00B5, U+03BC).
_MILLIVOLTS = {"V": 1e3, "mV": 1.0, "µV": 1e-3, "μV": 1e-3, "uV": 1e-3, "nV": 1e-6}


def is_voltage(unit):
    """Whether a unit converts to millivolts."""
    return unit in _MILLIVOLTS


def conversion(unit, target):
    """The factor from one unit to another, or None if it is not known."""
    if unit == target:
        return 1.0
    if is_voltage(unit) and is_voltage(target):
        return _MILLIVOLTS[unit] / _MILLIVOLTS[target]
    return None
