"""Numbers with units, for people to read."""


def readable_size(size: float) -> str:
    """Return a number of bytes with three digits and a unit, as in 8.15 MB."""
    unit = 0
    while size >= 1000 and unit < 3:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {('bytes', 'kB', 'MB', 'GB')[unit]}"
