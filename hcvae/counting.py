"""Numbers with their nouns, for messages."""


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the plural unless the number is 1, with commas from 10,000 on.

    The plural ends in "s" unless given.

    >>> counted(1, "subject"), counted(2, "subject"), counted(0.5, "GPU"), counted(12000, "waveform")
    ('1 subject', '2 subjects', '0.5 GPUs', '12,000 waveforms')
    """
    if number == 1:
        return f"1 {noun}"
    if not isinstance(number, int):
        shown = f"{number:g}"
    elif number < 10_000:
        shown = str(number)
    else:
        shown = f"{number:,}"
    return f"{shown} {plural or noun + 's'}"
