"""The page of `hcvae explore`: conditions and latents to move, the waveform that follows, recordings to compare with.

The page is one HTML form. Its script sends the whole form after each change; the server keeps no state, so that any
number of pages can be open. `server` needs the extra `explore`; the rest does not, and is tested without a browser.
"""
