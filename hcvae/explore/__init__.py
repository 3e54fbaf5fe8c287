"""The page of `hcvae explore`: sliders, a waveform that follows them, references to compare with.

`layout`, `callbacks` and `server` need the extra `explore`; the rest does not, and is tested without a browser.
"""
